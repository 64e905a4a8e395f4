from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.deadline.encoding import decoded, encoded
from sluice.core.deadline.memory import Tick, booting_instances, next_state
from sluice.core.deadline.plan import Processing
from sluice.core.deadline.state import Arrivals, BootSamples, EngineState, Groups, Launch, Safety
from sluice.core.model import Backlog, Capacity, Workload
from tests.support.builders import (
    backlog,
    capacity,
    deadline,
    deadline_workload,
    engine_state,
    queue_url,
)

WORKLOAD = deadline_workload()


def remember(
    queue: Backlog,
    fleet: Capacity,
    before: EngineState | None = None,
    now_s: float = 100,
    workload: Workload = WORKLOAD,
) -> EngineState:
    tick = Tick(scheduled_s=now_s - 1, now_s=now_s, processing=Processing(mean_s=5))
    return next_state(workload, deadline(), queue, fleet, before, tick)


def booted(state: EngineState) -> float:
    """Boot times that a reading has taught, those that do not count yet too."""
    return sum(one.weight for one in (*state.ready, *state.boots))


@pytest.mark.parametrize(
    ("fleet", "booting"),
    [
        (capacity(5, 3, booting=1), 1),
        (capacity(5, 3, booting=0), 0),
        (capacity(5, 3), 2),
        (capacity(3, 5), 0),
    ],
)
def test_instances_boot_that_aws_says_boot_or_that_are_asked_for_and_do_not_run(
    fleet: Capacity, booting: int
) -> None:
    assert booting_instances(fleet) == booting


def test_without_a_memory_messages_have_arrived_and_instances_were_launched_just_now() -> None:
    state = remember(backlog(visible=40, in_flight=2, delayed=5), capacity(6, 2, booting=4))
    assert state.waiting == (Arrivals(until_s=100, elapsed_s=0, messages=45),)
    assert state.launches == (Launch(at_s=100, instances=4),)
    assert (state.tick_s, state.read_s, state.desired) == (99, 100, 6)
    assert (state.recent, state.deficit, state.safety) == ((), 0, Safety())


def test_a_reading_adds_what_arrived_since_the_last_one() -> None:
    first = remember(backlog(visible=10), capacity(2))
    second = remember(backlog(visible=24, in_flight=2), capacity(2), first, now_s=110)
    # 16 more, and one in flight on average for 10 s of 5 s each
    assert second.recent == (Arrivals(until_s=110, elapsed_s=10, messages=18),)
    assert [one.messages for one in second.waiting] == [6, 18]


def test_a_size_that_aws_never_took_teaches_no_boot_time() -> None:
    """The call to AWS failed: the fleet's desired count is what it was."""
    before = engine_state(90, desired=15, launches=(Launch(at_s=90, instances=5),))
    state = remember(backlog(visible=9), capacity(10, 10, booting=0), before)
    assert (booted(state), state.launches) == (0, ())


def test_instances_that_aws_has_not_launched_yet_teach_no_boot_time() -> None:
    before = engine_state(90, desired=15, launches=(Launch(at_s=90, instances=5),))
    refused = remember(backlog(visible=9), capacity(15, 10, booting=0), before)
    assert (booted(refused), refused.launches) == (0, ())
    later = remember(backlog(visible=9), capacity(15, 10, booting=5), refused, now_s=110)
    assert later.launches == (Launch(at_s=110, instances=5),)


def test_spot_interruptions_teach_no_boot_time_and_their_replacements_boot_from_when_they_are_seen() -> None:
    before = engine_state(90, desired=14, launches=(Launch(at_s=50, instances=4),))
    interrupted = remember(backlog(visible=9), capacity(14, 7, booting=4), before)
    assert (booted(interrupted), interrupted.launches) == (0, (Launch(at_s=50, instances=4),))
    replaced = remember(backlog(visible=9), capacity(14, 7, booting=7), interrupted, now_s=110)
    assert booted(replaced) == 0
    assert replaced.launches == (Launch(at_s=50, instances=4), Launch(at_s=110, instances=3))


def test_instances_that_become_ready_teach_their_boot_time() -> None:
    before = engine_state(90, desired=14, launches=(Launch(at_s=0, instances=4),))
    state = remember(backlog(visible=9), capacity(14, 14, booting=0), before)
    assert state.boots == (BootSamples(boot_s=100, weight=4),)


@pytest.mark.parametrize(
    "fleet",
    [capacity(14, 10, booting=0), capacity(10, 10, booting=0), capacity(10, 10)],
    ids=["they failed", "they were cancelled", "they were cancelled, by desired and running alone"],
)
def test_instances_that_end_before_they_run_teach_no_boot_time(fleet: Capacity) -> None:
    before = engine_state(90, desired=14, running=10, launches=(Launch(at_s=70, instances=4),))
    state = remember(backlog(visible=9), fleet, before)
    assert (booted(state), state.launches) == (0, ())


def test_instances_that_ran_before_teach_no_boot_time() -> None:
    first = remember(backlog(visible=9), capacity(14, 10, booting=4))
    assert first.running == 10
    failed = remember(backlog(visible=9), capacity(14, 10, booting=0), first, now_s=150)
    assert booted(failed) == 0


def test_of_instances_that_boot_no_more_as_many_are_ready_as_more_instances_run() -> None:
    before = engine_state(90, desired=14, running=10, launches=(Launch(at_s=70, instances=4),))
    state = remember(backlog(visible=9), capacity(14, 12, booting=1), before)
    assert (booted(state), state.launches) == (2, (Launch(at_s=70, instances=1),))


def test_message_groups_are_remembered_for_a_fifo_queue_alone() -> None:
    fifo = deadline_workload(queue_url=queue_url("builds.fifo"))
    assert remember(backlog(visible=9, in_flight=2), capacity(2)).groups is None
    state = remember(backlog(visible=9, in_flight=2), capacity(2), workload=fifo)
    assert state.groups == Groups(in_flight=2)


def test_a_reading_by_a_clock_that_is_behind_leaves_a_state_that_can_be_stored() -> None:
    """Two ticks may be served at once by functions whose clocks differ a little."""
    before = remember(backlog(visible=10), capacity(2), now_s=100.5)
    before = replace(before, launches=(Launch(at_s=100.5, instances=2),), desired=4)
    state = remember(backlog(visible=12), capacity(4, 2, booting=2), before, now_s=100.1)
    assert decoded(encoded(state)).read_s == 100.5
    assert sum(one.messages for one in state.waiting) == 12


@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 100),
            st.integers(0, 500),
            st.integers(0, 50),
            st.integers(0, 50),
            st.integers(0, 50),
        ),
        min_size=1,
        max_size=25,
    )
)
def test_whatever_is_read_the_memory_holds_the_waiting_messages_and_the_booting_instances(
    readings: list[tuple[float, int, int, int, int]],
) -> None:
    state, now_s = None, 0.0
    for elapsed_s, visible, in_flight, running, booting in readings:
        now_s += elapsed_s
        fleet = capacity(running + booting, running, booting=booting)
        state = remember(backlog(visible, in_flight), fleet, state, now_s)
        assert sum(one.messages for one in state.waiting) == pytest.approx(visible, abs=1e-6)
        assert sum(one.instances for one in state.launches) == booting
        assert state.deficit <= 0
