"""The wire: messages in, domain call, messages out. No rules here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2, compositor_pb2_grpc
from matteworks_common.context import current_call, new_request_id
from matteworks_common.errors import InvalidField
from matteworks_common.stages import Stages
from matteworks_compositor.compositor import Compositor, Rendered
from matteworks_compositor.options.model import Quality, RenderOptions, SubjectType
from matteworks_compositor.options.parsing import parse_choice, parse_options
from matteworks_compositor.pipeline.job import Job
from matteworks_compositor.preview import Expected, Preview
from matteworks_imaging.box import Box, Size
from matteworks_imaging.header import MAX_PIXELS, check_file_size, read_header
from matteworks_imaging.limits import LARGEST_FILE_BYTES, PictureFile, admit_file
from matteworks_imaging.region import resolve_region

__all__ = ["CompositorServicer"]

MAX_MORE_RESULTS = 7

_INPUT_FORMATS = {
    "jpeg": compositor_pb2.INPUT_FORMAT_JPEG,
    "png": compositor_pb2.INPUT_FORMAT_PNG,
    "webp": compositor_pb2.INPUT_FORMAT_WEBP,
    "heic": compositor_pb2.INPUT_FORMAT_HEIC,
    "avif": compositor_pb2.INPUT_FORMAT_AVIF,
    "tiff": compositor_pb2.INPUT_FORMAT_TIFF,
    "bmp": compositor_pb2.INPUT_FORMAT_BMP,
    "gif": compositor_pb2.INPUT_FORMAT_GIF,
}


class CompositorServicer(compositor_pb2_grpc.CompositorServiceServicer):
    """`matteworks.compositor.v1.CompositorService`."""

    def __init__(self, compositor: Compositor, preview: Preview) -> None:
        self._compositor = compositor
        self._preview = preview

    async def RemoveBackground(
        self, request: compositor_pb2.RemoveBackgroundRequest, context: Any
    ) -> compositor_pb2.RemoveBackgroundResponse:
        """See the proto."""
        asked = [_read_options(options) for options in (request.options, *_read_more(request))]
        picture = admit_file(request.image)
        jobs = [
            Job(
                request_id=request_id(),
                picture=picture,
                options=options,
                declared_type=_read_type(request.subject_type),
                model=request.model,
                quality=parse_choice("quality", request.quality, Quality, Quality.UNSPECIFIED),
                background=background,
                roi=_read_roi(options, picture),
            )
            for options, background in asked
        ]
        if any(job.roi != jobs[0].roi for job in jobs):
            raise InvalidField("more_options", "Give every result the same roi; they share one matte.")
        if request.dry_run:
            looked, *further = map(_write_expected, await self._preview.look(jobs))
            return compositor_pb2.RemoveBackgroundResponse(rendering=looked, more_renderings=further)
        stages = Stages()
        rendered, *others = await self._compositor.render_all(jobs, stages)
        return compositor_pb2.RemoveBackgroundResponse(
            rendering=write_rendering(rendered),
            subject=image_pb2.Subject(
                type=image_pb2.SubjectType.ValueType(rendered.subject_type), confidence=rendered.confidence
            ),
            model=rendered.model,
            stages=stages.to_proto(),
            more_renderings=[write_rendering(other) for other in others],
            matte_confidence=rendered.matte_confidence,
        )

    async def Compose(
        self, request: compositor_pb2.ComposeRequest, context: Any
    ) -> compositor_pb2.ComposeResponse:
        """See the proto."""
        options, background = _read_options(request.options)
        picture = admit_file(request.image)
        matte = _read_brought_matte(request)
        declared = _read_type(request.subject_type)
        job = Job(
            request_id=request_id(),
            picture=picture,
            options=options,
            declared_type=SubjectType.OTHER if declared is SubjectType.UNSPECIFIED else declared,
            brought_matte=matte,
            background=background,
            roi=_read_roi(options, picture),
        )
        stages = Stages()
        rendered = await self._compositor.render(job, stages)
        return compositor_pb2.ComposeResponse(rendering=write_rendering(rendered), stages=stages.to_proto())

    async def Inspect(
        self, request: compositor_pb2.InspectRequest, context: Any
    ) -> compositor_pb2.InspectResponse:
        """See the proto."""
        check_file_size(len(request.image), LARGEST_FILE_BYTES)
        header = read_header(request.image)
        return compositor_pb2.InspectResponse(
            format=_INPUT_FORMATS[header.format],
            size=image_pb2.Size(width_px=header.width_px, height_px=header.height_px),
            exif_orientation=header.orientation,
            pixel_count=header.pixel_count,
        )


def request_id() -> str:
    """Of the call under way, or a new one."""
    call = current_call.get()
    return call.request_id if call else new_request_id()


def _read_more(request: compositor_pb2.RemoveBackgroundRequest) -> Sequence[compositor_pb2.RenderOptions]:
    if len(request.more_options) > MAX_MORE_RESULTS:
        raise InvalidField("more_options", f"Ask for at most {MAX_MORE_RESULTS} further results.")
    return request.more_options


def _read_options(
    message: compositor_pb2.RenderOptions,
) -> tuple[RenderOptions, PictureFile | None]:
    options = parse_options(message)
    has_picture = message.WhichOneof("background") == "bg_image"
    return options, admit_file(message.bg_image, "bg_image") if has_picture else None


def _read_type(number: int) -> SubjectType:
    return parse_choice("subject_type", number, SubjectType, SubjectType.UNSPECIFIED)


def _read_roi(options: RenderOptions, picture: PictureFile) -> Box | None:
    if options.roi is None:
        return None
    box = resolve_region(options.roi, picture.size)
    return None if box.size == picture.size else box


def _read_brought_matte(request: compositor_pb2.ComposeRequest) -> PictureFile | NDArray[np.uint8]:
    source = request.WhichOneof("matte_source")
    if source == "matte_image":
        return admit_file(request.matte_image, "matte_image")
    if source is None:
        raise InvalidField("matte", "Send the matte, bare or as a picture.")
    size = request.matte.size
    is_sound = size.width_px >= 1 and size.height_px >= 1
    if not is_sound or len(request.matte.alpha) != size.width_px * size.height_px:
        raise InvalidField("matte", "Send exactly width times height bytes of alpha.")
    if len(request.matte.alpha) > MAX_PIXELS:
        raise InvalidField("matte", f"Send a matte of at most {MAX_PIXELS // 1_000_000} megapixels.")
    return np.frombuffer(request.matte.alpha, np.uint8).reshape(size.height_px, size.width_px)


def write_rendering(rendered: Rendered) -> compositor_pb2.Rendering:
    """The wire form of a finished file."""
    return compositor_pb2.Rendering(
        image=rendered.content,
        format=compositor_pb2.OutputFormat.ValueType(rendered.format),
        size=_write_size(rendered.size),
        source_size=_write_size(rendered.source_size),
        foreground=image_pb2.Box(
            left_px=rendered.foreground.left_px,
            top_px=rendered.foreground.top_px,
            width_px=rendered.foreground.width_px,
            height_px=rendered.foreground.height_px,
        ),
        is_shrunk=rendered.is_shrunk,
    )


def _write_expected(expected: Expected) -> compositor_pb2.Rendering:
    return compositor_pb2.Rendering(
        format=compositor_pb2.OutputFormat.ValueType(expected.format),
        size=None if expected.size is None else _write_size(expected.size),
        source_size=_write_size(expected.source_size),
        is_shrunk=expected.is_shrunk,
    )


def _write_size(size: Size) -> image_pb2.Size:
    return image_pb2.Size(width_px=size.width_px, height_px=size.height_px)
