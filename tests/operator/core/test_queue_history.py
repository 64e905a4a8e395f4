"""What a queue's metrics say about its past: gaps, silence, processing times, boots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluice_operator.core.queue_history import (
    PERCENTILES,
    SILENT_AFTER,
    Gap,
    arrivals,
    mean_boot_s,
    processing_times,
    share_in_time,
)

START = datetime(2026, 1, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def minute(place: int) -> datetime:
    return START + MINUTE * place


def series(**values: float) -> dict[datetime, float]:
    """`m3=5`: the value 5 in minute 3."""
    return {minute(int(name[1:])): value for name, value in values.items()}


def every(first: int, last: int, value: float) -> dict[datetime, float]:
    return {minute(place): value for place in range(first, last)}


def stretch(sent, last, active=()):
    return arrivals(sent, active, START, minute(last), MINUTE)


def test_a_queue_without_a_value_has_no_past() -> None:
    assert stretch({}, 10) is None
    assert stretch(series(m10=5), 10) is None, "it is not before the end"


def test_the_stretch_begins_with_the_first_value() -> None:
    found = stretch(series(m2=4, m3=0, m4=6), 5)
    assert (found.start, found.counts, found.end) == (minute(2), (4, 0, 6), minute(5))


def test_a_short_gap_is_filled_with_the_mean_of_its_neighbours_and_told() -> None:
    found = stretch(every(0, 5, 10) | every(8, 12, 20), 12)
    assert found.counts == (10,) * 5 + (15,) * 3 + (20,) * 4
    assert found.filled == (Gap(start=minute(5), end=minute(8)),)
    assert found.breaks == found.silences == ()


def test_a_long_gap_is_not_read_as_zero_but_ends_the_stretch() -> None:
    found = stretch(every(0, 50, 10) | every(80, 200, 20), 200)
    assert (found.start, set(found.counts), len(found.counts)) == (minute(80), {20}, 120)
    assert found.breaks == (Gap(start=minute(50), end=minute(80)),)


def test_a_gap_at_the_end_is_not_filled() -> None:
    found = stretch(every(0, 50, 10), 55)
    assert len(found.counts) == 50
    assert found.breaks == (Gap(start=minute(50), end=minute(55)),)


HOURS = round(SILENT_AFTER / MINUTE)


@pytest.mark.parametrize("active", ["visible", "processed"])
def test_sqs_is_silent_only_hours_after_the_last_activity(active: str) -> None:
    quiet = HOURS + 10
    sent = series(m0=10) | every(1, quiet, 0) | every(quiet + 100, quiet + 110, 5)
    found = stretch(sent, quiet + 110)
    assert found.counts == (10,) + (0,) * (quiet - 1 + 100) + (5,) * 10
    assert found.silences == (Gap(start=minute(quiet), end=minute(quiet + 100)),)
    for busy in (quiet - 30, quiet + 50):  # so recently that SQS would publish, or within the gap
        found = stretch(sent, quiet + 110, [{minute(busy): 1.0}])
        assert found.silences == (), f"{active} at {busy}"
        assert found.breaks == (Gap(start=minute(quiet), end=minute(quiet + 100)),)


def test_processing_times_come_in_twentieths_of_each_hours_messages() -> None:
    found = {name: {} for name in PERCENTILES} | {
        "SampleCount": {START: 40.0, minute(60): 5.0, minute(120): 3.0},
        "Average": {START: 9.0, minute(60): 7.0},
    }
    for place, name in enumerate(PERCENTILES):
        found[name] = {START: 1.0 + place}
    times = processing_times(found)
    assert [each.seconds for each in times] == [*(1.0 + place for place in range(20)), 7.0]
    assert [each.messages for each in times] == [2.0] * 20 + [5.0]


def test_the_share_in_time_weighs_each_hour_by_its_messages() -> None:
    percent = {START: 100.0, minute(60): 50.0, minute(120): 0.0}
    assert share_in_time((percent, {START: 30.0, minute(60): 10.0, minute(120): 0.0})) == pytest.approx(0.875)
    assert share_in_time((percent, {minute(180): 5.0})) is None
    assert share_in_time(({}, {})) is None


def test_a_boot_lasts_as_long_as_desired_instances_do_not_run() -> None:
    desired = every(0, 5, 0) | every(5, 10, 2) | every(10, 20, 3) | every(20, 30, 1)
    running = every(0, 7, 0) | every(7, 12, 2) | every(12, 22, 3) | every(22, 30, 1)
    # Two instances boot for two minutes each, one for two; those that drain count for nothing.
    assert mean_boot_s(desired, running, MINUTE) == pytest.approx(120)
    assert mean_boot_s(every(0, 9, 2), every(0, 9, 2), MINUTE) is None


def test_minutes_without_a_count_are_no_launches() -> None:
    desired = every(0, 5, 1) | every(8, 12, 4)
    assert mean_boot_s(desired, desired, MINUTE) is None
