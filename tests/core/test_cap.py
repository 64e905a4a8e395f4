from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.cap import decide_cap, may_exceed_groups
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
from tests.builders import capacity, observation, queue_url, workload

FIFO = workload(queue_url=queue_url("builds.fifo"))
BUSY = observation(visible=9, in_flight=2, desired=4)
LOST = Unknown(why="timed out")


def minute(waiting: float = 9, running: float = 4, groups: float = 2) -> GroupMinute:
    return GroupMinute(waiting=waiting, running=running, groups=groups)


def decide(*minutes: GroupMinute, saw: Observation = BUSY) -> Decision | None:
    return decide_cap(FIFO, saw, minutes, Trigger.TICK)


@pytest.mark.parametrize(
    ("saw", "asks"),
    [
        (BUSY, True),
        (observation(visible=0, in_flight=2, desired=4), False),
        (observation(visible=9, desired=1), False),
        (observation(queue=LOST, desired=4), False),
        (observation(visible=9, fleet=LOST), False),
    ],
)
def test_the_groups_are_asked_for_only_where_work_waits_though_several_run(
    saw: Observation, asks: bool
) -> None:
    assert may_exceed_groups(FIFO, saw) is asks


def test_a_standard_queue_has_no_groups() -> None:
    assert not may_exceed_groups(workload(), BUSY)


def test_three_minutes_of_more_instances_than_groups_ask_for_as_many_as_groups() -> None:
    decision = decide(minute(), minute(), minute())
    assert decision == Decision(
        workload=FIFO.name,
        kind=Kind.CAP,
        trigger=Trigger.TICK,
        reason=Reason.BEYOND_MESSAGE_GROUPS,
        saw=BUSY,
        desired=2,
        detail="at most 2 in flight for 3 min while messages waited",
    )


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
def test_nothing_is_said_where_that_is_not_certain(minutes: tuple[GroupMinute, ...]) -> None:
    assert decide(*minutes) is None


def test_nothing_is_said_of_a_fleet_that_is_on_its_way_down_to_the_groups() -> None:
    assert decide(minute(), minute(), minute(), saw=observation(visible=9, fleet=capacity(2, 4))) is None


def test_nothing_is_said_of_a_fleet_that_cannot_be_read_or_has_no_common_bounds() -> None:
    apart = capacity(8, bounds=Bounds(min=6, max=9))
    assert decide(minute(), minute(), minute(), saw=observation(visible=9, fleet=LOST)) is None
    assert decide(minute(), minute(), minute(), saw=observation(visible=9, fleet=apart)) is None


def test_the_cap_stays_within_the_bounds() -> None:
    kept = replace(FIFO, bounds=Bounds(min=3, max=5))
    saw = observation(visible=9, fleet=capacity(4, bounds=kept.bounds))
    decision = decide_cap(kept, saw, [minute()] * 3, Trigger.TICK)
    assert decision is not None
    assert (decision.desired, decision.limits) == (3, (Limit.MIN_INSTANCES,))


MINUTES = st.lists(
    st.builds(minute, st.integers(0, 3), st.integers(0, 5), st.integers(0, 5)), min_size=0, max_size=6
)


@given(MINUTES, st.integers(0, 6))
def test_a_cap_is_below_desired_and_below_what_ran_in_each_of_the_last_minutes(
    minutes: list[GroupMinute], desired: int
) -> None:
    decision = decide(*minutes, saw=observation(visible=9, desired=desired))
    if decision is not None:
        assert decision.desired is not None
        assert 1 <= decision.desired < desired
        assert all(decision.desired < one.running for one in minutes[-3:])
