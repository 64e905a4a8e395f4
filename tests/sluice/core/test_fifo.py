from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.fifo import (
    EVERY_MINUTES,
    decide_cap,
    is_due,
    may_exceed_groups,
)
from sluice.core.minutes import MINUTE
from sluice.core.model import (
    Bounds,
    Decision,
    GroupMinute,
    Kind,
    Limit,
    Observation,
    Reason,
    Trigger,
    Unknown,
)
from tests.support.builders import (
    MINUTE_NOW,
    capacity,
    minutes_ago,
    observation,
    queue_url,
    schedule_in_force,
    workload,
)

FIFO = workload(queue_url=queue_url("builds.fifo"))
BUSY = observation(visible=9, in_flight=2, desired=4)
UNREAD = Unknown(reason="timed out")


def minute(waiting: float = 9, running: float = 4, groups: float = 2, ago: int = 2) -> GroupMinute:
    return GroupMinute(at=minutes_ago(ago), waiting=waiting, running=running, groups=groups)


def in_a_row(minutes: tuple[GroupMinute, ...], *, newest_ago: int = 2) -> list[GroupMinute]:
    """The minutes, oldest first, one after another."""
    backs = range(newest_ago + len(minutes) - 1, newest_ago - 1, -1)
    return [replace(one, at=minutes_ago(back)) for one, back in zip(minutes, backs, strict=True)]


def decide(*minutes: GroupMinute, observed: Observation = BUSY) -> Decision | None:
    return decide_cap(FIFO, observed, in_a_row(minutes), Trigger.TICK, minute=MINUTE_NOW)


def decide_of(*agos: int) -> Decision | None:
    """Decide by equal minutes, this many before the tick's."""
    known = [minute(ago=ago) for ago in agos]
    return decide_cap(FIFO, BUSY, known, Trigger.TICK, minute=MINUTE_NOW)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        (BUSY, True),
        (observation(visible=9, in_flight=1, desired=2), True),
        (observation(visible=1, desired=4), True),
        (observation(visible=9, fleet=capacity(4, 1)), False),
        (observation(visible=0, in_flight=2, desired=4), False),
        (observation(visible=9, desired=1), False),
        (observation(queue=UNREAD, desired=4), False),
        (observation(visible=9, fleet=UNREAD), False),
    ],
)
def test_message_groups_are_read_only_if_work_waits_and_several_instances_run(
    observed: Observation, expected: bool
) -> None:
    assert may_exceed_groups(FIFO, observed) is expected


def test_a_standard_queue_has_no_groups() -> None:
    assert not may_exceed_groups(workload(), BUSY)


def test_three_minutes_of_more_instances_than_groups_ask_for_as_many_as_groups() -> None:
    decision = decide(minute(), minute(), minute())
    assert decision == Decision(
        workload=FIFO.name,
        kind=Kind.CAP,
        trigger=Trigger.TICK,
        reason=Reason.BEYOND_MESSAGE_GROUPS,
        observation=BUSY,
        desired=2,
        detail="at most 2 in flight for the 3 min until 11:59 while messages waited",
    )


def test_two_instances_over_one_group_ask_for_one() -> None:
    one_group = minute(running=2, groups=1)
    decision = decide(
        one_group, one_group, one_group, observed=observation(visible=9, in_flight=1, desired=2)
    )
    assert decision is not None
    assert (decision.desired, decision.reason) == (1, Reason.BEYOND_MESSAGE_GROUPS)


def test_the_busiest_of_the_three_minutes_counts() -> None:
    decision = decide(minute(groups=1), minute(groups=3), minute(groups=1))
    assert decision is not None
    assert decision.desired == 3


def test_only_the_newest_three_minutes_count() -> None:
    assert decide(minute(groups=4), minute(), minute(), minute()) is not None


@pytest.mark.parametrize(
    "minutes",
    [
        (),
        (minute(), minute()),
        (minute(), minute(waiting=0), minute()),
        (minute(), minute(running=2), minute()),
        (minute(), minute(), minute(groups=4)),
        (minute(groups=0), minute(groups=0), minute(groups=0)),
    ],
    ids=["none", "two", "no work waited", "fewer ran", "as many groups", "nobody receives"],
)
def test_nothing_is_logged_if_it_is_not_certain(minutes: tuple[GroupMinute, ...]) -> None:
    assert decide(*minutes) is None


@pytest.mark.parametrize("agos", [(3, 2, 1), (4, 3, 2), (6, 5, 4), (2, 3, 4), (9, 8, 4, 3, 2)])
def test_three_consecutive_minutes_are_enough_even_as_late_as_aws_may_be(agos: tuple[int, ...]) -> None:
    assert decide_of(*agos) is not None


