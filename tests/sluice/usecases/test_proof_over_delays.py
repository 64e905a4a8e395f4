"""An empty queue is proven at every phase and lateness of the schedule, and at every second of an alarm.

EventBridge Scheduler starts a tick up to 59 s late, `rate` gives its minutes any phase, observing takes time,
and CloudWatch returns a point only some seconds after it was put. The fleet is shut down all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import product, repeat
from random import Random

import pytest

from sluice.core.emptiness import tick_proof_end_minutes
from sluice.core.minutes import MINUTE, minute_of
from sluice.usecases.alarms import on_shutdown_alarm
from sluice.usecases.missed_alarms import retry_missed_alarms
from sluice.usecases.tick import publish_backlog
from sluice.usecases.tick_context import TickContext
from tests.support.builders import (
    MINUTE_NOW,
    alarm,
    seconds,
    workload,
)
from tests.support.fakes import FakeAccount

pytestmark = pytest.mark.slow

IDLE_MINUTES = 2
SERVED = workload(idle_minutes=IDLE_MINUTES)
READABLE_AFTER_S = 30
MAX_LATE_S = 59
SECONDS = range(MAX_LATE_S + 1)
SOME_SECONDS = range(0, MAX_LATE_S + 1, 4)
"""Enough to show that a broken proof is detected."""
READS_S = (0, 24)
"""What observing takes; the tick stops reading 25 s before its function's timeout of 50 s."""
Delayed = tuple[int, int, int]


def delayed_account(*, read_s: float = 0, readable_after_s: float = READABLE_AFTER_S) -> FakeAccount:
    """An empty queue, a running fleet, a slow CloudWatch, and slow reads."""
    account = FakeAccount()
    account.add_workload(SERVED, desired=2)
    account.metrics.readable_after = seconds(readable_after_s)
    observe = account.queues.read

    def slowly(*args: object) -> object:
        account.clock.advance(seconds=read_s)
        return observe(*args)  # type: ignore[arg-type]

    account.queues.read = slowly  # type: ignore[assignment, method-assign]
    return account


def tick(account: FakeAccount, minute: int, phase_s: int, late_s: int) -> None:
    """The tick of this minute; two that overlap read and publish as if they ran one after the other."""
    scheduled = MINUTE_NOW + MINUTE * minute + seconds(phase_s)
    account.clock.at = max(account.clock(), scheduled + seconds(late_s))
    publish_backlog(scheduled, account.ports, account.report, account.remaining_s)


def shut_down_after(account: FakeAccount, phase_s: int, latenesses_s: Iterable[int]) -> int | None:
    """The minute, from 0, whose tick shuts the fleet down; None if none of these ticks does."""
    for minute, late_s in enumerate(latenesses_s):
        tick(account, minute, phase_s, late_s)
        if account.desired(SERVED) == 0:
            return minute
    return None


def too_late(among: range) -> set[Delayed]:
    """Every (phase, delay, reading time) at which the minute after the idle ones does not shut it down."""
    return {
        (phase_s, late_s, read_s)
        for phase_s, late_s, read_s in product(among, among, READS_S)
        if shut_down_after(delayed_account(read_s=read_s), phase_s, repeat(late_s, IDLE_MINUTES + 1)) is None
    }


def test_the_minute_after_the_idle_ones_shuts_the_fleet_down_at_every_delay() -> None:
    assert too_late(SECONDS) == set()


def test_counted_back_from_the_clock_the_proof_fails_wherever_the_tick_ends_after_its_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It needs the point that the same tick has just put, which the grid above detects."""

    def counted_back(tick: TickContext) -> None:
        retry_missed_alarms(replace(tick, minute=minute_of(tick.ports.now())))

    monkeypatch.setattr("sluice.usecases.serve_workloads.retry_missed_alarms", counted_back)
    after_its_minute = {
        delays for delays in product(SOME_SECONDS, SOME_SECONDS, READS_S) if sum(delays) >= 60
    }
    assert too_late(SOME_SECONDS) == after_its_minute
    assert shut_down_after(delayed_account(), 30, repeat(30, 60)) is None  # nor ever later


@pytest.mark.parametrize("read_s", [0, 8])
@pytest.mark.parametrize("readable_after_s", [0, 30, 45])
def test_ticks_with_varying_delays_shut_the_fleet_down_within_a_few_minutes(
    readable_after_s: int, read_s: int
) -> None:
    """Each tick that comes too soon after the previous one is less late, and delays end at 0."""
    too_soon_in_a_row = MAX_LATE_S // (61 - readable_after_s)
    minutes_taken = []
    for seed in range(300):
        random = Random(seed)
        account = delayed_account(read_s=read_s, readable_after_s=readable_after_s)
        latenesses_s = [random.randint(0, MAX_LATE_S) for _ in range(12)]
        minutes_taken.append(shut_down_after(account, random.choice(SECONDS), latenesses_s))
    assert {minute is None or minute < IDLE_MINUTES for minute in minutes_taken} == {False}
    assert max(minute or 0 for minute in minutes_taken) <= IDLE_MINUTES + too_soon_in_a_row
    assert (max(minute or 0 for minute in minutes_taken) > IDLE_MINUTES) is (readable_after_s > 0)


def not_shut_down_by_the_alarm(among: range) -> set[Delayed]:
    """Every (second of the alarm, lateness, reading time) at which the shutdown alarm alone does nothing."""
    alarm_minute = IDLE_MINUTES + 2
    still_running = set()
    for second, late_s, read_s in product(among, among, READS_S):
        account = delayed_account(read_s=read_s)
        at = MINUTE_NOW + MINUTE * alarm_minute + seconds(second)
        for minute in range(alarm_minute + 1):
            if MINUTE_NOW + MINUTE * minute + seconds(late_s + read_s) <= at:
                tick(account, minute, 0, late_s)
        account.clock.at = at
        on_shutdown_alarm(alarm("shutdown"), account.ports, account.report, account.remaining_s)
        if account.desired(SERVED) > 0:
            still_running.add((second, late_s, read_s))
    return still_running


def test_the_alarm_alone_shuts_the_fleet_down_at_every_second_and_tick_delay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sluice.usecases.serve_workloads.retry_missed_alarms", lambda *_: None)
    assert not_shut_down_by_the_alarm(SECONDS) == set()


def test_an_alarms_proof_counted_back_from_the_clock_fails_before_the_last_point_can_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sluice.usecases.serve_workloads.retry_missed_alarms", lambda *_: None)
    monkeypatch.setattr(
        "sluice.usecases.alarms.alarm_proof_end_minutes", lambda now: tick_proof_end_minutes(minute_of(now))
    )
    # The alarm observes before it asks for the proof, which takes a reading time as well.
    unreadable = {
        (second, late_s, read_s)
        for second, late_s, read_s in product(SOME_SECONDS, SOME_SECONDS, READS_S)
        if late_s + read_s + READABLE_AFTER_S - 60 > second + read_s
    }
    assert not_shut_down_by_the_alarm(SOME_SECONDS) == unreadable
