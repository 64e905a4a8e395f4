"""The downstream guard in the closed loop: of target tracking (group, service) and of the deadline engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from sluice.core.pause import Direction
from sluice.ports import StoredState
from sluice_operator.account import open_account
from sluice_operator.aws.timeline_events import logged
from sluice_operator.session import AwsSession
from sluice_sim.embedded.cloud import embedded_aws
from sluice_sim.embedded.demo import Demo
from tests.scenarios.conftest import ROOT
from tests.scenarios.test_pause import KINDS, Played

pytestmark = pytest.mark.slow

GUARDED = {"GuardFailedPercent": "50", "GuardMinutes": "30"}


@dataclass
class Guarded(Played):
    """A workload whose messages end as a test says."""

    failed_percent: float = 0.0

    def play(self, minutes: int) -> list[int]:
        sizes = []
        for _ in range(minutes):
            self.publish()
            sizes += super().play(1)
        return sizes

    def publish(self) -> None:
        """What a hundred messages of this minute publish."""
        failed = round(self.failed_percent)
        for outcome, count in (("success", 100 - failed), ("failure", failed)):
            if count:
                self.publish_outcome(outcome, count)

    def publish_outcome(self, outcome: str, count: int) -> None:
        dimensions = {**self.workload().fleet.dimensions, "Outcome": outcome}
        boto3.client("cloudwatch").put_metric_data(
            Namespace="Sluice",
            MetricData=[
                {
                    "MetricName": "MsgProcessingDuration",
                    "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                    "Timestamp": datetime.fromtimestamp(self.demo.aws.clock.now, UTC),
                    "Values": [1.0],
                    "Counts": [count],
                }
            ],
        )

    def workload(self):
        return open_account(AwsSession(), "sluice").ports.registry.one(self.scenario.name, lambda: 60.0)

    def guard(self):
        states = open_account(AwsSession(), "sluice").ports.states
        assert states is not None
        found = states.read([self.scenario.name], lambda: 60.0)[self.scenario.name]
        return found.guard if isinstance(found, StoredState) else None

    def said(self, counter: str) -> list[str]:
        return [
            str(line.record["message"])
            for line in self.demo.aws.log
            if line.record.get("failure") == counter or counter in str(line.record.get("message"))
        ]

    def explained(self) -> str:
        """What `sluice explain` has of the workload from the functions' logs."""
        account, now = open_account(AwsSession(), "sluice"), self.demo.aws.clock.now
        end = datetime.fromtimestamp(now, UTC)
        entries = logged(account.decisions, self.workload(), end - timedelta(hours=2), end, lambda: 60.0)
        return "\n".join(entry.text for entry in entries)

    def aws_fields(self) -> Mapping[str, bool]:
        if self.scenario.name == "queue-proc":
            [target] = boto3.client("application-autoscaling").describe_scalable_targets(
                ServiceNamespace="ecs"
            )["ScalableTargets"]
            state = target["SuspendedState"]
            return {name: state.get(name, False) for name in state if name.startswith("Dynamic")}
        [policy] = boto3.client("autoscaling").describe_policies(AutoScalingGroupName=self.scenario.name)[
            "ScalingPolicies"
        ]
        return {"Enabled": policy["Enabled"]}


@pytest.fixture(scope="module")
def plane_parameters() -> Mapping[str, str]:
    return {"DownstreamGuard": "true"}


@pytest.fixture(params=KINDS)
def played(request: pytest.FixtureRequest, plane_parameters: Mapping[str, str]) -> Iterator[Guarded]:
    with embedded_aws(ROOT) as aws:
        demo, scenario = Demo(aws, ROOT, plane=plane_parameters), KINDS[request.param]
        demo.add_workload(replace(scenario, bursts={}, steady=None), GUARDED)
        yield Guarded(demo, scenario, demo.minutes())


def test_a_failing_downstream_holds_growth_until_it_has_recovered(played: Guarded) -> None:
    played.start(1)
    played.send(10)
    played.play(3)
    open_fields = played.aws_fields()
    played.failed_percent = 60
    played.play(6)
    before = played.size()
    assert played.guard().in_force(datetime.fromtimestamp(played.demo.aws.clock.now, UTC))
    assert played.aws_fields() != open_fields
    played.send(400)
    assert max(played.play(8)) <= max(before, 1)
    played.failed_percent = 0
    grown = played.play(20)
    assert played.guard() is None
    assert played.aws_fields() == open_fields
    assert max(grown) > max(before, 1)
    assert len(played.said("GuardEngaged")) == 1
    assert len(played.said("GuardReleased")) == 1
    explained = played.explained()
    assert "GuardEngaged: the downstream guard holds scale-out: " in explained
    assert "\nguard releases scale-out: " in explained


def test_one_instance_wakes_from_zero_while_the_downstream_fails(played: Guarded) -> None:
    played.failed_percent = 60
    played.play(3)
    played.send(400)
    assert max(played.play(6)) == 1


def test_a_hold_ends_by_itself_while_no_function_runs(played: Guarded) -> None:
    """Sluice's own decisions by the clock, AWS's policy by its schedule."""
    played.start(1)
    open_fields = played.aws_fields()
    played.failed_percent = 60
    played.play(4)
    assert played.aws_fields() != open_fields
    for function in boto3.client("lambda").list_functions()["Functions"]:
        boto3.client("lambda").put_function_concurrency(
            FunctionName=function["FunctionName"], ReservedConcurrentExecutions=0
        )
    played.play(30)
    assert boto3.client("scheduler").list_schedules(GroupName="sluice-guards")["Schedules"] == []
    assert played.aws_fields() == open_fields
    assert not played.guard().in_force(datetime.fromtimestamp(played.demo.aws.clock.now, UTC))


def test_a_pause_that_overlaps_with_the_guard_holds_on_after_it(played: Guarded) -> None:
    played.start(1)
    played.play(1)
    open_fields = played.aws_fields()
    played.failed_percent = 60
    played.play(6)
    held_fields = played.aws_fields()
    assert held_fields != open_fields
    played.pause(Direction.OUT, for_=timedelta(hours=2))
    played.failed_percent = 0
    played.play(15)
    assert played.guard() is None
    assert played.aws_fields() == held_fields
    played.resume()
    assert played.aws_fields() == open_fields
