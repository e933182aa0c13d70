"""segment: the inference service makes the matte. The only step that waits for another machine."""

from __future__ import annotations

from matteworks_compositor.inference_client import MatteSource, Segmentation
from matteworks_compositor.options.model import SubjectType
from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_imaging.box import Size


async def apply(source_of_mattes: MatteSource, job: Job, state: State) -> None:
    """Reads `model_input`; sets `segmentation`, `matte`, `model`, `subject_type`,
    `subject_confidence`, `upstream_stages`. Skipped when the caller brought the matte; a file's own takes
    its place.
    """
    if state.is_cut_out:
        state.matte = state.file_alpha
    if state.is_cut_out or job.brought_matte is not None:
        return
    result = job.known or await _ask(source_of_mattes, job, state)
    state.segmentation = result
    state.matte, state.model = result.matte, result.model
    state.upstream_stages = () if job.known else result.stages
    state.subject_confidence = result.confidence
    if state.subject_type is SubjectType.UNSPECIFIED:
        state.subject_type = result.subject_type


async def _ask(source_of_mattes: MatteSource, job: Job, state: State) -> Segmentation:
    source: Size = job.picture.size if job.roi is None else job.roi.size
    return await source_of_mattes.segment(
        made(state.model_input),
        source_size=source,
        model=job.model,
        quality=job.quality,
        subject_type=job.declared_type,
    )
