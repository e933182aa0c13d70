"""Which photos a person means, and where each result goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from matteworks_deploy.failures import EXIT_USAGE, CommandFailed

# Endings that pictures have. A file that is named by itself is sent whatever its ending.
PICTURE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp", ".gif"}
)


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo of an order. `target` is its result's path without the suffix.

    `is_found`: it was found in a folder, not named, so a result that exists means that it is done.
    """

    path: Path
    target: Path
    is_found: bool


@dataclass(frozen=True, slots=True)
class Order:
    """Photos to cut, those that were done before, and those that cannot be cut, with the reason."""

    wanted: tuple[Photo, ...]
    done: tuple[Photo, ...]
    refused: tuple[tuple[Path, str], ...]


def order_photos(
    paths: Iterable[Path],
    directory: Path,
    suffixes: tuple[str, ...],
    *,
    patterns: Sequence[str] = (),
    is_recursive: bool = False,
    is_overwriting: bool = False,
) -> Order:
    """Sort out which photos to send. `suffixes` are those that a result may have.

    A folder gives the pictures in it, or in and below it; `patterns` (such as `*.jpg` or `2024/*`) are
    compared with the path below the folder, upper and lower case alike. Results keep that path. What lies
    in `directory` is never taken for a photo. Raises CommandFailed for a folder that cannot be read.
    """
    photos: dict[Path, Photo] = {}
    for path in paths:
        if path.is_dir():
            for found in _pictures_in(path, directory, patterns, is_recursive):
                target = directory / found.relative_to(path).with_suffix("")
                photos.setdefault(found, Photo(found, target, is_found=True))
        else:
            photos.setdefault(path, Photo(path, directory / path.stem, is_found=False))
    taken: dict[Path, Path] = {}
    wanted: list[Photo] = []
    done: list[Photo] = []
    refused: list[tuple[Path, str]] = []
    for photo in photos.values():
        existing = [path for suffix in suffixes if (path := Path(f"{photo.target}.{suffix}")).exists()]
        if photo.target in taken:
            other = taken[photo.target]
            refused.append((photo.path, f"its result would have the same name as that of {other}"))
            continue
        if any(photo.path.exists() and path.samefile(photo.path) for path in existing):
            reason = "its result would replace the photo itself; choose another directory with -o"
            refused.append((photo.path, reason))
            continue
        taken[photo.target] = photo.path
        if not existing or is_overwriting:
            wanted.append(photo)
        elif photo.is_found:
            done.append(photo)
        else:
            refused.append((photo.path, f"{existing[0]} exists; --overwrite replaces it"))
    return Order(tuple(wanted), tuple(done), tuple(refused))


def _pictures_in(folder: Path, results: Path, patterns: Sequence[str], is_recursive: bool) -> Iterator[Path]:
    results = results.resolve()
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            entries = sorted(current.iterdir())
        except OSError as error:
            raise CommandFailed(f"{current} cannot be read: {error.strerror}.", EXIT_USAGE) from error
        below = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                # A link could lead back up; what it points to can be named by itself.
                if is_recursive and not entry.is_symlink() and entry.resolve() != results:
                    below.append(entry)
            elif entry.suffix.lower() in PICTURE_SUFFIXES and _fits(entry.relative_to(folder), patterns):
                yield entry
        pending.extend(reversed(below))


def _fits(path: Path, patterns: Sequence[str]) -> bool:
    text = path.as_posix().lower()
    return not patterns or any(
        fnmatchcase(text, pattern.lower()) or fnmatchcase(path.name.lower(), pattern.lower())
        for pattern in patterns
    )
