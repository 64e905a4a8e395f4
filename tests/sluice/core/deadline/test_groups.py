import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.deadline.groups import BUSY_FADES_S, RETRY_S, max_instances, next_groups
from sluice.core.deadline.state import Groups
from sluice.core.model import BusyInstances, StaticTarget
from tests.support.builders import backlog, capacity, deadline, deadline_workload, engine_state, queue_url

FIFO = deadline_workload(queue_url=queue_url("builds.fifo"))
NOW_S = 1000.0


def after(
    known: Groups | None,
    *,
    visible: int = 50,
    in_flight: int = 2,
    running: int = 2,
    elapsed_s: float = 10,
    concurrency: float = 1,
    protected: int | None = None,
    busy: BusyInstances = BusyInstances.PROTECTED,
    ran_before: int | None = None,
) -> Groups:
    target = StaticTarget(messages_per_instance=8, concurrency_per_instance=concurrency)
    served = deadline_workload(
        queue_url=queue_url("builds.fifo"), target=target, settings=deadline(busy_instances=busy)
    )
    before = engine_state(
        NOW_S - elapsed_s, groups=known, running=running if ran_before is None else ran_before
    )
    fleet = capacity(running, protected=protected)
    return next_groups(served, backlog(visible, in_flight), fleet, before, NOW_S)


@pytest.mark.parametrize(("in_flight", "most"), [(0, 2), (1, 2), (2, 4), (7, 14)])
def test_a_fleet_may_grow_to_twice_the_instances_that_were_busy(in_flight: int, most: int) -> None:
    assert max_instances(Groups(in_flight=in_flight), 1, NOW_S) == most


def test_busy_instances_are_messages_in_flight_by_how_many_one_works_on() -> None:
    assert max_instances(Groups(in_flight=9), 4, NOW_S) == 2 * math.ceil(9 / 4)


def test_an_instance_idle_at_two_readings_while_messages_wait_shows_that_groups_are_used_up() -> None:
    once = after(Groups(in_flight=2), running=4)
    assert once.was_idle
    assert max_instances(once, 1, NOW_S) == 4
    twice = after(once, running=4)
    assert twice.limited_until_s == NOW_S + RETRY_S
    assert max_instances(twice, 1, NOW_S) == 2


@pytest.mark.parametrize(
    "changes",
    [{"visible": 0}, {"in_flight": 4}, {"running": 1, "in_flight": 0}],
    ids=["none waiting", "all are busy", "one instance"],
)
def test_otherwise_the_groups_are_not_taken_to_be_used_up(changes: dict[str, int]) -> None:
    known = after(Groups(in_flight=2, was_idle=True), **({"running": 4} | changes))
    assert known.limited_until_s == 0


def test_instances_that_have_just_become_ready_are_not_taken_for_idle() -> None:
    found = after(Groups(in_flight=1, was_idle=True), in_flight=1, running=2, ran_before=1)
    assert not found.was_idle
    assert found.limited_until_s == 0


def test_a_limit_ends_if_instances_that_were_taken_for_idle_work_after_all() -> None:
    limited = after(Groups(in_flight=4, was_idle=True), in_flight=4, running=8)
    assert max_instances(limited, 1, NOW_S) == 4
    limited = after(limited, in_flight=7, running=8)
    assert max_instances(limited, 1, NOW_S) == 7
    assert max_instances(after(limited, in_flight=8, running=8), 1, NOW_S) == 16


def test_a_limit_stays_while_no_more_instances_work_than_it_was_found_with() -> None:
    limited = Groups(in_flight=4, limited_until_s=NOW_S + RETRY_S)
    fewer = after(limited, in_flight=3, running=4, elapsed_s=60)
    assert max_instances(after(fewer, in_flight=4, running=4), 1, NOW_S) == 4
    prefetched = after(limited, in_flight=9, running=4)
    assert max_instances(prefetched, 1, NOW_S) <= 9


def test_an_instance_with_a_free_slot_is_not_idle() -> None:
    assert not after(None, running=2, in_flight=9, concurrency=8).was_idle
    assert after(None, running=2, in_flight=8, concurrency=8).was_idle


def test_messages_that_a_protected_instance_holds_and_does_not_work_on_keep_no_other_busy() -> None:
    found = after(None, running=4, in_flight=20, protected=2)
    assert found.in_flight == 2
    assert found.was_idle


def test_without_protection_by_the_workers_the_messages_in_flight_tell_how_many_are_busy() -> None:
    """AWS then says of each instance that it is not protected, whether it works or not."""
    found = after(None, running=4, in_flight=4, protected=0, busy=BusyInstances.UNPROTECTED)
    assert max_instances(found, 1, NOW_S) == 8
    assert not found.was_idle


def test_the_fleet_may_double_again_when_the_limit_is_old() -> None:
    limited = Groups(in_flight=2, limited_until_s=NOW_S)
    assert max_instances(limited, 1, NOW_S - 1) == 2
    assert max_instances(limited, 1, NOW_S) == 4


def test_the_most_in_flight_fades_by_a_factor_of_e_in_an_hour() -> None:
    found = after(Groups(in_flight=100), in_flight=0, elapsed_s=BUSY_FADES_S)
    assert found.in_flight == pytest.approx(100 / math.e)


@given(st.floats(0, 1e5), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), st.booleans())
def test_the_groups_can_always_use_one_instance_and_all_that_are_busy(
    known: float, visible: int, in_flight: int, running: int, was_idle: bool
) -> None:
    found = after(
        Groups(in_flight=known, was_idle=was_idle), visible=visible, in_flight=in_flight, running=running
    )
    assert max_instances(found, 1, NOW_S) >= max(1, in_flight)
