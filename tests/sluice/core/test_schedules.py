"""When schedules start, which one is in force, and what is said of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.bounds import by_schedule, effective_bounds
from sluice.core.holds import both_bounds
from sluice.core.model import Bounds, Limit, Mode, Schedule
from sluice.core.schedules import LONGEST, coinciding, coinciding_start, in_force, in_force_on, starts
from sluice.document.schedule_lines import DAYS, parsed, written
from sluice_sim.aws_rules.cron import Cron
from tests.support.builders import capacity, workload

OFFICE = parsed("office-hours,MON-FRI,8:00,Europe/Berlin,3,20")
NIGHT = parsed("night,SUN-SAT,18:00,Europe/Berlin,0,20")
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "America/St_Johns",
    "Africa/Casablanca",  # changes twice within five weeks
    "Asia/Kolkata",
    "Pacific/Apia",
    "America/Scoresbysund",  # changes at midnight
)
MOMENTS = st.integers(0, 3 * 366 * 24 * 60).map(
    lambda minutes: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@st.composite
def schedules(draw: st.DrawFn, name: str = "one") -> Schedule:
    return Schedule(
        name=name,
        weekdays=draw(st.frozensets(st.integers(0, 6), min_size=1)),
        # Most clocks change between midnight and 4:00.
        hour=draw(st.one_of(st.integers(0, 4), st.integers(0, 23))),
        minute=draw(st.sampled_from([0, 1, 15, 30, 45, 59])),
        time_zone=draw(st.sampled_from(ZONES)),
        bounds=Bounds(min=draw(st.integers(0, 3)), max=draw(st.integers(3, 9))),
    )


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def between(schedule: Schedule, first: str, last: str) -> list[str]:
    found = starts(schedule, at(first), at(last))
    return [f"{start:%m-%d %H:%M}" for start in found]


def cron_of(schedule: Schedule) -> Cron:
    days = ",".join(DAYS[day] for day in sorted(schedule.weekdays))
    return Cron.five_fields(f"{schedule.minute} {schedule.hour} * * {days}")


def test_a_schedule_starts_on_its_weekdays_by_its_own_clock() -> None:
    # Winter, one hour before UTC: from Friday to Tuesday.
    assert between(OFFICE, "2026-01-16", "2026-01-21") == ["01-16 07:00", "01-19 07:00", "01-20 07:00"]
    assert between(OFFICE, "2026-07-13", "2026-07-15") == ["07-13 06:00", "07-14 06:00"]


def test_a_start_counts_up_to_its_own_moment_and_not_before() -> None:
    start = at("2026-01-16T07:00")
    assert list(starts(OFFICE, start - timedelta(minutes=1), start)) == [start]
    assert list(starts(OFFICE, start, start + timedelta(hours=1))) == []


def test_a_start_that_daylight_saving_skips_does_not_run() -> None:
    nightly = parsed("nightly,SUN-SAT,2:30,Europe/Berlin,0,5")
    assert between(nightly, "2026-03-28", "2026-03-30T12:00") == ["03-28 01:30", "03-30 00:30"]


def test_a_start_that_daylight_saving_repeats_runs_once_at_the_first() -> None:
    nightly = parsed("nightly,SUN-SAT,2:30,Europe/Berlin,0,5")
    assert between(nightly, "2026-10-24", "2026-10-26T12:00") == [
        "10-24 00:30",
        "10-25 00:30",
        "10-26 01:30",
    ]


@given(schedule=schedules(), moment=MOMENTS)
def test_a_schedule_starts_when_its_cron_expression_is_due(schedule: Schedule, moment: datetime) -> None:
    """The embedded account's cron is another implementation."""
    cron, zone = cron_of(schedule), ZoneInfo(schedule.time_zone)
    due, after = [], moment
    while (after := cron.next_after(after, zone)) <= moment + LONGEST:
        due.append(after)
    assert list(starts(schedule, moment, moment + LONGEST)) == due


@given(schedule=schedules(), moment=MOMENTS)
def test_every_schedule_starts_in_the_time_that_is_searched(schedule: Schedule, moment: datetime) -> None:
    assert next(starts(schedule, moment, moment + LONGEST), None) is not None


