"""Which photos are sent, and where their results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from matteworks_cli.photos import Order, order_photos
from matteworks_deploy.failures import CommandFailed


def made(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def sent(order: Order, directory: Path) -> list[str]:
    return [photo.target.relative_to(directory).as_posix() for photo in order.wanted]


def test_two_photos_of_the_same_name_do_not_share_a_result(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "x.jpg", tmp_path / "b" / "x.png"

    order = order_photos([first, second], tmp_path, ("png",))

    assert [photo.target for photo in order.wanted] == [tmp_path / "x"]
    assert [(path, "same name" in reason) for path, reason in order.refused] == [(second, True)]


def test_a_photo_is_never_replaced_by_its_own_result(tmp_path: Path) -> None:
    photo = made(tmp_path, "x.png") / "x.png"

    order = order_photos([photo], tmp_path, ("png",), is_overwriting=True)

    assert order.wanted == ()
    assert "replace the photo itself" in order.refused[0][1]


def test_an_existing_result_of_a_named_photo_is_told_before_anything_is_spent(tmp_path: Path) -> None:
    made(tmp_path, "x.jpg")

    order = order_photos([Path("x.png")], tmp_path, ("png", "jpg"))

    assert order.wanted == ()
    assert "--overwrite" in order.refused[0][1]


def test_a_folder_gives_the_pictures_in_it_and_no_other_file(tmp_path: Path) -> None:
    photos = made(tmp_path / "photos", "b.JPG", "a.png", "notes.txt", ".hidden.jpg", "below/c.webp")

    order = order_photos([photos], tmp_path / "out", ("png",))

    assert sent(order, tmp_path / "out") == ["a", "b"]


def test_a_recursive_order_keeps_the_paths_below_the_folder(tmp_path: Path) -> None:
    photos = made(tmp_path / "photos", "x.jpg", "2023/x.jpg", "2024/may/x.jpg")

    order = order_photos([photos], tmp_path / "out", ("png",), is_recursive=True)

    assert sent(order, tmp_path / "out") == ["x", "2023/x", "2024/may/x"]


@pytest.mark.parametrize(
    ("pattern", "expected"), [("*.jpg", ["a", "y/c"]), ("y/*", ["y/c", "y/d"]), ("D.*", ["y/d"])]
)
def test_patterns_choose_by_name_or_path(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    photos = made(tmp_path / "photos", "a.jpg", "b.png", "y/c.jpg", "y/d.png")

    order = order_photos([photos], tmp_path / "out", ("png",), patterns=[pattern], is_recursive=True)

    assert sent(order, tmp_path / "out") == expected


def test_a_second_run_over_a_folder_sends_only_what_is_missing(tmp_path: Path) -> None:
    photos = made(tmp_path / "photos", "a.jpg", "b.jpg")
    made(tmp_path / "out", "a.png")

    order = order_photos([photos], tmp_path / "out", ("png",))

    assert sent(order, tmp_path / "out") == ["b"]
    assert [photo.path.name for photo in order.done] == ["a.jpg"]
    assert order.refused == ()


def test_a_second_run_does_not_take_anothers_result_for_its_own(tmp_path: Path) -> None:
    photos = made(tmp_path / "photos", "x.jpg", "x.png")
    made(tmp_path / "out", "x.png")

    order = order_photos([photos], tmp_path / "out", ("png",))

    assert [path.name for path, _ in order.refused] == ["x.png"]


def test_results_that_lie_below_the_folder_are_not_taken_for_photos(tmp_path: Path) -> None:
    photos = made(tmp_path / "photos", "a.jpg", "out/old.png")

    order = order_photos([photos], photos / "out", ("png",), is_recursive=True)

    assert sent(order, photos / "out") == ["a"]


def test_a_link_back_up_is_not_followed(tmp_path: Path) -> None:
    photos = made(tmp_path / "photos", "below/a.jpg")
    (photos / "below" / "loop").symlink_to(photos)

    order = order_photos([photos], tmp_path / "out", ("png",), is_recursive=True)

    assert sent(order, tmp_path / "out") == ["below/a"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)

    with pytest.raises(CommandFailed, match="cannot be read: Permission denied"):
        order_photos([tmp_path], tmp_path / "out", ("png",))
