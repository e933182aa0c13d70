"""The page to try, in a real browser: a photo comes in by every way, and goes out as a file."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from playwright.async_api import Page, expect

from tests.e2e.console.conftest import Visit
from tests.support.chromium import Visitor

pytestmark = [
    pytest.mark.stack,
    pytest.mark.asyncio(loop_scope="package"),
    pytest.mark.timeout(180),
]

READY = "#download:not([disabled])"


async def choose(visitor: Visitor, *photos: Path) -> None:
    await visitor.open("/")
    await visitor.page.set_input_files("#files", list(photos))
    if len(photos) == 1:
        await visitor.page.wait_for_selector(READY)


async def download(page: Page, button: str = "#download") -> bytes:
    async with page.expect_download() as waiting:
        await page.click(button)
    path = await (await waiting.value).path()
    return Path(path).read_bytes()


async def alpha_at(page: Page, x: float, y: float) -> int:
    """Alpha of the cut-out on the screen, 0 to 255, at parts of its sides."""
    alpha: int = await page.evaluate(
        """([x, y]) => {
            const shown = document.getElementById("after");
            const probe = new OffscreenCanvas(1, 1).getContext("2d");
            probe.drawImage(shown, -Math.round(x * shown.width), -Math.round(y * shown.height));
            return probe.getImageData(0, 0, 1, 1).data[3];
        }""",
        [x, y],
    )
    return alpha


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


async def test_a_chosen_photo_is_downloaded_as_the_server_cut_it(visit: Visit, demo_photo: Path) -> None:
    async with visit() as visitor:
        await choose(visitor, demo_photo)

        cutout = opened(await download(visitor.page))

    assert (cutout.format, cutout.mode, cutout.size) == ("PNG", "RGBA", (512, 512))
    assert cutout.getpixel((5, 5))[3] == 0
    assert cutout.getpixel((230, 120))[3] == 255


@pytest.mark.parametrize("way", ["drop", "paste"])
async def test_a_dropped_and_a_pasted_photo_are_cut(visit: Visit, demo_photo: Path, way: str) -> None:
    async with visit() as visitor:
        await visitor.open("/")
        await visitor.page.evaluate(
            """([encoded, way]) => {
                const bytes = Uint8Array.from(atob(encoded), c => c.charCodeAt(0));
                const data = new DataTransfer();
                data.items.add(new File([bytes], "photo.jpg", {type: "image/jpeg"}));
                const event = way === "drop"
                    ? new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})
                    : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
                document.getElementById("drop").dispatchEvent(event);
            }""",
            [base64.b64encode(demo_photo.read_bytes()).decode(), way],
        )
        await visitor.page.wait_for_selector(READY)

        assert await alpha_at(visitor.page, 0.02, 0.02) == 0
        assert await alpha_at(visitor.page, 0.45, 0.25) == 255


async def test_a_sample_is_cut_with_one_click(visit: Visit) -> None:
    async with visit() as visitor:
        await visitor.open("/")
        await visitor.page.click("[data-name='coffee.jpg']")
        await visitor.page.wait_for_selector(READY)

        assert "600 × 400" in await visitor.page.inner_text("#facts")


async def test_erase_keep_undo_and_redo_change_the_file(visit: Visit, demo_photo: Path) -> None:
    async with visit() as visitor:
        page = visitor.page
        await choose(visitor, demo_photo)

        async def stroke(tool: str, x: float, y: float) -> None:
            await page.check(f"[name=tool][value={tool}]")
            picture = page.locator("#after")
            await picture.scroll_into_view_if_needed()
            place = await picture.bounding_box()
            assert place is not None
            width, height = place["width"], place["height"]
            await picture.hover(position={"x": x * width, "y": y * height})
            await page.mouse.down()
            await picture.hover(position={"x": (x + 0.05) * width, "y": y * height})
            await page.mouse.up()

        await stroke("erase", 0.45, 0.25)
        await stroke("keep", 0.02, 0.05)
        painted = opened(await download(page))
        await page.click("#undo")
        await page.click("#undo")
        undone = opened(await download(page))
        await page.click("#redo")
        redone = opened(await download(page))

    original = Image.open(demo_photo).convert("RGB")
    erased, kept = (235, 128), (14, 26)
    assert painted.getpixel(erased)[3] == 0
    assert painted.getpixel(kept)[3] == 255
    assert all(
        abs(a - b) <= 3 for a, b in zip(painted.getpixel(kept)[:3], original.getpixel(kept), strict=True)
    )
    assert (undone.getpixel(erased)[3], undone.getpixel(kept)[3]) == (255, 0)
    assert (redone.getpixel(erased)[3], redone.getpixel(kept)[3]) == (0, 0)


async def test_the_brush_works_by_keyboard(visit: Visit, demo_photo: Path) -> None:
    async with visit() as visitor:
        page = visitor.page
        await choose(visitor, demo_photo)
        await page.focus("[name=tool][value=compare]")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowRight")
        assert await page.is_checked("[name=tool][value=erase]")
        await page.focus("#after")
        before = await alpha_at(page, 0.5, 0.5)
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("]")
        await page.keyboard.press("Space")
        await page.check("[name=tool][value=compare]")

        assert (before, await alpha_at(page, 0.49, 0.5)) == (255, 0)

        await page.focus("#after")
        await page.keyboard.press("Control+z")
        assert await alpha_at(page, 0.49, 0.5) == 255


async def test_a_click_selects_and_undo_the_brush_and_the_download_go_on_from_there(
    visit: Visit, demo_photo: Path
) -> None:
    async with visit() as visitor:
        page = visitor.page
        await choose(visitor, demo_photo)
        await page.check("[name=tool][value=select]")
        await expect(page.locator("#subjects label").first).to_contain_text("1 person")
        picture = page.locator("#after")
        await picture.scroll_into_view_if_needed()
        place = await picture.bounding_box()
        assert place is not None

        async def click(x: float, y: float) -> None:
            async with page.expect_response("**/api/tools/magic-select/image") as waiting:
                await picture.click(position={"x": x * place["width"], "y": y * place["height"]})
            assert (await waiting.value).status == 200
            await expect(page.locator("#undo")).to_be_enabled()
            await expect(page.locator(".is-busy")).to_have_count(0)

        # The wall beside the head, which no removal keeps; then the person alone.
        await click(0.9, 0.05)
        wall = opened(await download(page))
        assert "Charged: 1 credit" in await page.inner_text("#facts")
        await click(0.49, 0.78)
        person = opened(await download(page))
        await page.check("[name=way][value=add]")
        await click(0.9, 0.05)
        both = opened(await download(page))
        await page.click("#undo")
        undone = opened(await download(page))
        await page.check("[name=tool][value=erase]")
        await picture.click(position={"x": 0.49 * place["width"], "y": 0.78 * place["height"]})
        erased = opened(await download(page))

    beside, on = (461, 26), (251, 400)
    alphas = [(cut.getpixel(beside)[3], cut.getpixel(on)[3]) for cut in (wall, person, both, undone, erased)]
    assert alphas == [(255, 0), (0, 255), (255, 255), (0, 255), (0, 0)]


async def test_subjects_are_chosen_by_keyboard_and_asked_for_once(visit: Visit, demo_photo: Path) -> None:
    async with visit() as visitor:
        page = visitor.page
        await choose(visitor, demo_photo)
        calls: list[str] = []
        page.on("request", lambda request: calls.append(request.url) if request.method == "POST" else None)
        await page.focus("[name=tool][value=compare]")
        for _ in range(3):
            await page.keyboard.press("ArrowRight")
        assert await page.is_checked("[name=tool][value=select]")
        first = page.locator("#subjects input").first
        await first.focus()
        await page.keyboard.press("Space")
        await expect(page.locator("#undo")).to_be_enabled()
        await page.keyboard.press("Control+z")
        await expect(first).not_to_be_checked()
        await page.keyboard.press("Space")
        await expect(page.locator("#undo")).to_be_enabled()
        await page.focus("#after")
        await page.keyboard.press("ArrowDown")
        async with page.expect_response("**/api/tools/magic-select/image"):
            await page.keyboard.press("Enter")
        chosen = opened(await download(page))

    assert [url.rpartition("/tools/")[2] for url in calls] == [
        "subjects", "magic-select/image", "magic-select/image",
    ]  # fmt: skip
    assert chosen.getpixel((256, 264))[3] == 255
    assert chosen.getpixel((5, 5))[3] == 0


async def test_colour_crop_and_format_reach_the_file_without_another_charge(
    visit: Visit, demo_photo: Path
) -> None:
    async with visit() as visitor:
        page = visitor.page
        await choose(visitor, demo_photo)
        calls: list[str] = []
        page.on("request", lambda request: calls.append(request.url) if request.method == "POST" else None)
        await page.fill("[name=colour]", "#ff0000")
        await page.check("[name=crop]")
        await page.select_option("[name=format]", "jpg")

        result = opened(await download(page))

    assert calls == []
    assert (result.format, result.mode) == ("JPEG", "RGB")
    assert result.width < 512 or result.height < 512
    red, green, blue = result.getpixel((2, 2))
    assert red > 200
    assert max(green, blue) < 60


async def test_a_picture_goes_behind_the_subject(visit: Visit, demo_photo: Path, tmp_path: Path) -> None:
    blue = tmp_path / "blue.png"
    Image.new("RGB", (300, 100), (0, 0, 255)).save(blue)
    async with visit() as visitor:
        await choose(visitor, demo_photo)
        async with visitor.page.expect_file_chooser() as chooser:
            await visitor.page.check("[name=background][value=picture]")
        await (await chooser.value).set_files(blue)
        await expect(visitor.page.locator("#background-picture")).to_be_visible()

        result = opened(await download(visitor.page))

    assert result.getpixel((3, 3)) == (0, 0, 255, 255)
    assert result.getpixel((230, 120))[:3] != (0, 0, 255)


async def test_the_line_between_before_and_after_can_be_dragged(visit: Visit, demo_photo: Path) -> None:
    async with visit() as visitor:
        await choose(visitor, demo_photo)
        picture = visitor.page.locator("#after")
        await picture.scroll_into_view_if_needed()
        box = await picture.bounding_box()
        assert box is not None
        await picture.hover(position={"x": box["width"] * 0.5, "y": 100})
        await visitor.page.mouse.down()
        await picture.hover(position={"x": box["width"] * 0.2, "y": 100})
        await visitor.page.mouse.up()

        assert 18 <= int(await visitor.page.input_value("#split")) <= 22


async def test_a_turned_photo_is_upright_and_lies_on_its_cut_out(
    visit: Visit, demo_photo: Path, tmp_path: Path
) -> None:
    """Cameras store pictures turned and say so in EXIF; the brush must find the same place in both."""
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(demo_photo) as upright:
        upright.crop((0, 0, 512, 400)).rotate(90, expand=True).save(turned, exif=exif, quality=95)
    async with visit() as visitor:
        await choose(visitor, turned)
        sizes = await visitor.page.evaluate(
            "['after', 'before'].map(id => [document.getElementById(id).width, "
            "document.getElementById(id).height])"
        )

        assert sizes == [[512, 400]] * 2
        assert await alpha_at(visitor.page, 0.45, 0.3) == 255
        assert await alpha_at(visitor.page, 0.02, 0.02) == 0


async def test_a_shadow_is_asked_of_the_server_and_shown(visit: Visit, demo_photo: Path) -> None:
    async with visit() as visitor:
        page = visitor.page
        await visitor.open("/")
        await page.click("[data-name='coffee.jpg']")
        await page.wait_for_selector(READY)
        async with page.expect_response("**/v1.0/removebg") as waiting:
            await page.select_option("[name=shadow]", "drop")

        assert (await waiting.value).status == 200


async def test_many_photos_become_one_zip_and_what_failed_says_why(
    visit: Visit, demo_photo: Path, tmp_path: Path
) -> None:
    photos = []
    for number in range(2):
        photo = tmp_path / f"{number}" / "photo <b>one<b>.jpg"
        photo.parent.mkdir()
        photo.write_bytes(demo_photo.read_bytes() + bytes([number]))
        photos.append(photo)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    async with visit() as visitor:
        visitor.expected = ("400 (Bad Request)",)
        await choose(visitor, *photos, broken)
        await visitor.page.wait_for_selector("#batch-zip:not([disabled])")
        summary = await visitor.page.inner_text("#batch-summary")
        failed = await visitor.page.inner_text("#batch-list li.failed")
        # File names are text.
        assert await visitor.page.locator("#batch-list b").count() == 0
        archive = zipfile.ZipFile(io.BytesIO(await download(visitor.page, "#batch-zip")))

    assert summary == "2 of 3 cut out, 1 not."
    assert "broken.jpg" in failed
    assert "read" in failed
    assert archive.testzip() is None
    names = archive.namelist()
    assert len(names) == len(set(names)) == 2
    assert all(opened(archive.read(name)).mode == "RGBA" for name in names)


async def test_a_file_that_is_no_picture_is_refused_in_plain_words(visit: Visit, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    async with visit() as visitor:
        await visitor.open("/")
        await visitor.page.set_input_files("#files", str(text))

        words = await visitor.page.inner_text("#problem")

    assert words == "notes.txt is not a JPEG, PNG or WebP picture."


async def test_the_shown_call_follows_the_choices(visit: Visit) -> None:
    async with visit() as visitor:
        page = visitor.page
        await visitor.open("/")
        await page.select_option("[name=provider]", "photoroom")
        async with page.expect_response("**/console/try/call*"):
            await page.select_option("[name=language]", "node")

        await expect(page.locator("#program")).to_contain_text("/v1/segment")
        await expect(page.locator("#program")).to_contain_text("await fetch")


@pytest.mark.parametrize(("scheme", "width_px"), [("light", 1280), ("dark", 360)])
async def test_everybody_can_use_the_page(
    visit: Visit, axe: str, demo_photo: Path, scheme: Literal["light", "dark"], width_px: int
) -> None:
    async with visit() as visitor:
        await visitor.look(scheme, width_px)
        await choose(visitor, demo_photo)

        assert await visitor.check(axe) == []
        assert not await visitor.is_scrolling_sideways()

        await visitor.page.check("[name=tool][value=select]")
        await expect(visitor.page.locator("#subjects label").first).to_be_visible()
        assert await visitor.check(axe) == []
        assert not await visitor.is_scrolling_sideways()


async def test_the_page_is_light(visit: Visit) -> None:
    """150 kB without pictures, as they come over the wire."""
    sizes: list[int] = []
    async with visit() as visitor:
        session = await visitor.page.context.new_cdp_session(visitor.page)
        await session.send("Network.enable")
        kinds: dict[str, str] = {}
        session.on(
            "Network.responseReceived", lambda event: kinds.update({event["requestId"]: event["type"]})
        )
        session.on(
            "Network.loadingFinished",
            lambda event: (
                sizes.append(int(event["encodedDataLength"]))
                if kinds.get(event["requestId"]) != "Image"
                else None
            ),
        )
        await visitor.open("/")
        await visitor.page.wait_for_load_state("networkidle")

    assert len(sizes) >= 4
    assert sum(sizes) < 150_000