@given(one=schedules("one"), other=schedules("other"), moment=MOMENTS)
def test_the_schedule_in_force_started_last_and_lasts_until_the_other_starts(
    one: Schedule, other: Schedule, moment: datetime
) -> None:
    both = (one, other)
    found = in_force(both, moment)
    assert found is not None
    assert found.until is not None
    assert found.since <= moment < found.until
    assert found.since in list(starts(found.schedule, found.since - timedelta(minutes=1), found.since))
    assert {found.schedule, found.next} == set(both)
    # Nothing of another starts in between, and it is still in force just before its end.
    assert not list(starts(found.next, found.since, found.until - timedelta(minutes=1)))
    later = in_force(both, found.until - timedelta(minutes=1))
    assert later is not None
    assert later.schedule == found.schedule
    ended = in_force(both, found.until)
    assert ended is not None
    assert ended.schedule == found.next or ended.since == found.until  # both start at once


@pytest.mark.parametrize(
    ("moment", "name", "until"),
    [
        ("2026-01-16T06:59", "night", "2026-01-16T07:00"),
        ("2026-01-16T07:00", "office-hours", "2026-01-16T17:00"),
        ("2026-01-16T16:59", "office-hours", "2026-01-16T17:00"),
        # Its own start on Saturday does not end it.
        ("2026-01-16T17:00", "night", "2026-01-19T07:00"),
        ("2026-01-17T20:00", "night", "2026-01-19T07:00"),
        # The weekend on which the clocks go forward.
        ("2026-03-29T20:00", "night", "2026-03-30T06:00"),
    ],
)
def test_office_hours_and_night_take_turns(moment: str, name: str, until: str) -> None:
    found = in_force((OFFICE, NIGHT), at(moment))
    assert found is not None
    assert (found.schedule.name, found.until) == (name, at(until))


def test_without_schedules_none_is_in_force_and_a_single_one_never_ends() -> None:
    assert in_force((), at("2026-01-16")) is None
    found = in_force((OFFICE,), at("2026-01-18"))
    assert found is not None
    assert (found.since, found.until, found.next) == (at("2026-01-16T07:00"), None, None)
    assert found.limits("minimum") == "at minimum 3 by schedule office-hours"


def test_of_two_that_start_at_once_the_first_is_in_force() -> None:
    london = parsed("london,MON-FRI,7:00,Europe/London,1,20")
    for both in ((OFFICE, london), (london, OFFICE)):
        found = in_force(both, at("2026-01-16T12:00"))
        assert found is not None
        assert found.schedule == both[0]


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2026-01-16T12:00", "at minimum 3 until 18:00 Europe/Berlin by schedule office-hours"),
        ("2026-01-16T20:00", "at minimum 0 until 2026-01-19 8:00 Europe/Berlin by schedule night"),
        ("2026-01-20T02:00", "at minimum 0 until 8:00 Europe/Berlin by schedule night"),
        # In Berlin it is the next day already.
        ("2026-01-19T23:30", "at minimum 0 until 8:00 Europe/Berlin by schedule night"),
    ],
)
def test_a_limit_says_until_when_it_stands_by_the_clock_of_the_next_schedule(moment: str, said: str) -> None:
    found = in_force((OFFICE, NIGHT), at(moment))
    assert found is not None
    assert found.limits("minimum") == said
    assert found.limits("maximum").startswith("at maximum 20 until ")


def test_the_time_at_which_it_ends_is_that_of_the_clock_that_ends_it() -> None:
    tokyo = parsed("tokyo,SUN-SAT,9:05,Asia/Tokyo,0,5")
    found = in_force((OFFICE, tokyo), at("2026-01-16T20:00"))
    assert found is not None
    assert found.ends() == "until 9:05 Asia/Tokyo by schedule office-hours"


NOON = at("2026-01-16T12:00")
SCHEDULED = workload(max_instances=20, schedules=(OFFICE, NIGHT))


def test_a_schedule_limits_a_fleet_that_has_its_bounds() -> None:
    found = in_force_on(SCHEDULED, Bounds(min=3, max=20), NOON)
    assert found is not None
    assert found.schedule == OFFICE


@pytest.mark.parametrize("fleet", [None, Bounds(min=0, max=20), Bounds(min=5, max=20), Bounds(min=3, max=5)])
def test_a_fleet_with_other_bounds_is_limited_by_something_else(fleet: Bounds | None) -> None:
    """Not yet started, a surge, a change by hand; or no scalable target."""
    assert in_force_on(SCHEDULED, fleet, NOON) is None


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.PAUSED])
def test_schedules_exist_in_mode_active_alone(mode: Mode) -> None:
    served = workload(max_instances=20, schedules=(OFFICE, NIGHT), mode=mode)
    assert in_force_on(served, Bounds(min=3, max=20), NOON) is None


