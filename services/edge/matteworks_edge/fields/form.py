"""Plain fields to one typed request; everything that is wrong is told at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import InvalidField, InvalidPicture
from matteworks_edge.dialects.base import Dialect
from matteworks_edge.fields.additions import read_additions, read_model, read_quality
from matteworks_edge.fields.outputs import Packing, WantedOutput, read_outputs, read_packing
from matteworks_edge.fields.parameters import (
    parse_bg_color,
    parse_channels,
    parse_crop_margin,
    parse_format,
    parse_position,
    parse_roi,
    parse_scale,
    parse_subject_type,
    parse_type_level,
)
from matteworks_edge.fields.reader import Fields
from matteworks_edge.fields.shadows import combine_shadows, parse_shadow_opacities, parse_shadow_types
from matteworks_edge.intake.body import BASE64_FIELDS, FILE_FIELDS, LEGACY_FIELD, RawForm
from matteworks_outbound.urls import check_url
from matteworks_removal.offers import Size, Tariff
from matteworks_removal.service import Counting, Output, RemovalRequest
from matteworks_removal.sources import PictureSource, RemotePicture, SentPicture, decode_base64


@dataclass(frozen=True, slots=True)
class RemovalForm:
    """A removal as it was asked for, and how finely the answer tells the subject's type."""

    request: RemovalRequest
    type_level: str
    # Whether the answer is JSON whatever the caller accepts.
    is_told_in_json: bool = False
    # Of several results, in the request's order; empty: there is one, without a name.
    output_names: tuple[str, ...] = ()
    # How they come; None: as the caller accepts.
    packing: Packing | None = None
    # Whether only the price is asked for.
    is_dry: bool = False


@dataclass(frozen=True, slots=True)
class ImproveRequest:
    """A picture that went wrong, with the caller's name and tag for it; both may be empty."""

    source: PictureSource
    filename: str
    tag: str


def parse_removal(form: RawForm, dialect: Dialect) -> RemovalForm:
    """The request that `form` makes in `dialect`. Raises InvalidRequest with every error found."""
    form = _known(form, dialect)
    fields = Fields(form)
    source = fields.collect(lambda: read_source(form))
    background = fields.collect(lambda: _read_background(form))
    size = fields.collect(lambda: _parse_size(dialect.size_name(fields) or dialect.default_size, dialect))
    options = _read_options(fields, dialect)
    quality, model, packing, is_dry = image_pb2.QUALITY_UNSPECIFIED, "", None, False
    outputs: tuple[WantedOutput, ...] = ()
    if dialect.has_additions:
        quality, model, packing = read_quality(fields), read_model(fields), read_packing(fields)
        is_dry = fields.boolean("dry_run", False)
        outputs = read_outputs(form, fields, lambda inner: _read_options(inner, dialect))
    if background is not None and options.HasField("bg_color"):
        fields.errors.append(_multiple_backgrounds())
    fields.raise_if_wrong()
    if source is None or size is None:
        raise AssertionError("an error was found, so it was raised above")
    type_level = fields.read("type_level", parse_type_level, "1")
    first, *more = [Output(output.options, output.takes_background) for output in outputs] or [
        Output(options)
    ]
    request = RemovalRequest(
        source=source,
        background=background,
        tariff=Tariff(size, dialect.preview),
        subject_type=fields.read("type", parse_subject_type, image_pb2.SUBJECT_TYPE_UNSPECIFIED),
        options=first.options,
        takes_background=first.takes_background,
        more=tuple(more),
        quality=quality,
        model=model,
        scope=f"{dialect.name} {type_level}",
        max_file_bytes=form.rules.max_file_bytes,
        formats=dialect.input_formats,
        counting=Counting(dialect.name, dialect.rate_unit, dialect.rate_scope),
    )
    names = tuple(output.name for output in outputs)
    return RemovalForm(request, type_level, dialect.answers_json(fields), names, packing, is_dry)


def _read_options(fields: Fields, dialect: Dialect) -> compositor_pb2.RenderOptions:
    """What is to be made of the cut-out. What is wrong is kept in `fields`."""
    options = compositor_pb2.RenderOptions(
        format=fields.read(
            "format", lambda text: parse_format(text, dialect.formats), dialect.default_format
        ),
        max_png_pixel_count=dialect.max_png_pixels,
        channels=fields.read("channels", parse_channels, compositor_pb2.CHANNELS_RGBA),
        roi=fields.read("roi", parse_roi, None),
        scale_percent=fields.read("scale", parse_scale, None),
        position=fields.read("position", parse_position, None),
        semitransparency=fields.boolean(
            "semitransparency", True, reasons.ERROR_REASON_INVALID_SEMITRANSPARENCY
        ),
        bg_color=fields.read("bg_color", parse_bg_color, None),
        shadows=_read_shadows(fields),
    )
    dialect.read_own_fields(fields, options)
    if dialect.has_additions:
        read_additions(fields, options)
    margin = fields.read("crop_margin", parse_crop_margin, compositor_pb2.Crop())
    # Who gives a crop's ratio wants a crop.
    if fields.boolean("crop", False) or options.HasField("crop"):
        options.crop.MergeFrom(margin)
        options.crop.SetInParent()
    if options.channels == compositor_pb2.CHANNELS_ALPHA and (
        options.format == compositor_pb2.OUTPUT_FORMAT_AUTO
    ):
        options.format = compositor_pb2.OUTPUT_FORMAT_PNG
    return options


