"""What the operator's commands say of schedules that AWS runs, of a group and of a service."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import boto3
import pytest

from sluice.aws.ecs import DIMENSION
from sluice_operator.core.checks.finding import Check, Outcome
from sluice_operator.core.conditions import Condition, Kind
from sluice_operator.doctor.workloads import examine
from sluice_operator.explain import explain
from sluice_operator.status import StatusReader
from tests.scenarios.test_pause import KINDS, Played
from tests.scenarios.test_surge import account, bounds, two_schedules

pytestmark = pytest.mark.slow


@pytest.fixture(params=["group", "service"])
def played(request: pytest.FixtureRequest) -> Iterator[Played]:
    with two_schedules(request.param) as played:
        yield played


def scheduled(played: Played) -> Condition:
    opened = account()
    [found] = StatusReader(opened.ports, opened.decisions).read([played.scenario.name], lambda: 60.0)
    [condition] = [each for each in found.conditions if each.kind is Kind.SCHEDULED]
    return condition


def outcome(played: Played) -> Outcome:
    [found] = examine(account(), [played.scenario.name], lambda: 60.0)
    [finding] = [each for each in found.findings if each.check is Check.SCHEDULES]
    return finding.outcome


def test_they_are_wrong_from_the_deploy_until_the_first_start_and_in_force_after_it(played: Played) -> None:
    played.play(2)
    assert (scheduled(played).reason, outcome(played)) == ("OtherBounds", Outcome.FAIL)
    assert "schedule quiet, in force since Wed 14:05 Europe/Berlin" in scheduled(played).message
    played.play(7)
    found = scheduled(played)
    assert (found.reason, outcome(played)) == ("InForce", Outcome.PASS)
    assert found.message == (
        "at minimum 2, maximum 4 until Thu 14:05 Europe/Berlin by schedule busy; then quiet: minimum 1, "
        "maximum 4"
    )
    now = account().ports.now()
    told = explain(account(), played.scenario.name, now - timedelta(hours=1), now, lambda: 60.0)
    assert any("schedule busy set minimum 2, maximum 4" in entry.text for entry in told.entries)


def test_a_pause_does_not_hold_them_and_suspended_actions_do_not_run(played: Played) -> None:
    played.play(1)
    played.pause()
    played.play(8)
    assert (bounds(played), played.size()) == ((2, 4), 2)
    assert scheduled(played).reason == "InForce"
    suspend(played)
    assert (scheduled(played).reason, outcome(played)) == ("Suspended", Outcome.FAIL)
    played.play(45)
    assert bounds(played) == (2, 4), "quiet has not started"


def suspend(played: Played) -> None:
    """As the answer of `sluice pause` says."""
    if played.scenario is KINDS["group"]:
        boto3.client("autoscaling").suspend_processes(
            AutoScalingGroupName=played.scenario.name, ScalingProcesses=["ScheduledActions"]
        )
    else:
        boto3.client("application-autoscaling").register_scalable_target(
            ServiceNamespace="ecs",
            ResourceId=played.service(),
            ScalableDimension=DIMENSION,
            SuspendedState={"ScheduledScalingSuspended": True},
        )
