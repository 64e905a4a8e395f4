from collections import deque
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.deadline.arrivals import (
    INTERVALS_PER_BOOT,
    MAX_COHORTS,
    OVERDUE_MEMORY_S,
    RATE_WINDOW_S,
    arrivals_since,
    rate_before_per_s,
    rate_per_s,
    recent_arrivals,
    still_waiting,
)
from sluice.core.deadline.state import Arrivals
from tests.support.builders import backlog, engine_state

TICK_S = 10.0


def arrivals(until_s: float, messages: float, elapsed_s: float = TICK_S) -> Arrivals:
    return Arrivals(until_s=until_s, elapsed_s=elapsed_s, messages=messages)


def messages_of(cohorts: Sequence[Arrivals]) -> float:
    return sum(one.messages for one in cohorts)


TICKS = st.lists(
    st.tuples(
        st.floats(min_value=0.1, max_value=120),
        st.floats(min_value=0, max_value=1e5),
        st.integers(min_value=0, max_value=200_000),
    ),
    min_size=1,
    max_size=40,
)


# --- how many arrived -------------------------------------------------------------------------------------


def test_arrivals_are_the_growth_of_the_backlog_and_the_messages_finished_meanwhile() -> None:
    before = engine_state(0, visible=10, in_flight=4)
    found, deficit = arrivals_since(before, 10, backlog(visible=15, in_flight=6), 5)
    # 7 more messages, and (4 + 6) / 2 in flight for 10 s of 5 s each
    assert (found, deficit) == (arrivals(10, 17), 0)


def test_a_negative_estimate_is_no_arrival_and_corrects_the_next_one() -> None:
    before = engine_state(0, visible=50)
    none, deficit = arrivals_since(before, 10, backlog(visible=20), 5)
    assert (none.messages, deficit) == (0, -30)
    later = engine_state(10, visible=20, deficit=deficit)
    assert arrivals_since(later, 20, backlog(visible=45), 5) == (arrivals(20, 0), -5)
    assert arrivals_since(later, 20, backlog(visible=60), 5) == (arrivals(20, 10), 0)


@given(TICKS, st.floats(min_value=0.1, max_value=1000))
def test_all_estimates_add_up_to_the_growth_and_the_messages_finished(
    ticks: list[tuple[float, float, int]], processing_s: float
) -> None:
    """Nothing is lost or counted twice, whatever the readings are: the deficit carries what is negative."""
    now_s, deficit, found, finished = 0.0, 0.0, 0.0, 0.0
    last = backlog()
    for elapsed_s, in_flight, visible in ticks:
        current = backlog(visible=visible, in_flight=int(in_flight))
        state = engine_state(now_s, deficit=deficit, visible=last.visible, in_flight=last.in_flight)
        finished += (last.in_flight + current.in_flight) / 2 * elapsed_s / processing_s
        now_s += elapsed_s
        newest, deficit = arrivals_since(state, now_s, current, processing_s)
        assert newest.messages >= 0 >= deficit
        found, last = found + newest.messages, current
    assert found + deficit == pytest.approx(last.total + finished, rel=1e-6, abs=1e-3)


# --- which of them wait -----------------------------------------------------------------------------------


@given(TICKS, st.floats(min_value=1, max_value=3600))
def test_the_waiting_cohorts_hold_exactly_the_waiting_messages_one_after_another(
    ticks: list[tuple[float, float, int]], promise_s: float
) -> None:
    now_s, cohorts = 0.0, ()
    for elapsed_s, arrived, waiting in ticks:
        now_s += elapsed_s
        cohorts = still_waiting(cohorts, arrivals(now_s, arrived, elapsed_s), waiting, promise_s)
        assert messages_of(cohorts) == pytest.approx(waiting, rel=1e-9, abs=1e-6)
        assert all(one.messages >= 0 for one in cohorts)
        assert all(older.until_s == pytest.approx(newer.since_s) for older, newer in pairwise(cohorts))
        if cohorts:
            assert cohorts[-1].until_s == pytest.approx(now_s)


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=150),
    st.integers(0, 40),
    st.integers(0, 400),
    st.sampled_from([5.0, 30.0, 300.0, 3600.0]),
)
def test_every_message_waits_in_the_cohort_of_the_interval_in_which_it_arrived(
    arriving: list[int], slots: int, first: int, promise_s: float
) -> None:
    """Compared with a queue that remembers each message; its busy slots finish one message a tick."""
    queue = deque([0.0] * (first + slots))
    state = engine_state(0, visible=first, in_flight=slots)
    cohorts: tuple[Arrivals, ...] = (arrivals(0, first, elapsed_s=0),) if first else ()
    for tick, count in enumerate(arriving, start=1):
        now_s = tick * TICK_S
        queue.extend(now_s - TICK_S * (one + 0.5) / count for one in reversed(range(count)))
        if len(queue) < 2 * slots:
            return  # slots would be idle
        for _ in range(slots):
            queue.popleft()
        visible = len(queue) - slots
        newest, deficit = arrivals_since(state, now_s, backlog(visible, slots), TICK_S)
        assert (newest.messages, deficit) == (count, 0)
        cohorts = still_waiting(cohorts, newest, visible, promise_s)
        state = engine_state(now_s, visible=visible, in_flight=slots)
        waiting = list(queue)[slots:]
        for one in cohorts:
            members, waiting = waiting[: int(one.messages)], waiting[int(one.messages) :]
            assert all(one.since_s <= moment_s <= one.until_s for moment_s in members)
        assert not waiting


