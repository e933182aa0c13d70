"""Folders and buckets as the bulk command names them, and what lies in them, in one order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from matteworks_cli.photos import PICTURE_SUFFIXES
from matteworks_deploy.failures import EXIT_USAGE, CommandFailed

# What `BOOKS` holds is ours; see shards.py.
BOOKS = "_matteworks"


def open_store(place: str, *, is_made: bool) -> ObjectStore:
    """The store at `place`: a folder, or a URL such as s3://bucket/prefix, gs://… or az://….

    Credentials and endpoints of buckets come from their providers' own environment variables. Raises
    CommandFailed for a place that cannot be opened; a missing folder is made if `is_made`.
    """
    try:
        if "://" in place:
            return from_url(place)
        folder = Path(place)
        if not is_made and not folder.is_dir():
            raise CommandFailed(f"{place} is no folder; buckets are named s3://BUCKET/PREFIX.", EXIT_USAGE)
        return LocalStore(folder.absolute(), mkdir=is_made)
    except (BaseError, ValueError, OSError) as error:
        raise CommandFailed(f"{_without_secret(place)} cannot be opened: {error}.", EXIT_USAGE) from error


def check_apart(source: str, target: str) -> None:
    """Raise CommandFailed when one place lies in the other: results would be taken for pictures."""
    places = []
    for place in (source, target):
        parts = urlsplit(place)
        is_folder = not parts.scheme
        path = str(Path(place).resolve()) if is_folder else f"{parts.scheme}://{parts.netloc}{parts.path}"
        places.append(path.rstrip("/") + "/")
    if places[0].startswith(places[1]) or places[1].startswith(places[0]):
        raise CommandFailed("SOURCE and TARGET lie in one another; choose a target beside it.", EXIT_USAGE)


def pictures_after(store: ObjectStore, key: str) -> Iterator[str]:
    """Keys of pictures in the one order that every machine sees, those after `key` only; "" for all.

    The listing is streamed: nothing is held but one page, or one folder's names.
    """
    keys = _files_after(store, key) if isinstance(store, LocalStore) else _objects_after(store, key)
    return (
        found
        for found in keys
        if Path(found).suffix.lower() in PICTURE_SUFFIXES and not found.startswith(f"{BOOKS}/")
    )


def _objects_after(store: ObjectStore, key: str) -> Iterator[str]:
    # Buckets list by key, byte by byte; `offset` is exclusive.
    for page in store.list(offset=key or None):
        yield from (entry["path"] for entry in page)


def _files_after(store: LocalStore, key: str) -> Iterator[str]:
    root = Path(str(store.prefix))
    return _walk(root, root, tuple(key.split("/")) if key else ())


def _walk(root: Path, folder: Path, after: tuple[str, ...]) -> Iterator[str]:
    """Depth first, names in order: so the order of two paths is that of their parts."""
    for entry in sorted(folder.iterdir(), key=lambda path: path.name):
        if after and entry.name < after[0]:
            continue
        is_on_the_way = bool(after) and entry.name == after[0]
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _walk(root, entry, after[1:] if is_on_the_way else ())
        elif not (is_on_the_way and len(after) == 1):
            yield entry.relative_to(root).as_posix()


def _without_secret(place: str) -> str:
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.scheme else place
