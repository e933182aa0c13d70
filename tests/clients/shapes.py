"""Multipart bodies byte by byte, as clients put them on the wire that cannot be installed here."""

from __future__ import annotations

from dataclasses import dataclass, field

BOUNDARY = "-----------RubyMultipartPost-20086acb9553daf9e055fd993b473084"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True)
class Part:
    """One part. `file_name` None is a text field; `headers` follow Content-Disposition as they are."""

    name: str
    content: bytes
    file_name: str | None = None
    headers: tuple[str, ...] = field(default=())


def body(parts: list[Part], *, ends_with_line_break: bool = True) -> bytes:
    """The request's body under BOUNDARY."""
    lines = b""
    for part in parts:
        disposition = f'Content-Disposition: form-data; name="{part.name}"'
        if part.file_name is not None:
            disposition += f'; filename="{part.file_name}"'
        head = "\r\n".join([f"--{BOUNDARY}", disposition, *part.headers])
        lines += head.encode() + b"\r\n\r\n" + part.content + b"\r\n"
    return lines + f"--{BOUNDARY}--".encode() + b"\r\n" * ends_with_line_break


def texts(**fields: str) -> list[Part]:
    """Text fields, in order."""
    return [Part(name, value.encode()) for name, value in fields.items()]


# What the official command line sends beside the picture when its user set nothing.
OFFICIAL_CLI_FIELDS = {
    "size": "auto",
    "type": "",
    "channels": "",
    "bg_color": "",
    "bg_image_url": "",
    "scale": "",
    "position": "",
    "roi": "",
    "crop_margin": "",
    "crop": "false",
    "add_shadow": "false",
    "semitransparency": "true",
    "type_level": "",
    "format": "zip",
}


def official_cli(photo: bytes) -> bytes:
    """The official Node command line: empty texts for what was not set, ZIP as transport of PNG."""
    return body([*texts(**OFFICIAL_CLI_FIELDS), Part("image_file", photo, "photo.jpg", _type("image/jpeg"))])


def browser_form(photo: bytes) -> bytes:
    """The vendor's browser sample: an unknown field, an empty URL, and the other file input left empty."""
    return body(
        [
            *texts(image_url="", size="auto", api_key="abc", bg_color=""),
            Part("bg_image_file", b"", "", _type("application/octet-stream")),
            Part("image_file", photo, "photo.jpg", _type("image/jpeg")),
        ]
    )


def gimp_plugin(photo: bytes) -> bytes:
    """A file without a type of its own, and no size: a preview."""
    return body([Part("image_file", photo, "temp.jpg")])


def swift_client(photo: bytes) -> bytes:
    """No line break after the closing boundary, no type on the file."""
    parts = [*texts(size="full"), Part("image_file", photo, "image_file")]
    return body(parts, ends_with_line_break=False)


def ruby_gem(photo: bytes) -> bytes:
    """Part headers that say the length and the transfer encoding; the file between the fields."""
    headers = (f"Content-Length: {len(photo)}", *_type("image/jpeg"), "Content-Transfer-Encoding: binary")
    parts = [Part("image_file", photo, "photo.jpg", headers), *texts(size="auto", format="zip")]
    return body(parts)


def native_fetch(photo: bytes) -> bytes:
    """A blob without a name of its own."""
    return body([Part("image_file", photo, "blob", _type("application/octet-stream")), *texts(size="full")])


def php_package(photo: bytes) -> bytes:
    """A JPEG under a forced .png name."""
    return body([Part("image_file", photo, "photo.png", _type("image/png")), *texts(size="full")])


def _type(content_type: str) -> tuple[str, ...]:
    return (f"Content-Type: {content_type}",)
