"""Eight accounts whose fleet does not scale, each for another reason that `sluice doctor` alone names.

Each account is broken before a burst arrives, and played on until a healthy fleet has scaled out; then the
fault is mended, and the fleet scales out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from sluice_cli.workloads import CHECKOUT
from sluice_sim.embedded.cloud import embedded_aws
from sluice_sim.embedded.demo import CONTROL_PLANE, Demo
from sluice_sim.embedded.run import WorkloadRun
from sluice_sim.embedded.scenarios import COMPILER_PROD, TRANSCRIPTION
from sluice_sim.embedded.timeline import Scenario
from tests.cli.conftest import Answer

pytestmark = pytest.mark.slow

ON_NATIVE_METRICS = replace(
    COMPILER_PROD, parameters={"GreenAutoScalingGroupName": "", "MetricSource": "native"}
)
"""The compilers with one fleet, scaled by AWS's own metrics."""
SCALED_OUT_MINUTES = 13
"""The burst arrives in the fifth minute; AWS's alarm and a boot or two take as long again."""
MENDED_WITHIN_MINUTES = 15
CONSEQUENCES = {"backlog-published", "no-failure-logged"}
"""What fails besides the cause if nothing is published; alone, each is the cause."""


@dataclass
class Account:
    """One workload's account, minute by minute."""

    demo: Demo
    run: WorkloadRun
    minutes: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self.minutes = self.demo.minutes()

    def play(self, minutes: int) -> None:
        for _ in range(minutes):
            next(self.minutes)

    @property
    def group(self) -> str:
        return self.run.deployed["AutoScalingGroupName"]

    def running(self) -> int:
        client = boto3.client("autoscaling")
        [group] = client.describe_auto_scaling_groups(AutoScalingGroupNames=[self.group])["AutoScalingGroups"]
        return sum(instance["LifecycleState"] == "InService" for instance in group["Instances"])


@pytest.fixture
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    """An account with the scenario of the test's parameter."""
    with embedded_aws(CHECKOUT) as aws:
        demo = Demo(aws, CHECKOUT)
        # Room above what the burst needs, so that no healthy fleet is at its maximum.
        yield Account(demo, demo.add_workload(request.param, {"MaxCapacity": "9"}))


@contextmanager
def policy_disabled(account: Account) -> Iterator[None]:
    client = boto3.client("autoscaling")
    [policy] = client.describe_policies(AutoScalingGroupName=account.group)["ScalingPolicies"]
    kept = ("AutoScalingGroupName", "PolicyName", "PolicyType", "TargetTrackingConfiguration")
    put = {key: policy[key] for key in (*kept, "EstimatedInstanceWarmup")}
    client.put_scaling_policy(**put, Enabled=False)
    yield
    client.put_scaling_policy(**put, Enabled=True)


@contextmanager
def launch_suspended(account: Account) -> Iterator[None]:
    client, launch = boto3.client("autoscaling"), ["Launch"]
    client.suspend_processes(AutoScalingGroupName=account.group, ScalingProcesses=launch)
    yield
    client.resume_processes(AutoScalingGroupName=account.group, ScalingProcesses=launch)


@contextmanager
def alarms_muted(account: Account) -> Iterator[None]:
    cloudwatch = boto3.client("cloudwatch")
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix="TargetTracking-")
    names = [alarm["AlarmName"] for page in pages for alarm in page["MetricAlarms"]]
    cloudwatch.disable_alarm_actions(AlarmNames=names)
    yield
    cloudwatch.enable_alarm_actions(AlarmNames=names)


@contextmanager
def maximum_reached(account: Account) -> Iterator[None]:
    client = boto3.client("autoscaling")
    client.update_auto_scaling_group(AutoScalingGroupName=account.group, MaxSize=1)
    yield
    client.update_auto_scaling_group(AutoScalingGroupName=account.group, MaxSize=9)