def parse_improve(form: RawForm) -> ImproveRequest:
    """The submission that `form` makes. Raises InvalidRequest with every error found."""
    fields = Fields(form)
    source = fields.collect(lambda: read_source(form))
    texts = {}
    for name, limit in (("image_filename", 255), ("tag", 100)):
        text = form.texts.get(name, "")
        if len(text) > limit or any(character < " " or character == "\x7f" for character in text):
            fields.errors.append(
                InvalidField(name, f"Give at most {limit} characters, without control characters.")
            )
        texts[name] = text
    fields.raise_if_wrong()
    if source is None:
        raise AssertionError("an error was found, so it was raised above")
    return ImproveRequest(source, texts["image_filename"], texts["tag"])


def read_source(form: RawForm) -> PictureSource:
    """The one picture of the form. Raises MISSING_SOURCE, MULTIPLE_SOURCES, INVALID_IMAGE_URL,
    FILE_TOO_LARGE, FAILED_TO_READ_IMAGE.
    """
    sent = form.files.get("image_file")
    encoded = form.texts.get("image_file_b64") or form.texts.get("image_base64")
    legacy = form.texts.get(LEGACY_FIELD)
    url = form.texts.get("image_url")
    given_count = sum(value is not None for value in (sent, encoded, legacy, url))
    if given_count == 0:
        raise InvalidPicture(
            reasons.ERROR_REASON_MISSING_SOURCE,
            "Send the picture in image_file, image_file_b64 or image_url.",
            field="image_file",
        )
    if given_count > 1:
        raise InvalidPicture(
            reasons.ERROR_REASON_MULTIPLE_SOURCES,
            "Send the picture in one of image_file, image_file_b64 and image_url.",
            field="image_file",
        )
    if sent is not None:
        return SentPicture("image_file", sent)
    if encoded is not None or legacy is not None:
        encoded = encoded or legacy or ""
        return SentPicture("image_file_b64", decode_base64(encoded, form.rules.max_file_bytes))
    return RemotePicture(
        "image_url", check_url(url or "", "image_url", reasons.ERROR_REASON_INVALID_IMAGE_URL)
    )


def _known(form: RawForm, dialect: Dialect) -> RawForm:
    """`form` without what `dialect` does not know, which counts as absent."""
    if dialect.known_fields is None:
        return form
    sources = {*FILE_FIELDS, "image_url", *(BASE64_FIELDS if dialect.reads_base64 else ())}
    names = {name for name in sources if not name.startswith("bg_")} | dialect.known_fields
    names |= set(dialect.own_fields)
    return replace(
        form,
        texts={name: text for name, text in form.texts.items() if name in names},
        files={name: content for name, content in form.files.items() if name in names},
    )


def _read_background(form: RawForm) -> PictureSource | None:
    sent = form.files.get("bg_image_file")
    encoded = form.texts.get("bg_image_file_b64")
    url = form.texts.get("bg_image_url")
    if sum(value is not None for value in (sent, encoded, url)) > 1:
        raise _multiple_backgrounds()
    if sent is not None:
        return SentPicture("bg_image_file", sent)
    if encoded is not None:
        return SentPicture("bg_image_file_b64", decode_base64(encoded, form.rules.max_file_bytes))
    if url is not None:
        return RemotePicture(
            "bg_image_url", check_url(url, "bg_image_url", reasons.ERROR_REASON_INVALID_BG_IMAGE_URL)
        )
    return None


def _multiple_backgrounds() -> InvalidPicture:
    return InvalidPicture(
        reasons.ERROR_REASON_MULTIPLE_BG_SOURCES,
        "Give one of bg_color, bg_image_url and bg_image_file.",
        field="bg_image_file",
    )


def _parse_size(text: str, dialect: Dialect) -> Size:
    size = dialect.sizes.get(text.strip().lower())
    if size is None:
        raise InvalidField(
            "size", f"Give one of {', '.join(dialect.sizes)}.", reason=reasons.ERROR_REASON_INVALID_SIZE
        )
    return size


def _read_shadows(fields: Fields) -> list[compositor_pb2.Shadow]:
    types = fields.collect(lambda: parse_shadow_types(fields.by_key("shadow_type")))
    opacities = fields.collect(lambda: parse_shadow_opacities(fields.by_key("shadow_opacity")))
    return combine_shadows(types or {}, opacities or {}, is_old_switch_on=fields.boolean("add_shadow", False))
