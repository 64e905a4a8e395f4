"""Cron expressions name the minutes that AWS documents, in any time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from sluice_sim.aws_rules.cron import Cron

BERLIN = ZoneInfo("Europe/Berlin")
UTC = ZoneInfo("UTC")


def runs(cron: Cron, after: str, count: int = 3, zone: ZoneInfo = UTC) -> list[str]:
    """The next runs, in UTC, of `cron` after a moment in UTC."""
    moment, found = datetime.fromisoformat(after).replace(tzinfo=UTC), []
    for _ in range(count):
        following = cron.next_after(moment, zone)
        assert following is not None
        moment = following
        found.append(f"{following:%a %Y-%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/20 * * * *", ["Thu 2026-01-15 12:40", "Thu 2026-01-15 13:00", "Thu 2026-01-15 13:20"]),
        ("30 0 1 1,6,12 *", ["Mon 2026-06-01 00:30", "Tue 2026-12-01 00:30", "Fri 2027-01-01 00:30"]),
        ("0 8 * * 1-5", ["Fri 2026-01-16 08:00", "Mon 2026-01-19 08:00", "Tue 2026-01-20 08:00"]),
        ("0 8 * * MON-fri", ["Fri 2026-01-16 08:00", "Mon 2026-01-19 08:00", "Tue 2026-01-20 08:00"]),
        ("0 8 * * 0", ["Sun 2026-01-18 08:00", "Sun 2026-01-25 08:00", "Sun 2026-02-01 08:00"]),
        ("0 8 * * 7", ["Sun 2026-01-18 08:00", "Sun 2026-01-25 08:00", "Sun 2026-02-01 08:00"]),
        ("0 0 29 2 *", ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00", "Fri 2036-02-29 00:00"]),
    ],
)
def test_five_fields_name_minutes_as_unix_does(expression: str, expected: list[str]) -> None:
    assert runs(Cron.five_fields(expression), "2026-01-15T12:20:00") == expected


def test_in_five_fields_either_day_suffices_where_both_are_given() -> None:
    assert runs(Cron.five_fields("0 0 20 * SUN"), "2026-01-15T12:20:00") == [
        "Sun 2026-01-18 00:00",
        "Tue 2026-01-20 00:00",
        "Sun 2026-01-25 00:00",
    ]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 8 ? * MON-FRI *", ["Fri 2026-01-16 08:00", "Mon 2026-01-19 08:00", "Tue 2026-01-20 08:00"]),
        ("0 8 ? * 2-6 *", ["Fri 2026-01-16 08:00", "Mon 2026-01-19 08:00", "Tue 2026-01-20 08:00"]),
        ("0 8 ? * 1 *", ["Sun 2026-01-18 08:00", "Sun 2026-01-25 08:00", "Sun 2026-02-01 08:00"]),
        ("0 8 ? * 7 *", ["Sat 2026-01-17 08:00", "Sat 2026-01-24 08:00", "Sat 2026-01-31 08:00"]),
        ("15/20 9 1 * ? *", ["Sun 2026-02-01 09:15", "Sun 2026-02-01 09:35", "Sun 2026-02-01 09:55"]),
        ("0 0 1 JAN ? 2028-2030", ["Sat 2028-01-01 00:00", "Mon 2029-01-01 00:00", "Tue 2030-01-01 00:00"]),
    ],
)
def test_six_fields_begin_the_week_on_sunday_and_name_years(expression: str, expected: list[str]) -> None:
    assert runs(Cron.six_fields(expression), "2026-01-15T12:20:00") == expected


def test_a_schedule_that_has_no_further_run_has_no_next() -> None:
    moment = datetime.fromisoformat("2026-01-15T12:20:00+00:00")
    assert Cron.six_fields("0 0 1 1 ? 2025").next_after(moment, UTC) is None
    assert Cron.five_fields("0 0 31 2 *").next_after(moment, UTC) is None


def test_a_local_time_stays_the_same_when_the_clocks_change() -> None:
    daily = Cron.five_fields("0 8 * * *")
    assert runs(daily, "2026-03-27T12:00:00", 2, BERLIN) == ["Sat 2026-03-28 07:00", "Sun 2026-03-29 06:00"]
    assert runs(daily, "2026-10-23T12:00:00", 2, BERLIN) == ["Sat 2026-10-24 06:00", "Sun 2026-10-25 07:00"]


def test_a_time_in_the_skipped_hour_does_not_run_and_one_in_the_repeated_hour_runs_once() -> None:
    at_half_past_two = Cron.five_fields("30 2 * * *")
    assert runs(at_half_past_two, "2026-03-28T12:00:00", 1, BERLIN) == ["Mon 2026-03-30 00:30"]
    assert runs(at_half_past_two, "2026-10-24T12:00:00", 2, BERLIN) == [
        "Sun 2026-10-25 00:30",
        "Mon 2026-10-26 01:30",
    ]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 8 * *", "has 4 fields, not 5"),
        ("0 8 ? * MON *", "has 6 fields, not 5"),
        ("60 8 * * *", "'60' is outside 0 to 59"),
        ("0 8 0 * *", "'0' is outside 1 to 31"),
        ("0 8 * * 5-1", "'5-1' is outside 0 to 7"),
        ("0 8 * * FUNDAY", "'FUNDAY' is not a number or a name"),
        ("*/x 8 * * *", "'X' is not a number"),
        ("*/0 8 * * *", "step of 0"),
    ],
)
def test_what_is_no_unix_cron_is_refused(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match="cron") as refused:
        Cron.five_fields(expression)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 8 * * *", "has 5 fields, not 6"),
        ("0 8 * * * *", "write ? in one of the two day fields"),
        ("0 8 ? * ? *", "write ? in one of the two day fields"),
        ("0 8 ? * 0 *", "'0' is outside 1 to 7"),
        ("0 8 L * ? *", "'L' is not a number or a name that is simulated"),
        ("0 8 ? * 6#3 *", "'6#3' is not a number or a name that is simulated"),
    ],
)
def test_what_is_no_cron_of_six_fields_is_refused(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match="cron") as refused:
        Cron.six_fields(expression)
    assert words in str(refused.value)
