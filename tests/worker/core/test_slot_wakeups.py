"""Which slot checks next: every transition, and what a due batch can rely on."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_worker.core.slot_wakeups import NextLook, SlotWakeups

SPIN_FROM = 10

EVENTS: dict[str, Callable[[SlotWakeups], object]] = {
    "wake": SlotWakeups.wake,
    "looked": SlotWakeups.looked,
    "start_wait": SlotWakeups.start_wait,
    "spin": lambda wakeups: wakeups.spins(SPIN_FROM),
    "no spin": lambda wakeups: wakeups.spins(SPIN_FROM - 1),
}


def wakeups(next_look: NextLook = NextLook.NOBODY, *, waiting: int = 1) -> SlotWakeups:
    made = SlotWakeups(spin_from=SPIN_FROM)
    made.next_look, made.waiting = next_look, waiting
    return made


@pytest.mark.parametrize("before", NextLook)
@pytest.mark.parametrize(
    ("event", "after"),
    [
        ("wake", NextLook.WOKEN),
        ("looked", NextLook.NOBODY),
        ("start_wait", NextLook.NOBODY),
        ("spin", NextLook.SPINNING),
        ("no spin", NextLook.NOBODY),
    ],
)
def test_each_event_leads_to_one_state_whatever_was_before(
    before: NextLook, event: str, after: NextLook
) -> None:
    found = wakeups(before)
    EVENTS[event](found)
    assert found.next_look is after


@pytest.mark.parametrize(
    ("next_look", "waiting", "expected"),
    [
        (NextLook.NOBODY, 0, False),
        (NextLook.NOBODY, 1, True),
        (NextLook.NOBODY, 7, True),
        (NextLook.WOKEN, 1, False),
        (NextLook.WOKEN, 7, False),
        (NextLook.SPINNING, 1, False),
        (NextLook.SPINNING, 7, False),
    ],
)
def test_a_batch_wakes_a_waiting_slot_unless_another_slot_is_about_to_check(
    next_look: NextLook, waiting: int, expected: bool
) -> None:
    assert wakeups(next_look, waiting=waiting).needs_wake() is expected


@pytest.mark.parametrize("event", ["looked", "start_wait", "no spin"])
@pytest.mark.parametrize("before", NextLook)
def test_after_a_slot_has_checked_a_batch_wakes_the_next_one(before: NextLook, event: str) -> None:
    """Also if another slot was woken: it may have been notified as its wait timed out."""
    found = wakeups(before, waiting=2)
    EVENTS[event](found)
    assert found.needs_wake()


@pytest.mark.parametrize(
    ("spin_from", "prefetch_limit", "spins"),
    [(10, 9, False), (10, 10, True), (10, 11, True), (math.inf, 10**9, False)],
    ids=["slow handlers", "the buffer is the limit", "beyond it", "FIFO queues"],
)
def test_a_slot_spins_only_where_the_buffer_is_the_limit(
    spin_from: float, prefetch_limit: int, spins: bool
) -> None:
    assert SlotWakeups(spin_from=spin_from).spins(prefetch_limit) is spins


@given(st.lists(st.sampled_from([*EVENTS, "end_wait"])))
def test_slots_that_wait_are_counted_and_a_wake_up_is_due_to_nobody_but_them(events: list[str]) -> None:
    found, waiting = SlotWakeups(spin_from=SPIN_FROM), 0
    for event in events:
        if event == "end_wait":
            if not waiting:
                continue
            found.end_wait()
            waiting -= 1
        else:
            EVENTS[event](found)
            waiting += event == "start_wait"
        assert found.waiting == waiting
        assert waiting or not found.needs_wake()