def test_the_newest_arrivals_wait_and_the_oldest_have_started() -> None:
    intervals = [arrivals(10, 100), arrivals(20, 50)]
    assert still_waiting(intervals, arrivals(30, 20), 60, 300) == (arrivals(20, 40), arrivals(30, 20))


def test_waiting_messages_that_no_arrivals_explain_belong_to_the_oldest_cohort() -> None:
    assert still_waiting([arrivals(10, 5)], arrivals(20, 5), 25, 300) == (arrivals(10, 20), arrivals(20, 5))
    assert still_waiting((), arrivals(20, 0), 25, 300) == (arrivals(20, 25),)


def test_an_empty_queue_forgets_every_cohort() -> None:
    assert still_waiting([arrivals(10, 5)], arrivals(20, 5), 0, 300) == ()


# --- how much is remembered -------------------------------------------------------------------------------


@pytest.mark.parametrize("tick_s", [5.0, 10.0, 20.0, 30.0, 60.0])
@pytest.mark.parametrize("promise_s", [5.0, 60.0, 300.0, 900.0, 3600.0, 40_000.0])
def test_a_lasting_overload_is_remembered_in_a_bounded_number_of_cohorts(
    promise_s: float, tick_s: float
) -> None:
    cohorts: tuple[Arrivals, ...] = ()
    most = 0
    horizon_s = promise_s + OVERDUE_MEMORY_S
    for tick in range(1, int(2 * horizon_s / tick_s) + 50):
        newest = arrivals(tick * tick_s, 1000, tick_s)
        cohorts = still_waiting(cohorts, newest, 1000 * tick, promise_s)
        most = max(most, len(cohorts))
        assert cohorts[0].since_s == pytest.approx(0)
    assert most <= horizon_s / tick_s + 2
    # Two neighbours are together longer than a hundredth of the promise.
    assert most <= 2 * MAX_COHORTS * horizon_s / promise_s + 3


def test_arrivals_close_together_form_one_cohort_that_begins_with_the_older() -> None:
    intervals = still_waiting([arrivals(10, 5)], arrivals(20, 7), 12, 3600)
    assert intervals == (arrivals(20, 12, elapsed_s=20),)
    assert intervals[0].since_s == 0


def test_all_that_is_overdue_for_long_forms_one_cohort_that_begins_with_the_oldest() -> None:
    intervals = [arrivals(10.0 * tick, 1) for tick in range(1, 101)]
    found = still_waiting(intervals, arrivals(1010, 1), 101, 300)
    assert found[0] == arrivals(110, 11, elapsed_s=110)


def test_late_messages_form_cohorts_of_a_minute_and_those_in_time_one_a_reading() -> None:
    intervals = [arrivals(10.0 * tick, 1) for tick in range(1, 50)]
    found = still_waiting(intervals, arrivals(500, 1), 50, 300)
    minutes = [arrivals(60.0 * minute, 6, elapsed_s=60) for minute in (1, 2, 3)]
    assert found[:4] == (*minutes, arrivals(200, 2, elapsed_s=20))
    assert found[4:] == (*intervals[20:], arrivals(500, 1))


# --- the rate of arrivals ---------------------------------------------------------------------------------


def test_the_rate_is_an_average_over_its_window() -> None:
    recent: tuple[Arrivals, ...] = ()
    for tick in range(1, 101):
        recent = recent_arrivals(recent, arrivals(10.0 * tick, tick), 0)
    assert len(recent) == RATE_WINDOW_S / 10
    assert rate_per_s(recent) == pytest.approx(sum(range(86, 101)) / RATE_WINDOW_S)
    assert rate_per_s(()) == 0
    assert rate_per_s([arrivals(10, 5, elapsed_s=0)]) == 0


def test_the_rate_before_a_moment_is_an_average_over_its_window() -> None:
    recent = tuple(arrivals(10.0 * tick, tick) for tick in range(1, 101))
    assert rate_before_per_s(recent, 500) == pytest.approx(sum(range(36, 51)) / RATE_WINDOW_S)
    assert rate_before_per_s(recent, 0) == 0


@pytest.mark.parametrize("before_s", [190.0, 3600.0])
def test_arrivals_of_a_boot_before_are_kept_in_few_intervals(before_s: float) -> None:
    recent: tuple[Arrivals, ...] = ()
    for tick in range(1, 1001):
        recent = recent_arrivals(recent, arrivals(10.0 * tick, tick), before_s)
    assert len(recent) <= 2 * INTERVALS_PER_BOOT * (1 + RATE_WINDOW_S / before_s)
    assert recent[0].since_s <= 10_000 - before_s - RATE_WINDOW_S + before_s / INTERVALS_PER_BOOT
    first = 1001 - (10_000 - recent[0].since_s) / 10
    assert sum(one.messages for one in recent) == sum(range(int(first), 1001))
