"""What the services answer, as plain frozen Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from matteworks.auth.v1 import auth_pb2
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks.inference.v1 import inference_pb2


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in a picture; width and height are 0 for an empty one."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class Cutout:
    """An encoded result. `subject` and `model` are empty when the caller brought the matte. `stages_s`
    tells where the time went. `matte_confidence`: how likely the matte is right, 0 to 1; None: not known.
    """

    image: bytes = field(repr=False)
    format: str
    size: Size
    source_size: Size
    foreground: Box
    is_shrunk: bool
    subject: str
    subject_confidence: float
    model: str
    stages_s: Mapping[str, float]
    matte_confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a removal would give and cost, in thousandths of a credit, and the account as it is now. `size` is
    None where it follows the subject: with a crop. `is_free_call`: a free call would pay.
    """

    size: Size | None
    source_size: Size
    credits_milli: int
    is_free_call: bool
    account: Account


@dataclass(frozen=True, slots=True)
class Matte:
    """A bare matte: `alpha` has one byte a pixel, rows from top to bottom. It covers the whole picture,
    whose aspect ratio it need not have.
    """

    alpha: bytes = field(repr=False)
    size: Size
    subject: str
    subject_confidence: float
    model: str
    batch_item_count: int
    stages_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a picture's header tells. `size` is after orientation."""

    format: str
    size: Size
    exif_orientation: int
    pixel_count: int


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the registry. `task`: `segmentation` or `upscaling`; `loads_on_use`: at the first use."""

    name: str
    summary: str
    license: str
    is_loaded: bool
    is_default: bool
    engine: str
    task: str = "segmentation"
    loads_on_use: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """An account with its balances, in thousandths of a credit, and its rate limit in megapixels a minute."""

    account_id: str
    plan: str
    subscription_credits_milli: int
    payg_credits_milli: int
    enterprise_credits_milli: int
    held_credits_milli: int
    spent_credits_milli: int
    free_call_count: int
    limit_megapixels: int
    remaining_megapixels: int
    reset_time: datetime


def cutout_of(answer: compositor_pb2.RemoveBackgroundResponse) -> Cutout:
    """The result of RemoveBackground."""
    return _cutout(answer.rendering, answer.stages, answer.subject, answer.model, _confidence(answer))


def cutouts_of(answer: compositor_pb2.RemoveBackgroundResponse) -> list[Cutout]:
    """Every result of RemoveBackground, the first one with the times of the call."""
    first = cutout_of(answer)
    confidence = _confidence(answer)
    more = [
        _cutout(rendering, (), answer.subject, answer.model, confidence)
        for rendering in answer.more_renderings
    ]
    return [first, *more]


def estimate_of(
    answer: compositor_pb2.RemoveBackgroundResponse,
    price_milli: int,
    seen: auth_pb2.ReserveResponse,
    account: Account,
) -> Estimate:
    """The results of the two dry runs."""
    rendering = answer.rendering
    return Estimate(
        size=_size(rendering.size) if rendering.HasField("size") else None,
        source_size=_size(rendering.source_size),
        credits_milli=seen.credits_milli,
        is_free_call=seen.credits_milli < price_milli,
        account=account,
    )


def composition_of(answer: compositor_pb2.ComposeResponse) -> Cutout:
    """The result of Compose."""
    return cutout_from(answer.rendering, answer.stages)


def cutout_from(rendering: compositor_pb2.Rendering, stages: Iterable[image_pb2.StageDuration]) -> Cutout:
    """A rendering for which no subject was looked for."""
    return _cutout(rendering, stages, image_pb2.Subject(), "")


def matte_of(answer: inference_pb2.SegmentResponse) -> Matte:
    """The result of Segment."""
    return Matte(
        alpha=answer.matte.alpha,
        size=_size(answer.matte.size),
        subject=subject_name(answer.subject),
        subject_confidence=answer.subject.confidence,
        model=answer.model,
        batch_item_count=answer.batch_item_count,
        stages_s=_stages(answer.stages),
    )


def facts_of(answer: compositor_pb2.InspectResponse) -> Facts:
    """The result of Inspect."""
    return Facts(
        format=_word(compositor_pb2.InputFormat.Name(answer.format), "INPUT_FORMAT_"),
        size=_size(answer.size),
        exif_orientation=answer.exif_orientation,
        pixel_count=answer.pixel_count,
    )


def models_of(answer: inference_pb2.ListModelsResponse) -> list[Model]:
    """The result of ListModels, the default first."""
    return [
        Model(
            name=model.name,
            summary=model.summary,
            license=model.license,
            is_loaded=model.is_loaded,
            is_default=model.is_default,
            engine=model.engine,
            task=inference_pb2.ModelTask.Name(model.task).removeprefix("MODEL_TASK_").lower(),
            loads_on_use=model.loads_on_use,
        )
        for model in answer.models
    ]


def account_of(answer: auth_pb2.GetAccountResponse) -> Account:
    """The result of GetAccount."""
    account, limit = answer.account, answer.rate_limit
    return Account(
        account_id=account.account_id,
        plan=account.plan,
        subscription_credits_milli=account.subscription_credits_milli,
        payg_credits_milli=account.payg_credits_milli,
        enterprise_credits_milli=account.enterprise_credits_milli,
        held_credits_milli=account.held_credits_milli,
        spent_credits_milli=account.spent_credits_milli,
        free_call_count=account.free_call_count,
        limit_megapixels=limit.limit_megapixels,
        remaining_megapixels=limit.remaining_megapixels,
        reset_time=_time(limit.reset_time),
    )


def _cutout(
    rendering: compositor_pb2.Rendering,
    stages: Iterable[image_pb2.StageDuration],
    subject: image_pb2.Subject,
    model: str,
    matte_confidence: float | None = None,
) -> Cutout:
    box = rendering.foreground
    return Cutout(
        image=rendering.image,
        format=_word(compositor_pb2.OutputFormat.Name(rendering.format), "OUTPUT_FORMAT_"),
        size=_size(rendering.size),
        source_size=_size(rendering.source_size),
        foreground=Box(box.left_px, box.top_px, box.width_px, box.height_px),
        is_shrunk=rendering.is_shrunk,
        subject=subject_name(subject),
        subject_confidence=subject.confidence,
        model=model,
        stages_s=_stages(stages),
        matte_confidence=matte_confidence,
    )


def _confidence(answer: compositor_pb2.RemoveBackgroundResponse) -> float | None:
    return answer.matte_confidence if answer.HasField("matte_confidence") else None


def subject_name(subject: image_pb2.Subject) -> str:
    """What a subject is; empty when that was not determined."""
    name = _word(image_pb2.SubjectType.Name(subject.type), "SUBJECT_TYPE_")
    return "" if name == "unspecified" else name


def _stages(stages: Iterable[image_pb2.StageDuration]) -> dict[str, float]:
    return {stage.stage: stage.duration.ToNanoseconds() / 1e9 for stage in stages}


def _size(size: image_pb2.Size) -> Size:
    return Size(size.width_px, size.height_px)


def _time(time: Timestamp) -> datetime:
    return time.ToDatetime(tzinfo=UTC)


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()