@contextmanager
def permission_lost(account: Account) -> Iterator[None]:
    """The role of publish_backlog may not put metrics any more."""
    call = BaseClient._make_api_call

    def refuse(client: BaseClient, operation: str, parameters: Mapping[str, Any]) -> object:
        names = {datum["MetricName"] for datum in parameters.get("MetricData", ())}
        if "BacklogPerInstance" in names:
            message = "User: publisher is not authorized to perform: cloudwatch:PutMetricData"
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": message}}, operation)
        return call(client, operation, parameters)

    with mock.patch.object(BaseClient, "_make_api_call", refuse):
        yield


@contextmanager
def schedule_disabled(account: Account) -> Iterator[None]:
    publisher = account.demo.aws.functions.named(f"{CONTROL_PLANE}-PublishBacklogFunction")
    publisher.enabled = False
    yield
    publisher.enabled = True


@contextmanager
def queue_renamed(account: Account) -> Iterator[None]:
    """The stack was updated to the queue's new name; the queue was not created."""
    stacks, stack = account.demo.aws.stacks, f"{CONTROL_PLANE}-{account.run.name}"
    stacks.deploy("workload.yaml", stack, {**account.run.deployed, "QueueName": "recordings"})
    yield
    stacks.deploy("workload.yaml", stack, account.run.deployed)


@contextmanager
def group_metrics_off(account: Account) -> Iterator[None]:
    client = boto3.client("autoscaling")
    client.disable_metrics_collection(AutoScalingGroupName=account.group)
    yield
    client.enable_metrics_collection(AutoScalingGroupName=account.group, Granularity="1Minute")


Fault = Callable[[Account], object]


@pytest.mark.parametrize(
    ("account", "fault", "stays_at", "check", "said"),
    [
        (TRANSCRIPTION, policy_disabled, 1, "policy-enabled", "is disabled"),
        (TRANSCRIPTION, launch_suspended, 0, "processes-run", "Launch is suspended"),
        (TRANSCRIPTION, alarms_muted, 1, "alarms-enabled", "TargetTracking-transcription-AlarmHigh"),
        (TRANSCRIPTION, maximum_reached, 1, "below-maximum", "1 of at most 1 instances are desired"),
        (TRANSCRIPTION, permission_lost, 1, "no-failure-logged", "to perform: cloudwatch:PutMetricData"),
        (TRANSCRIPTION, schedule_disabled, 1, "backlog-published", "has no EffectiveBacklogPerInstance"),
        (TRANSCRIPTION, queue_renamed, 0, "queue-exists", "recordings does not exist"),
        (ON_NATIVE_METRICS, group_metrics_off, 1, "fleet-metrics", "which the scaling policy divides by"),
    ],
    ids=lambda value: value.name if isinstance(value, Scenario) else getattr(value, "__name__", None),
    indirect=["account"],
)
def test_doctor_says_why_the_fleet_does_not_scale_and_its_mending_lets_it(
    sluice, account: Account, fault: Fault, stays_at: int, check: str, said: str
) -> None:
    with fault(account):
        account.play(SCALED_OUT_MINUTES)
        assert account.running() == stays_at
        answer = sluice("doctor", "--json", account.run.name)
    assert answer.exit_code == 1
    failed = {each["check"]: each for each in not_passed(answer) if each["outcome"] == "fail"}
    assert failed.keys() - CONSEQUENCES == {check} - CONSEQUENCES
    assert said in failed[check]["message"]
    assert failed[check]["fix"]
    for _ in range(MENDED_WITHIN_MINUTES):
        account.play(1)
        if account.running() > 1:
            return
    pytest.fail(f"{account.running()} instances run after the mending")


@pytest.mark.parametrize(
    "account",
    [TRANSCRIPTION, ON_NATIVE_METRICS, COMPILER_PROD],
    ids=["transcription", "native", "blue-green"],
    indirect=True,
)
def test_a_healthy_fleet_scales_out_and_every_check_passes(sluice, account: Account) -> None:
    account.play(SCALED_OUT_MINUTES)
    assert account.running() > 1
    assert not_passed(sluice("doctor", "--json", account.run.name)) == []


def not_passed(answer: Answer) -> list[dict[str, str]]:
    [workload] = json.loads(answer.stdout)["workloads"]
    return [finding for finding in workload["findings"] if finding["outcome"] != "pass"]
