"""The last minute of a device, on a clock that tests move."""

from __future__ import annotations

from matteworks_inference.queueing.meter import LoadMeter
from tests.support.clock import ManualClock


def test_what_happened_in_the_last_minute_counts_and_nothing_older() -> None:
    clock = ManualClock()
    meter = LoadMeter(clock)
    clock.advance(100)
    meter.add(picture_count=3, busy_s=1.5)
    clock.advance(30)
    meter.add(picture_count=1, busy_s=0.5)
    both = meter.read()
    clock.advance(31)
    later = meter.read()
    clock.advance(60)

    assert (both.picture_count, both.busy_s, both.window_s) == (4, 2.0, 60.0)
    assert (later.picture_count, later.busy_s) == (1, 0.5)
    assert meter.read().picture_count == 0


def test_a_young_process_counts_since_its_start_and_is_never_busier_than_the_time() -> None:
    clock = ManualClock()
    meter = LoadMeter(clock)
    clock.advance(10)
    meter.add(picture_count=20, busy_s=25.0)
    read = meter.read()

    assert (read.window_s, read.busy_s) == (10.0, 10.0)


def test_it_holds_no_more_than_a_minute_however_long_it_counts() -> None:
    clock = ManualClock()
    meter = LoadMeter(clock)
    for _ in range(500):
        clock.advance(1)
        meter.add(picture_count=1)

    assert meter.read().picture_count == 60