def test_no_schedules_limit_nothing() -> None:
    assert in_force_on(workload(), Bounds(min=0, max=5), NOON) is None


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "Europe", "Europe/", "A//B", "Europe/berlin-"])
def test_a_time_zone_that_this_machine_does_not_know_leaves_the_words_out(zone: str) -> None:
    nowhere = parsed(f"nowhere,SUN-SAT,18:00,{zone},3,20")
    with pytest.raises(ZoneInfoNotFoundError, match=zone):
        in_force((nowhere,), NOON)
    assert in_force_on(workload(max_instances=20, schedules=(nowhere,)), nowhere.bounds, NOON) is None


def test_bounds_that_a_schedule_has_set_are_no_difference_to_report() -> None:
    fleet = capacity(bounds=Bounds(min=3, max=20))
    by = in_force_on(SCHEDULED, fleet.bounds, NOON)
    assert effective_bounds(SCHEDULED, fleet) == (Bounds(min=3, max=20), (Limit.BOUNDS_DIFFER,))
    assert effective_bounds(SCHEDULED, fleet, by) == (Bounds(min=3, max=20), ())
    assert both_bounds(SCHEDULED, fleet) == "document 0..20, fleet 3..20"
    assert both_bounds(SCHEDULED, fleet, by) == (
        "document 0..20, fleet 3..20 until 18:00 Europe/Berlin by schedule office-hours"
    )


def test_a_limit_is_named_if_it_changed_something_and_a_schedule_has_set_it() -> None:
    by = in_force_on(SCHEDULED, Bounds(min=3, max=20), NOON)
    assert by_schedule([Limit.MIN_INSTANCES], by).startswith("at minimum 3 until 18:00 ")
    assert by_schedule([Limit.MAX_INSTANCES], by).startswith("at maximum 20 until 18:00 ")
    assert by_schedule([Limit.GUARD], by) == by_schedule([], by) == ""
    assert by_schedule([Limit.MIN_INSTANCES, Limit.MAX_INSTANCES], None) == ""


def test_two_that_start_at_the_same_minute_of_a_common_day_by_the_same_clock_coincide() -> None:
    same = parsed("same,FRI+SAT,8:00,Europe/Berlin,1,20")
    assert coinciding((OFFICE, NIGHT, same)) == (OFFICE, same)
    for other in (
        "weekend,SAT+SUN,8:00,Europe/Berlin,1,20",
        "later,MON-FRI,8:01,Europe/Berlin,1,20",
        "paris,MON-FRI,8:00,Europe/Paris,1,20",
    ):
        assert coinciding((OFFICE, parsed(other))) is None


def test_two_of_different_clocks_coincide_at_a_start_of_the_next_year() -> None:
    london = parsed("london,MON-FRI,7:00,Europe/London,1,20")
    assert coinciding_start((OFFICE, NIGHT, london), NOON) == (OFFICE, london, at("2026-01-19T07:00"))
    assert coinciding_start((OFFICE, NIGHT), NOON) is None
    # New York's clocks go forward three weeks before those of Berlin.
    york = parsed("york,SUN-SAT,13:00,America/New_York,1,20")
    assert coinciding_start((NIGHT, york), NOON) == (NIGHT, york, at("2026-03-08T17:00"))


@given(one=schedules("one"), other=schedules("other"), moment=MOMENTS)
def test_starts_that_coincide_by_one_clock_are_found_by_date_too(
    one: Schedule, other: Schedule, moment: datetime
) -> None:
    if coinciding((one, other)):
        assert coinciding_start((one, other), moment) is not None


@given(schedule=schedules())
def test_a_schedule_is_read_as_it_is_written(schedule: Schedule) -> None:
    assert parsed(written(schedule)) == schedule


@given(schedule=schedules(), moment=MOMENTS)
def test_starts_are_in_order_and_at_least_half_a_day_apart(schedule: Schedule, moment: datetime) -> None:
    found = list(starts(schedule, moment, moment + 4 * LONGEST))
    assert all(later - earlier > timedelta(hours=12) for earlier, later in pairwise(found))
