"""What a paused workload's alarms, ticks and engine do."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

import pytest

from sluice.core.model import Decision, Reason
from sluice.core.pause import BOTH, Direction, Pause
from sluice.errors import TransientError
from sluice.ports import Outcome
from sluice.usecases.deadline_ticks import scale_by_deadline
from sluice.usecases.tick import publish_backlog
from tests.sluice.usecases.test_alarms import bootstrap, shutdown
from tests.sluice.usecases.test_retune import logged, processed, retune, target_of, tuned
from tests.support.builders import deadline_workload, dynamic_workload, guard, workload
from tests.support.fakes import FakeAccount

ALICE = "arn:aws:sts::123456789012:assumed-role/on-call/alice"
OUT, IN = frozenset({Direction.OUT}), frozenset({Direction.IN})


def paused(account, served, directions=BOTH, *, for_=timedelta(hours=2)):
    now = account.clock()
    pause = Pause(directions=directions, by=ALICE, at=now, until=for_ and now + for_, reason="a deploy")
    account.states.pause(served.name, pause)
    return pause


def tick(account: FakeAccount) -> None:
    publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)


def held(account):
    return [
        (decision.kind.value, decision.detail)
        for decision, _ in account.report.decisions
        if isinstance(decision, Decision) and decision.reason is Reason.PAUSED
    ]


@pytest.mark.parametrize("act", [bootstrap, tick], ids=["alarm", "tick"])
@pytest.mark.parametrize("directions", [OUT, BOTH], ids=["out", "both"])
def test_a_fleet_at_zero_that_is_paused_out_is_not_started(account, act, directions):
    served = account.add_workload(workload(), visible=5)
    pause = paused(account, served, directions)
    act(account)
    assert account.resizes() == []
    assert held(account) == [("bootstrap", str(pause))]


@pytest.mark.parametrize("act", [bootstrap, tick], ids=["alarm", "tick"])
def test_a_fleet_that_is_paused_in_is_started(account, act):
    served = account.add_workload(workload(), visible=5)
    paused(account, served, IN)
    act(account)
    assert account.desired(served) > 0


@pytest.mark.parametrize("act", [shutdown, tick], ids=["alarm", "tick"])
@pytest.mark.parametrize("directions", [IN, BOTH], ids=["in", "both"])
def test_an_empty_fleet_that_is_paused_in_is_not_shut_down(account, act, directions):
    served = account.add_workload(workload(), desired=4)
    account.publish_idle_minutes(served)
    pause = paused(account, served, directions)
    act(account)
    assert account.resizes() == []
    assert held(account) == [("shutdown", str(pause))]


@pytest.mark.parametrize("act", [shutdown, tick], ids=["alarm", "tick"])
def test_an_empty_fleet_that_is_paused_out_is_shut_down(account, act):
    served = account.add_workload(workload(), desired=4)
    account.publish_idle_minutes(served)
    paused(account, served, OUT)
    act(account)
    assert account.desired(served) == 0


def test_a_pause_whose_end_has_come_holds_nothing_though_nobody_has_deleted_it(account):
    served = account.add_workload(workload(), visible=5)
    paused(account, served, for_=timedelta(minutes=1))
    account.clock.advance(seconds=60)
    tick(account)
    assert account.desired(served) > 0


@pytest.mark.parametrize("act", [bootstrap, tick], ids=["alarm", "tick"])
def test_a_fleet_at_zero_starts_without_the_table_of_pauses_and_the_log_says_so(account, act):
    served = account.add_workload(workload(), visible=5)
    account.states.failing[served.name] = "BatchGetItem was throttled"
    act(account)
    assert account.desired(served) > 0
    assert "BatchGetItem was throttled" in {reason for _, _, reason in account.report.failures}


def test_no_fleet_is_shut_down_while_its_pause_cannot_be_read(account):
    served = account.add_workload(workload(), desired=4)
    account.publish_idle_minutes(served)
    account.states.failing[served.name] = "BatchGetItem was throttled"
    with pytest.raises(TransientError, match="BatchGetItem was throttled"):
        shutdown(account)
    tick(account)
    assert account.desired(served) == 4


class TestTheDeadlineEngine:
    @staticmethod
    def ticks(account, served, seconds):
        for _ in range(0, seconds, 10):
            scale_by_deadline(account.clock(), [served], account.ports, account.report, account.remaining_s)
            account.clock.advance(seconds=10)

    def test_a_burst_grows_nothing_that_is_paused_out_and_the_next_tick_after_it_grows(self, account):
        served = account.add_workload(deadline_workload(), visible=500)
        pause = paused(account, served, OUT)
        self.ticks(account, served, 60)
        assert account.resizes() == []
        [(kind, detail)] = held(account)
        assert kind == "scale"
        assert detail.startswith(f"{pause}; 500 waiting")
        account.states.pause(served.name, None)
        self.ticks(account, served, 10)
        assert account.desired(served) > 0

    def test_a_surplus_stays_while_it_is_paused_in(self, account):
        served = account.add_workload(deadline_workload(), desired=4)
        paused(account, served, IN)
        self.ticks(account, served, 600)
        assert account.resizes() == []
        account.states.pause(served.name, None)
        self.ticks(account, served, 20)
        assert account.desired(served) == 0

    def test_what_it_remembers_goes_on_while_it_is_paused(self, account):
        served = account.add_workload(deadline_workload(), visible=500)
        paused(account, served)
        self.ticks(account, served, 60)
        stored = account.states.stored[served.name]
        assert stored.state.read_s == account.clock().timestamp() - 10
        assert stored.pause is not None

    def test_a_tick_that_could_not_read_the_pause_does_not_act_against_it(self, account):
        served = account.add_workload(deadline_workload(), visible=500)
        paused(account, served, OUT)
        account.states.failing[served.name] = "BatchGetItem was throttled"
        self.ticks(account, served, 60)
        assert account.resizes() == []


class TestTheRetune:
    BEFORE: ClassVar = {"AlarmNotificationSuspended": False, "Enabled": True, "DisableScaleIn": False}

    @staticmethod
    def tuned(account):
        served = tuned(account, dynamic_workload(), target=10)
        processed(account, served, minutes=10, seconds=40, count=100)
        return served

    def pause(self, account, served, directions):
        now = account.clock()
        pause = Pause(directions=directions, by=ALICE, at=now, reason="a deploy", before=self.BEFORE)
        account.states.pause(served.name, pause)
        return pause

    @pytest.mark.parametrize("directions", [OUT, IN], ids=["out", "in"])
    def test_a_policy_that_a_pause_holds_by_its_own_fields_is_not_put(self, account, directions):
        served = self.tuned(account)
        pause = self.pause(account, served, directions)
        retune(account)
        assert target_of(account, served) == 10
        decision, outcome = logged(account)
        assert (decision.reason, decision.detail, outcome) == (Reason.PAUSED, str(pause), Outcome.HELD)

    def test_a_policy_whose_group_is_suspended_is_retuned(self, account):
        served = self.tuned(account)
        self.pause(account, served, BOTH)
        retune(account)
        assert (target_of(account, served), account.policies.held[served.policy_arn]) == (15, {})

    @pytest.mark.parametrize(
        ("directions", "held"),
        [(OUT, {"Enabled": False}), (IN, {"DisableScaleIn": True})],
        ids=["out", "in"],
    )
    def test_a_pause_between_the_read_and_the_put_of_a_policy_holds_it_again(self, account, directions, held):
        served = self.tuned(account)
        put = account.policies.put_target

        def paused_meanwhile(policy, target, fields=None):
            if fields is None:
                self.pause(account, served, directions)
            put(policy, target, fields)

        account.policies.put_target = paused_meanwhile
        retune(account)
        assert account.policies.held[served.policy_arn] == held
        assert target_of(account, served) == 15

    def test_a_policy_that_the_downstream_guard_holds_is_not_put(self, account):
        served = self.tuned(account)
        held = guard(before=self.BEFORE)
        account.states.guard(served.name, held)
        retune(account)
        assert target_of(account, served) == 10
        decision, outcome = logged(account)
        assert (decision.reason, decision.detail, outcome) == (Reason.GUARDED, str(held), Outcome.HELD)

    def test_a_pause_and_a_guard_between_the_read_and_the_put_of_a_policy_hold_it_again(self, account):
        served = self.tuned(account)
        put = account.policies.put_target

        def held_meanwhile(policy, target, fields=None):
            if fields is None:
                self.pause(account, served, IN)
                account.states.guard(served.name, guard(before=self.BEFORE))
            put(policy, target, fields)

        account.policies.put_target = held_meanwhile
        retune(account)
        assert account.policies.held[served.policy_arn] == {"Enabled": False, "DisableScaleIn": True}

    def test_no_policy_is_put_while_its_pause_cannot_be_read(self, account):
        served = self.tuned(account)
        account.states.failing[served.name] = "BatchGetItem was throttled"
        with pytest.raises(TransientError):
            retune(account)
        assert target_of(account, served) == 10
        assert "whether transcription is paused is unknown" in account.report.failures[0][2]
