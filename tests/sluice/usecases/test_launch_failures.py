from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.core.model import Decision, Kind, LaunchAttempt, Mode, Reason, Workload
from sluice.ports import Counter, Outcome
from sluice.report import fields, sentence
from sluice.usecases.tick import publish_backlog
from tests.support.builders import (
    MINUTE_NOW,
    NOW,
    ecs_workload,
    workload,
)
from tests.support.fakes import FakeAccount

WORDS = "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity."
FAILED = LaunchAttempt(at=NOW - timedelta(minutes=1), failure=WORDS)


def tick(account: FakeAccount) -> list[tuple[Decision, Outcome]]:
    """The launch decisions that the ticks have logged."""
    publish_backlog(MINUTE_NOW, account.ports, account.report, account.remaining_s)
    decisions = account.report.decisions
    return [(logged, outcome) for logged, outcome in decisions if logged.kind is Kind.LAUNCH]  # type: ignore[misc]


def short(account: FakeAccount, served: Workload, **changes: int) -> Workload:
    """A workload that waits for instances which AWS does not start."""
    account.add_workload(served, **({"visible": 9, "desired": 3, "running": 0} | changes))
    account.launches.attempts[served.fleet] = [FAILED]
    return served


@pytest.mark.parametrize("build", [workload, ecs_workload])
def test_the_tick_that_observes_a_failed_launch_logs_the_message_of_aws(
    build: object, account: FakeAccount
) -> None:
    served = short(account, build())
    [(decision, outcome)] = tick(account)
    assert sentence(decision, outcome) == (
        "launch holds: AWS does not start the instances that are asked for "
        f"(at 2026-01-15 11:59 UTC: {WORDS})"
    )
    logged = fields(decision, outcome)
    assert (logged["workload"], logged["decision"], logged["reason"]) == (
        served.name,
        "launch",
        "no_capacity",
    )
    assert (logged["outcome"], logged["trigger"], logged["desired_now"], logged["running"]) == (
        "held",
        "tick",
        3,
        0,
    )
    assert account.report.counts[Counter.NO_CAPACITY] == 1
    assert account.resizes() == []
    assert account.report.failures == []


def test_only_fleets_that_lack_instances_are_asked_about(account: FakeAccount) -> None:
    lacking = short(account, workload("lacking"))
    short(account, workload("served"), running=3)
    short(account, workload("idle"), visible=0)
    short(account, replace(workload("paused"), mode=Mode.PAUSED))
    short(account, ecs_workload("unread"))
    account.fleets.failing[ecs_workload("unread").fleet] = "timed out"
    tick(account)
    assert account.calls.named("launches.read") == [{lacking.fleet}]
    assert account.report.counts[Counter.NO_CAPACITY] == 1


def test_no_attempts_are_read_if_no_fleet_lacks_instances(account: FakeAccount) -> None:
    account.add_workload(workload(), visible=9, desired=3)
    assert tick(account) == []
    assert account.calls.named("launches.read") == []


def test_an_instance_that_still_boots_is_not_logged(account: FakeAccount) -> None:
    served = short(account, workload())
    account.launches.attempts[served.fleet] = [FAILED, LaunchAttempt(at=NOW)]
    assert tick(account) == []
    assert account.report.counts[Counter.NO_CAPACITY] == 0


def test_a_group_whose_launches_are_suspended_is_logged_and_nothing_is_read(account: FakeAccount) -> None:
    """The state after an example's instance could not install its worker."""
    served = short(account, workload())
    blocked = replace(account.fleets.capacities[served.fleet], scale_out_blocked_by=("Launch is suspended",))
    account.fleets.capacities[served.fleet] = blocked
    [(decision, outcome)] = tick(account)
    assert sentence(decision, outcome) == (
        "launch holds: scaling in this direction is held (Launch is suspended)"
    )
    assert account.calls.named("launches.read") == []
    assert account.report.counts[Counter.NO_CAPACITY] == 0


def test_it_is_logged_in_mode_observe_as_well(account: FakeAccount) -> None:
    short(account, replace(workload(), mode=Mode.OBSERVE))
    [(decision, outcome)] = tick(account)
    assert (decision.reason, outcome) == (Reason.NO_CAPACITY, Outcome.HELD)


def test_a_fleet_whose_launches_cannot_be_read_is_counted_and_the_tick_goes_on(account: FakeAccount) -> None:
    unread, logged = short(account, workload("unread")), short(account, workload("logged"))
    account.launches.failing[unread.fleet] = "DescribeScalingActivities: AWS answered Throttling"
    [(decision, _)] = tick(account)
    assert decision.workload == logged.name
    assert account.report.failures == [
        ("unread", Counter.OBSERVATION_FAILED, "DescribeScalingActivities: AWS answered Throttling")
    ]
    assert set(account.report.backlogs) == {"unread", "logged"}


def test_without_time_nothing_is_read_and_nothing_fails(account: FakeAccount) -> None:
    short(account, workload())
    calls = 0

    def remaining_s() -> float:
        nonlocal calls
        calls += account.calls.named("metrics.publish") != []
        return 60.0 if not calls else 0.0

    publish_backlog(MINUTE_NOW, account.ports, account.report, remaining_s)
    assert account.calls.named("launches.read") == []
    assert not [logged for logged, _ in account.report.decisions if logged.kind is Kind.LAUNCH]


def test_ports_without_launches_are_not_asked_for_them(account: FakeAccount) -> None:
    short(account, workload())
    publish_backlog(MINUTE_NOW, replace(account.ports, launches=None), account.report, account.remaining_s)
    assert not [logged for logged, _ in account.report.decisions if logged.kind is Kind.LAUNCH]