@pytest.mark.parametrize(
    "agos",
    [(10, 6, 1), (5, 4, 2), (4, 2, 1), (8, 6, 5, 4, 1), (7, 6, 5), (10, 9, 8), (2, 1, 0), (1, 0, -1)],
    ids=[
        "10, 6 and 1 ago",
        "a gap after the second",
        "a gap after the first",
        "three in a row that are not the newest",
        "newer ones had to be there",
        "long ago",
        "the tick's own minute is not over",
        "a minute to come",
    ],
)
def test_minutes_that_are_apart_or_old_give_no_cap(agos: tuple[int, ...]) -> None:
    assert decide_of(*agos) is None


NAMES = [f"w{number:03}" for number in range(200)]


def due(name: str) -> list[int]:
    """The minutes, of twenty, in which a workload is checked."""
    named = replace(FIFO, name=name)
    return [back for back in range(20) if is_due(named, minutes_ago(back))]


@pytest.mark.parametrize("name", NAMES[:20])
def test_a_workload_is_checked_every_five_minutes(name: str) -> None:
    due_minutes = due(name)
    assert due_minutes == [due_minutes[0] + EVERY_MINUTES * round_ for round_ in range(4)]


def test_a_workloads_minute_is_the_same_in_every_process() -> None:
    assert [due(name)[0] for name in ("builds", "transcription", "queue-proc")] == [2, 4, 0]


def test_the_workloads_are_spread_evenly_over_five_minutes() -> None:
    due_minutes = [due(name)[0] for name in NAMES]
    fifth = len(NAMES) / EVERY_MINUTES
    assert all(
        0.5 * fifth < due_minutes.count(minute_of_five) < 1.5 * fifth
        for minute_of_five in range(EVERY_MINUTES)
    )


def test_the_seconds_of_a_time_do_not_affect_the_workloads_minute() -> None:
    for name in NAMES[:10]:
        named = replace(FIFO, name=name)
        assert is_due(named, MINUTE_NOW) == is_due(named, MINUTE_NOW + MINUTE - timedelta(seconds=1))


def test_no_cap_is_logged_for_a_fleet_that_already_scales_in_to_its_groups() -> None:
    assert decide(minute(), minute(), minute(), observed=observation(visible=9, fleet=capacity(2, 4))) is None


def test_no_cap_is_logged_for_a_fleet_that_is_unknown_or_has_no_common_bounds() -> None:
    apart = capacity(8, bounds=Bounds(min=6, max=9))
    assert decide(minute(), minute(), minute(), observed=observation(visible=9, fleet=UNREAD)) is None
    assert decide(minute(), minute(), minute(), observed=observation(visible=9, fleet=apart)) is None


def test_bounds_that_a_schedule_has_set_are_no_difference_to_log() -> None:
    by = schedule_in_force(minimum=1, maximum=5)
    scheduled = replace(FIFO, bounds=Bounds(min=0, max=9), schedules=(by.schedule, by.next))
    busy = observation(visible=9, in_flight=2, fleet=capacity(4, bounds=by.schedule.bounds))
    three = in_a_row((minute(), minute(), minute()))
    for served, limits in ((scheduled, ()), (replace(scheduled, schedules=()), (Limit.BOUNDS_DIFFER,))):
        decision = decide_cap(served, busy, three, Trigger.TICK, minute=MINUTE_NOW)
        assert decision is not None
        assert (decision.desired, decision.limits) == (2, limits)


def test_the_cap_stays_within_the_bounds() -> None:
    limited = replace(FIFO, bounds=Bounds(min=3, max=5))
    observed = observation(visible=9, fleet=capacity(4, bounds=limited.bounds))
    decision = decide_cap(limited, observed, in_a_row((minute(),) * 3), Trigger.TICK, minute=MINUTE_NOW)
    assert decision is not None
    assert (decision.desired, decision.limits) == (3, (Limit.MIN_INSTANCES,))


MINUTES = st.lists(
    st.builds(minute, st.integers(0, 3), st.integers(0, 5), st.integers(0, 5)), min_size=0, max_size=6
)


@given(MINUTES, st.integers(0, 6))
def test_a_cap_is_below_desired_and_below_what_ran_in_each_of_the_last_minutes(
    minutes: list[GroupMinute], desired: int
) -> None:
    decision = decide(*minutes, observed=observation(visible=9, desired=desired))
    if decision is not None:
        assert decision.desired is not None
        assert 1 <= decision.desired < desired
        assert all(decision.desired < one.running for one in minutes[-3:])
