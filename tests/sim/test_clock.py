import math
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_sim.clock import ClockError, VirtualClock


def test_actions_run_in_order_of_time_then_priority_then_scheduling() -> None:
    clock = VirtualClock()
    ran: list[str] = []
    clock.at(20, lambda: ran.append("late"))
    clock.at(10, lambda: ran.append("first scheduled"))
    clock.at(10, lambda: ran.append("urgent"), priority=-1)
    clock.at(10, lambda: ran.append("second scheduled"))
    clock.run_until(20)
    assert ran == ["urgent", "first scheduled", "second scheduled", "late"]


def test_an_action_sees_its_own_instant_and_the_clock_ends_where_it_was_sent() -> None:
    clock = VirtualClock(100)
    times: list[float] = []
    clock.at(130.5, lambda: times.append(clock.now))
    clock.run_until(200)
    assert times == [130.5]
    assert clock.now == 200


def test_other_clocks_are_advanced_once_per_new_time_and_before_its_actions() -> None:
    events: list[object] = []
    clock = VirtualClock(100, on_advance=events.append)
    clock.at(100, lambda: events.append("now"))
    clock.at(160, lambda: events.append("first"))
    clock.at(160, lambda: events.append("second"))
    clock.run_until(160)
    clock.run_until(200)
    assert events == ["now", 160, "first", "second", 200]


def test_an_action_due_exactly_at_the_end_runs_and_a_later_one_waits() -> None:
    clock = VirtualClock()
    ran: list[float] = []
    clock.at(60, lambda: ran.append(clock.now))
    clock.at(61, lambda: ran.append(clock.now))
    clock.run_until(60)
    assert ran == [60]
    clock.run_until(61)
    assert ran == [60, 61]


def test_a_series_starts_at_its_first_time_and_repeats_every_period() -> None:
    clock = VirtualClock(30)
    ran: list[float] = []
    clock.every(60, lambda: ran.append(clock.now), first=60)
    clock.run_until(240)
    assert ran == [60, 120, 180, 240]


def test_a_series_without_a_first_time_starts_one_period_from_now() -> None:
    clock = VirtualClock(30)
    ran: list[float] = []
    clock.every(60, lambda: ran.append(clock.now))
    clock.run_until(150)
    assert ran == [90, 150]


def test_a_fractional_period_does_not_drift() -> None:
    clock = VirtualClock()
    ran: list[float] = []
    clock.every(0.1, lambda: ran.append(clock.now), first=0)
    clock.run_until(1000)
    assert len(ran) == 10_001
    assert ran[-1] == 1000


def test_series_keep_their_order_among_each_other_at_every_instant() -> None:
    clock = VirtualClock()
    ran: list[str] = []
    clock.every(120, lambda: ran.append("slow"), first=0)
    clock.every(60, lambda: ran.append("fast"), first=0)
    clock.run_until(120)
    assert ran == ["slow", "fast", "fast", "slow", "fast"]


def test_an_action_may_schedule_for_its_own_instant() -> None:
    clock = VirtualClock()
    ran: list[str] = []

    def follow_up() -> None:
        ran.append("a")
        clock.at(5, lambda: ran.append("b"))

    clock.at(5, follow_up)
    clock.run_until(5)
    assert ran == ["a", "b"]


def test_a_cancelled_action_does_not_run_and_cancelling_twice_says_so() -> None:
    clock = VirtualClock()
    ran: list[float] = []
    event = clock.at(5, lambda: ran.append(clock.now))
    assert clock.cancel(event) is True
    assert clock.cancel(event) is False
    clock.run_until(10)
    assert ran == []


def test_a_series_of_events_can_end_itself() -> None:
    clock = VirtualClock()
    ran: list[float] = []

    def twice() -> None:
        ran.append(clock.now)
        if len(ran) == 2:
            clock.cancel(series)

    series = clock.every(10, twice)
    clock.run_until(100)
    assert ran == [10, 20]


def test_an_error_leaves_the_clock_at_its_instant_and_the_series_alive() -> None:
    clock = VirtualClock()
    ran: list[float] = []

    def fail_once() -> None:
        ran.append(clock.now)
        if len(ran) == 1:
            raise RuntimeError("worker lost")

    clock.every(10, fail_once)
    with pytest.raises(RuntimeError, match="worker lost"):
        clock.run_until(30)
    assert clock.now == 10
    clock.run_until(30)
    assert ran == [10, 20, 30]


def test_an_action_in_the_past_is_refused_with_both_times() -> None:
    clock = VirtualClock(100)
    with pytest.raises(ClockError, match=r"99.*100"):
        clock.at(99, lambda: None)
    with pytest.raises(ClockError, match=r"99.*100"):
        clock.every(60, lambda: None, first=99)
    with pytest.raises(ClockError, match=r"99.*100"):
        clock.run_until(99)


@pytest.mark.parametrize("period_s", [0, -1, math.nan, math.inf])
def test_a_period_that_never_advances_is_refused(period_s: float) -> None:
    with pytest.raises(ClockError, match="period"):
        VirtualClock().every(period_s, lambda: None)


@pytest.mark.parametrize("time", [math.nan, math.inf])
def test_an_infinite_time_is_refused(time: float) -> None:
    with pytest.raises(ClockError, match="finite"):
        VirtualClock().at(time, lambda: None)
    with pytest.raises(ClockError, match="finite"):
        VirtualClock(time)


def test_a_run_inside_a_run_is_refused() -> None:
    clock = VirtualClock()
    clock.at(1, lambda: clock.run_until(2))
    with pytest.raises(ClockError, match="called by an action"):
        clock.run_until(3)


@given(
    events=st.lists(st.tuples(st.integers(0, 50), st.integers(-2, 2)), max_size=30),
    stops=st.lists(st.integers(0, 60), max_size=4),
)
def test_order_is_the_same_however_the_run_is_cut(events: list[tuple[int, int]], stops: list[int]) -> None:
    clock = VirtualClock()
    ran: list[tuple[int, int, int]] = []
    for index, (time, priority) in enumerate(events):
        clock.at(time, partial(ran.append, (time, priority, index)), priority=priority)
    for stop in [*sorted(stops), 60]:
        clock.run_until(stop)
    assert ran == sorted((time, priority, index) for index, (time, priority) in enumerate(events))
