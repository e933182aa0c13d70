"""Taking a large upload apart costs in proportion to its size, whatever it holds."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import AsyncIterator

import numpy as np
import pytest
from starlette.datastructures import Headers

from matteworks_edge.intake.body import RawForm, read_body
from matteworks_imaging.header import MAX_FILE_BYTES

HEADERS = Headers({"content-type": "multipart/form-data; boundary=b0"})
CHUNK_BYTES = 1 << 16
SMALL_BYTES, LARGE_BYTES = MAX_FILE_BYTES // 4, MAX_FILE_BYTES
# Four times the bytes take about four times as long, six where caches end; quadratic work takes sixteen.
MOST_TIMES_AS_LONG = 11.0
ROUNDS = 5

CONTENTS = {
    "noise": np.random.default_rng(0).integers(0, 256, LARGE_BYTES, np.uint8).tobytes(),
    "line ends": b"\r\n" * (LARGE_BYTES // 2),
    "nearly boundaries": (b"\r\n--b1" * (LARGE_BYTES // 6 + 1))[:LARGE_BYTES],
    "zeros": bytes(LARGE_BYTES),
}


def body(content: bytes) -> bytes:
    return (
        b'--b0\r\nContent-Disposition: form-data; name="size"\r\n\r\nfull\r\n'
        b'--b0\r\nContent-Disposition: form-data; name="image_file"; filename="x"\r\n\r\n'
        + content
        + b"\r\n--b0--\r\n"
    )


async def arriving(whole: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(whole), CHUNK_BYTES):
        yield whole[start : start + CHUNK_BYTES]


async def read(whole: bytes) -> RawForm:
    return await read_body(HEADERS, arriving(whole), lambda _: None)


async def seconds(whole: bytes) -> float:
    """Of this thread's own work: what other processes take of the machine does not count."""
    start = time.thread_time()
    await read(whole)
    return time.thread_time() - start


@pytest.mark.parametrize("name", CONTENTS)
async def test_four_times_the_bytes_do_not_take_many_times_as_long(name: str) -> None:
    """A ratio of best times within one run: it holds on any machine, loaded or not."""
    small, large = body(CONTENTS[name][:SMALL_BYTES]), body(CONTENTS[name])
    pairs = [(await seconds(small), await seconds(large)) for _ in range(ROUNDS)]
    best_small_s, best_large_s = (min(times) for times in zip(*pairs, strict=True))
    assert best_large_s < MOST_TIMES_AS_LONG * best_small_s


async def test_a_large_file_is_kept_twice_at_most_while_it_arrives() -> None:
    """Once in the pieces that came, once joined; nothing else grows with it."""
    whole = body(CONTENTS["noise"])
    tracemalloc.start()
    try:
        form = await read(whole)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(form.files["image_file"]) == LARGE_BYTES
    assert peak_bytes < 2 * LARGE_BYTES + 2**20


async def test_a_form_shows_no_content_when_it_is_printed() -> None:
    """What a log or a debugger prints must hold no picture; printing one took longer than reading it."""
    form = await read(body(b"the customer's picture"))
    assert "customer" not in repr(form)
