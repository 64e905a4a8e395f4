"""What a workload's alarms, ticks and engine do while the downstream guard holds it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.core.model import Decision, Limit, Reason
from sluice.core.pause import IN_SUSPENDED, OUT_SUSPENDED
from sluice.usecases.deadline_ticks import scale_by_deadline
from tests.sluice.usecases.test_alarms import bootstrap, shutdown
from tests.sluice.usecases.test_pauses import OUT, paused, tick
from tests.support.builders import deadline_workload, ecs_workload, guard, guard_settings, workload

GUARDED = guard_settings()
EITHER_WAY = pytest.mark.parametrize("act", [bootstrap, tick], ids=["alarm", "tick"])


def held(account, served, **changes):
    engaged = guard(at=account.clock(), until=account.clock() + timedelta(hours=1), **changes)
    account.states.guard(served.name, engaged)
    return engaged


def made(account):
    return [decision for decision, _ in account.report.decisions if isinstance(decision, Decision)]


@EITHER_WAY
def test_one_instance_of_a_guarded_fleet_at_zero_starts(account, act):
    served = account.add_workload(workload(bootstrap=4, guard=GUARDED), visible=50)
    engaged = held(account, served)
    act(account)
    assert account.desired(served) == 1
    [decision] = made(account)
    assert (decision.limits, decision.detail) == ((Limit.GUARD,), str(engaged))


@EITHER_WAY
def test_a_hold_that_is_over_limits_nothing(account, act):
    served = account.add_workload(workload(bootstrap=4, guard=GUARDED), visible=50)
    held(account, served)
    account.clock.advance(minutes=60)
    act(account)
    assert account.desired(served) == 4


@EITHER_WAY
def test_a_hold_of_a_workload_whose_document_has_no_guard_any_more_limits_nothing(account, act):
    served = account.add_workload(workload(bootstrap=4), visible=50)
    held(account, served)
    act(account)
    assert account.desired(served) == 4


@EITHER_WAY
def test_one_instance_starts_while_its_guard_cannot_be_read(account, act):
    served = account.add_workload(workload(bootstrap=4, guard=GUARDED), visible=50)
    account.states.failing[served.name] = "BatchGetItem was throttled"
    act(account)
    assert account.desired(served) == 1
    assert "BatchGetItem was throttled" in {reason for _, _, reason in account.report.failures}


@EITHER_WAY
def test_a_service_whose_scale_out_the_guard_suspends_starts_one_task(account, act):
    served = account.add_workload(ecs_workload("transcription", guard=GUARDED), visible=50)
    account.fleets.capacities[served.fleet] = replace(
        account.fleets.capacities[served.fleet], scale_out_blocked_by=("DynamicScalingOut is suspended",)
    )
    act(account)
    assert account.desired(served) == 0
    held(account, served, before={OUT_SUSPENDED: False, IN_SUSPENDED: False})
    act(account)
    assert account.desired(served) == 1


@EITHER_WAY
def test_a_pause_holds_what_the_guard_would_start(account, act):
    served = account.add_workload(workload(bootstrap=4, guard=GUARDED), visible=50)
    held(account, served)
    paused(account, served, OUT)
    act(account)
    assert account.desired(served) == 0


def test_a_guarded_fleet_is_shut_down_when_its_queue_is_empty(account):
    served = account.add_workload(workload(guard=GUARDED), desired=4)
    account.publish_idle_minutes(served)
    held(account, served)
    shutdown(account)
    assert account.desired(served) == 0


class TestTheDeadlineEngine:
    @staticmethod
    def ticks(account, served, seconds):
        for _ in range(0, seconds, 10):
            scale_by_deadline(account.clock(), [served], account.ports, account.report, account.remaining_s)
            account.clock.advance(seconds=10)

    def test_a_burst_grows_nothing_that_is_guarded_and_the_next_tick_after_it_grows(self, account):
        served = account.add_workload(deadline_workload(guard=GUARDED), visible=5000, desired=2)
        engaged = held(account, served)
        self.ticks(account, served, 60)
        assert account.resizes() == []
        [decision] = [one for one in made(account) if one.reason is Reason.GUARDED]
        assert decision.detail.startswith(f"{engaged}; 5000 waiting")
        account.states.guard(served.name, replace(engaged, until=account.clock()))
        self.ticks(account, served, 10)
        assert account.desired(served) > 2

    def test_one_instance_starts_from_zero(self, account):
        served = account.add_workload(deadline_workload(guard=GUARDED), visible=500)
        held(account, served)
        self.ticks(account, served, 60)
        assert account.desired(served) == 1

    def test_a_tick_that_could_not_read_the_guard_does_not_act_against_it(self, account):
        served = account.add_workload(deadline_workload(guard=GUARDED), visible=5000, desired=2)
        held(account, served)
        account.states.failing[served.name] = "BatchGetItem was throttled"
        self.ticks(account, served, 60)
        assert account.resizes() == []

    def test_a_hold_of_a_workload_whose_document_has_no_guard_any_more_holds_nothing(self, account):
        served = account.add_workload(deadline_workload(), visible=5000, desired=2)
        held(account, served)
        self.ticks(account, served, 10)
        assert account.desired(served) > 2
