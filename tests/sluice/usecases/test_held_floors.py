"""A shutdown ends no instance of the floor that the deadline engine holds."""

from dataclasses import replace
from typing import Any

import pytest

from sluice.core.deadline.learning import Learned
from sluice.core.deadline.state import Safety
from sluice.core.model import Decision, Kind, Mode, Reason, Workload
from sluice.errors import TransientError
from sluice.ports import NO_TICK_S, Counter, Outcome, StoredState
from sluice.usecases.alarms import on_shutdown_alarm
from sluice.usecases.deadline_ticks import scale_by_deadline
from sluice.usecases.held_floors import HELD_FOR
from sluice.usecases.tick import publish_backlog
from tests.support.builders import alarm, deadline, deadline_workload, engine_state, workload
from tests.support.fakes import FakeAccount

SHORT = deadline(promise_s=60)


def idle(account: FakeAccount, desired: int = 5, **changes: Any) -> Workload:
    """A fleet of the deadline engine whose queue is proven empty."""
    served = account.add_workload(deadline_workload(settings=SHORT, **changes), desired=desired)
    account.publish_idle_minutes(served)
    return served


def hold(account: FakeAccount, served: Workload, floor: int, ago_s: float = 10) -> None:
    """The tick so many seconds ago has held this floor."""
    state = engine_state(account.clock().timestamp() - ago_s, floor=floor)
    account.states.stored[served.name] = StoredState(tick_s=state.tick_s, state=state)


def on_alarm(account: FakeAccount) -> None:
    event = alarm("shutdown", "transcription", "ALARM")
    on_shutdown_alarm(event, account.ports, account.report, account.remaining_s)


def on_tick(account: FakeAccount) -> None:
    publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)


def shutdowns(account: FakeAccount) -> list[Decision]:
    return [
        decision
        for decision, _ in account.report.decisions
        if isinstance(decision, Decision) and decision.kind is Kind.SHUTDOWN
    ]


@pytest.mark.parametrize("shutdown", [on_alarm, on_tick])
def test_an_idle_fleet_is_shut_down_to_the_floor_that_its_engine_holds(
    account: FakeAccount, shutdown: Any
) -> None:
    served = idle(account, desired=5)
    hold(account, served, 3)
    shutdown(account)
    assert account.desired(served) == 3
    assert "3 instances are held" in shutdowns(account)[-1].detail


@pytest.mark.parametrize("shutdown", [on_alarm, on_tick])
def test_a_fleet_at_its_floor_is_held_and_its_proof_is_not_read(account: FakeAccount, shutdown: Any) -> None:
    served = idle(account, desired=3)
    hold(account, served, 3)
    shutdown(account)
    assert (account.desired(served), account.calls.named("metrics.read")) == (3, [])
    [decision] = shutdowns(account)
    assert decision.reason is Reason.FLOOR_HELD


@pytest.mark.parametrize("shutdown", [on_alarm, on_tick])
@pytest.mark.parametrize(
    ("ago_s", "left"),
    [(HELD_FOR.total_seconds(), 3), (HELD_FOR.total_seconds() + 1, 0), (-HELD_FOR.total_seconds() - 1, 0)],
)
def test_a_floor_ends_ten_minutes_after_the_last_tick_of_its_engine(
    account: FakeAccount, shutdown: Any, ago_s: float, left: int
) -> None:
    """A tick so far in the future is that of a wrong clock."""
    served = idle(account)
    hold(account, served, 3, ago_s)
    shutdown(account)
    assert account.desired(served) == left


@pytest.mark.parametrize("shutdown", [on_alarm, on_tick])
@pytest.mark.parametrize("learned", [None, Learned(at_s=0, margin_s=20)])
def test_an_engine_that_remembers_nothing_holds_no_floor(
    account: FakeAccount, shutdown: Any, learned: Learned | None
) -> None:
    """What the hourly round has learned is no tick's memory."""
    served = idle(account)
    if learned:
        account.states.learn(served.name, learned)
    shutdown(account)
    assert account.desired(served) == 0


def test_a_floor_that_cannot_be_read_holds_the_shutdown_and_fails_its_invocation(
    account: FakeAccount,
) -> None:
    served = idle(account)
    account.states.failing[served.name] = "BatchGetItem was throttled"
    with pytest.raises(TransientError, match="shutdown of transcription is held: BatchGetItem was throttled"):
        on_alarm(account)
    assert account.desired(served) == 5


def test_a_tick_that_cannot_read_a_floor_holds_the_shutdown_and_counts_it(account: FakeAccount) -> None:
    served = idle(account)
    other = account.add_workload(workload("other"), desired=2)
    account.publish_idle_minutes(other)
    account.states.failing[served.name] = "BatchGetItem was throttled"
    on_tick(account)
    assert (account.desired(served), account.desired(other)) == (5, 0)
    failure = (served.name, Counter.OBSERVATION_FAILED, "BatchGetItem was throttled")
    assert account.report.failures == [failure]


def test_a_damaged_state_holds_the_shutdown_because_its_age_is_not_known(account: FakeAccount) -> None:
    served = idle(account)
    damaged = StoredState(tick_s=NO_TICK_S, state=None, problem="damaged (cut off)")
    account.states.stored[served.name] = damaged
    on_tick(account)
    assert account.desired(served) == 5
    assert "damaged (cut off)" in shutdowns(account)[-1].detail


def test_without_a_table_of_states_no_fleet_is_shut_down_as_it_may_be_paused(account: FakeAccount) -> None:
    served = idle(account)
    other = account.add_workload(workload("other"), desired=2)
    account.publish_idle_minutes(other)
    ports = replace(account.ports, states=None)
    publish_backlog(account.clock(), ports, account.report, account.remaining_s)
    assert (account.desired(served), account.desired(other)) == (5, 2)
    assert "SLUICE_STATE_TABLE" in account.report.failures[0][2]


def test_no_state_is_read_of_a_fleet_that_is_busy_or_at_its_minimum(account: FakeAccount) -> None:
    account.add_workload(deadline_workload(name="busy", settings=SHORT), in_flight=1, desired=2)
    account.add_workload(deadline_workload(name="zero", settings=SHORT))
    on_tick(account)
    assert account.calls.named("states.read") == []


def test_mode_observe_says_what_would_be_held(account: FakeAccount) -> None:
    served = idle(account, desired=5, mode=Mode.OBSERVE)
    hold(account, served, 3)
    on_tick(account)
    [(decision, outcome)] = account.report.decisions
    assert isinstance(decision, Decision)
    assert (decision.desired, outcome, account.resizes()) == (3, Outcome.OBSERVED, [])


def test_an_idle_hour_resizes_a_fleet_with_a_floor_once(account: FakeAccount) -> None:
    """Half a second of work a second, and after a pause messages needed four instances at once."""
    served = idle(account, desired=9)
    now_s = account.clock().timestamp()
    safety = Safety(seconds=86_400, newest_s=now_s - 600, idle=(0,) * 6 + (43_200,))
    state = engine_state(now_s - 10, desired=9, running=9, safety=safety)
    account.states.stored[served.name] = StoredState(tick_s=state.tick_s, state=state)
    for seconds in range(10, 3610, 10):
        account.clock.advance(seconds=10)
        scale_by_deadline(account.clock(), [served], account.ports, account.report, account.remaining_s)
        if seconds % 60 == 0:
            on_tick(account)
    assert account.resizes() == [(served.fleet, 4)]
