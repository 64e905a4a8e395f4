"""Updates and deletion of a stack: changed parameters change what is deployed, a deletion leaves nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.account import DIMENSIONS
from tests.deploy.build import ROOT
from tests.deploy.cloudformation.calls import Aws
from tests.deploy.cloudformation.stack import ALL_KINDS
from tests.deploy.deployment import (
    BUCKET,
    FUNCTIONS,
    PLANE,
)
from tests.deploy.inventory import (
    LISTINGS,
    PART_OF_A_FUNCTION,
    inventory,
)
from tests.deploy.server import Server
from tests.deploy.shared_deployment import SharedDeployment

MINUTE = timedelta(minutes=1)
GROUP_STACK, SERVICE_STACK = "sluice-e2e-transcription", "sluice-e2e-queue-proc"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The account's resources that the parameters below determine."""

    documents: dict[str, dict[str, Any]]
    group_target: float
    service_bounds: tuple[int, int]
    shutdown_periods: dict[str, int]
    log_levels: set[str]
    retention_days: set[int]
    schedule_inputs: set[str]
    code: set[str]
    scheduled_actions: dict[str, tuple[str, str, int, int]]
    """Recurrence, time zone, minimum and maximum, by the group or by the name of a target's action."""


def state(deployed: SharedDeployment) -> State:
    aws = deployed.deployment.server.aws
    parameters = aws("ssm", "GetParametersByPath", Path="/sluice/workloads")["Parameters"]
    documents = {each["Name"].rsplit("/", 1)[-1]: json.loads(each["Value"]) for each in parameters}
    (target,) = aws("application-autoscaling", "DescribeScalableTargets", ServiceNamespace="ecs")[
        "ScalableTargets"
    ]
    alarms = aws("cloudwatch", "DescribeAlarms")["MetricAlarms"]
    functions = [
        aws("lambda", "GetFunctionConfiguration", FunctionName=deployed.deployment.physical(PLANE, name))
        for name in FUNCTIONS
    ]
    names = [each["Name"] for each in aws("scheduler", "ListSchedules")["Schedules"]]
    groups = aws("logs", "DescribeLogGroups", logGroupNamePrefix="/aws/lambda/")["logGroups"]
    return State(
        documents=documents,
        group_target=deployed.account.group_target(),
        service_bounds=(target["MinCapacity"], target["MaxCapacity"]),
        shutdown_periods={
            alarm["AlarmName"]: alarm["EvaluationPeriods"]
            for alarm in alarms
            if alarm["AlarmName"].endswith("-shutdown")
        },
        log_levels={each["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] for each in functions},
        retention_days={group["retentionInDays"] for group in groups},
        schedule_inputs={aws("scheduler", "GetSchedule", Name=name)["Target"]["Input"] for name in names},
        code={each["CodeSha256"] for each in functions},
        scheduled_actions=scheduled_actions(aws),
    )


def scheduled_actions(aws: Aws) -> dict[str, tuple[str, str, int, int]]:
    of_groups = aws("autoscaling", "DescribeScheduledActions")["ScheduledUpdateGroupActions"]
    of_targets = aws("application-autoscaling", "DescribeScheduledActions", ServiceNamespace="ecs")
    found = {
        each["AutoScalingGroupName"]: (each["Recurrence"], each["TimeZone"], each["MinSize"], each["MaxSize"])
        for each in of_groups
    }
    for each in of_targets["ScheduledActions"]:
        sizes = each["ScalableTargetAction"]
        bounds = sizes["MinCapacity"], sizes["MaxCapacity"]
        found[each["ScheduledActionName"]] = (each["Schedule"], each["Timezone"], *bounds)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The account before and after all stacks were updated."""

    before: State
    after: State


@pytest.fixture(scope="module")
def updated(shared_deployment: SharedDeployment, server: Server) -> Update:
    """Update every stack with new parameters; parameters that are not named keep their values."""
    shared_deployment.current().account.reset()
    before = state(shared_deployment)
    shared_deployment.outdated = True
    deployment = shared_deployment.deployment
    deployment.deploy_plane(LogLevel="DEBUG", LogRetentionDays="7", TestMessages="12")
    deployment.deploy_workload(
        "e2e-transcription",
        MessagesPerInstance="4",
        IdleMinutes="9",
        TargetType="dynamic",
        Schedule1="office-hours,MON-FRI,8:05,Europe/Berlin,1,4",
    )
    deployment.deploy_workload(
        "e2e-queue-proc", MaxCapacity="7", Schedule5="weekend,SAT+SUN,18:00,Asia/Tokyo,0,2"
    )
    return Update(before=before, after=state(shared_deployment))


def test_a_changed_target_reaches_the_policy_and_the_document(updated: Update) -> None:
    assert (updated.before.group_target, updated.after.group_target) == (8, 4)
    before, after = (each.documents["transcription"]["target"] for each in (updated.before, updated.after))
    assert before == {"type": "static", "messages_per_instance": 8, "concurrency_per_instance": 1}
    assert (after["type"], after["fallback_messages_per_instance"]) == ("dynamic", 4)


def test_changed_idle_minutes_reach_the_alarm_and_the_document(updated: Update) -> None:
    alarm = "sluice-transcription-shutdown"
    assert (updated.before.shutdown_periods[alarm], updated.after.shutdown_periods[alarm]) == (5, 9)
    assert updated.after.documents["transcription"]["idle_minutes"] == 9


def test_a_changed_maximum_reaches_the_scalable_target_and_the_document(updated: Update) -> None:
    assert (updated.before.service_bounds, updated.after.service_bounds) == ((0, 5), (0, 7))
    assert updated.after.documents["queue-proc"]["capacity"]["max"] == 7


def test_a_schedule_becomes_a_scheduled_action_and_a_line_of_the_document(updated: Update) -> None:
    assert updated.before.scheduled_actions == {}
    assert updated.after.scheduled_actions == {
        "transcription": ("05 8 * * MON-FRI", "Europe/Berlin", 1, 4),
        "sluice-queue-proc-weekend": ("cron(00 18 ? * SAT,SUN *)", "Asia/Tokyo", 0, 2),
    }
    lines = {name: "".join(each["schedules"]) for name, each in updated.after.documents.items()}
    assert lines == {
        "transcription": "office-hours,MON-FRI,8:05,Europe/Berlin,1,4",
        "queue-proc": "weekend,SAT+SUN,18:00,Asia/Tokyo,0,2",
    }


def test_a_parameter_that_is_not_named_keeps_its_value(updated: Update) -> None:
    before, after = updated.before.documents, updated.after.documents
    assert after["queue-proc"]["target"] == before["queue-proc"]["target"]
    assert after["transcription"]["capacity"] == before["transcription"]["capacity"]
    assert after["transcription"]["policy_arn"] == before["transcription"]["policy_arn"]
    assert after["transcription"]["stack_id"] == before["transcription"]["stack_id"]


def test_the_planes_parameters_reach_every_function_and_leave_its_code(updated: Update) -> None:
    assert (updated.before.log_levels, updated.after.log_levels) == ({"INFO"}, {"DEBUG"})
    assert (updated.before.retention_days, updated.after.retention_days) == ({30}, {7})
    (changed,) = updated.after.schedule_inputs - updated.before.schedule_inputs
    assert json.loads(changed)["messages"] == 12
    assert updated.after.code == updated.before.code
    assert len(updated.after.code) == len(FUNCTIONS)


@pytest.mark.usefixtures("updated", "nothing_refused")
def test_the_event_of_an_update_retunes_that_stacks_workload_alone(
    shared_deployment: SharedDeployment, server: Server, runtime: Path, tmp_path: Path
) -> None:
    """600 s of acceptable latency over 75 s a message: 8 messages per instance."""
    account = shared_deployment.account
    now = datetime.now(UTC)
    took_75_s = {now - MINUTE - timedelta(seconds=50 * back): 75.0 for back in range(1, 41)}
    for dimensions in DIMENSIONS.values():
        account.publish("Sluice", "MsgProcessingDuration", dimensions, took_75_s)
    (stack,) = server.aws("cloudformation", "DescribeStacks", StackName=GROUP_STACK)["Stacks"]
    event = json.loads((ROOT / "events" / "stack-status.json").read_text())
    event["resources"] = [stack["StackId"]]
    event["detail"]["stack-id"] = stack["StackId"]
    assert event["detail"]["status-details"]["status"] == stack["StackStatus"] == "UPDATE_COMPLETE"
    shared_deployment.functions.clear()  # read them back again: they were updated
    with shared_deployment.running("RetuneTargetFunction", runtime, tmp_path / "retune.log") as function:
        assert function.invoke(event) is None
    assert account.group_target() == 8
    assert account.service_policy()["TargetValue"] == 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """The metric of a workload's policy, if the document and the silence alarm name it too."""

    policy_arn: str
    metric: str
    target: float


def tracked(server: Server) -> dict[str, Tracked]:
    """By workload; document, policy and silence alarm name one metric."""
    aws = server.aws
    (of_group,) = aws("autoscaling", "DescribePolicies", AutoScalingGroupName="transcription")[
        "ScalingPolicies"
    ]
    (of_service,) = aws("application-autoscaling", "DescribeScalingPolicies", ServiceNamespace="ecs")[
        "ScalingPolicies"
    ]
    found = {}
    for name, policy, configuration in (
        ("transcription", of_group, of_group["TargetTrackingConfiguration"]),
        ("queue-proc", of_service, of_service["TargetTrackingScalingPolicyConfiguration"]),
    ):
        parameter = aws("ssm", "GetParameter", Name=f"/sluice/workloads/{name}")["Parameter"]
        document = json.loads(parameter["Value"])
        (silent,) = aws("cloudwatch", "DescribeAlarms", AlarmNames=[f"sluice-{name}-silent"])["MetricAlarms"]
        metric = configuration["CustomizedMetricSpecification"]["MetricName"]
        effective = document["tracking"]["metric"] == "effective"
        named = "EffectiveBacklogPerInstance" if effective else "BacklogPerInstance"
        assert (metric, silent["MetricName"], document["policy_arn"]) == (named, named, policy["PolicyARN"])
        found[name] = Tracked(
            policy_arn=policy["PolicyARN"], metric=metric, target=configuration["TargetValue"]
        )
    return found


@pytest.mark.usefixtures("updated")
def test_a_live_workload_tracks_its_backlog_alone_and_then_its_arrivals_again_by_the_same_policy(
    shared_deployment: SharedDeployment, server: Server
) -> None:
    """In both directions the policy restarts at MessagesPerInstance, and its stack event then retunes it."""

    def deploy(metric: str) -> dict[str, Tracked]:
        for environment in ("e2e-transcription", "e2e-queue-proc"):
            shared_deployment.deployment.deploy_workload(environment, TrackedMetric=metric)
        return tracked(server)

    before = tracked(server)
    backlog, effective = deploy("backlog"), deploy("effective")
    for name, template_target in (("transcription", 4), ("queue-proc", 10)):
        metrics = [each[name].metric for each in (before, backlog, effective)]
        assert metrics == ["EffectiveBacklogPerInstance", "BacklogPerInstance", "EffectiveBacklogPerInstance"]
        assert len({each[name].policy_arn for each in (before, backlog, effective)}) == 1
        assert backlog[name].target == effective[name].target == template_target


@pytest.mark.usefixtures("updated")
def test_mode_observe_removes_the_policy(shared_deployment: SharedDeployment, server: Server) -> None:
    shared_deployment.deployment.deploy_workload("e2e-transcription", Mode="observe")
    left = inventory(server.aws)
    assert left["AWS::AutoScaling::ScalingPolicy"] == left["AWS::AutoScaling::ScheduledAction"] == []
    parameter = server.aws("ssm", "GetParameter", Name="/sluice/workloads/transcription")["Parameter"]
    assert json.loads(parameter["Value"])["mode"] == "observe"
    assert json.loads(parameter["Value"])["policy_arn"] == ""


@pytest.fixture(scope="module")
def deleted(shared_deployment: SharedDeployment, server: Server, updated: Update) -> dict[str, list[str]]:
    """What the account holds after the three stacks are deleted."""
    for stack in (GROUP_STACK, SERVICE_STACK, PLANE):
        shared_deployment.deployment.delete(stack)
    return inventory(server.aws)


def test_deleting_the_stacks_leaves_the_fleets_and_the_target_that_others_may_use(
    deleted: dict[str, list[str]], shared_deployment: SharedDeployment
) -> None:
    target = {"AWS::ApplicationAutoScaling::ScalableTarget": ["service/workers/queue-proc"]}
    assert deleted == shared_deployment.before_our_stacks | target


def test_the_bucket_is_empty_again(deleted: dict[str, list[str]], server: Server) -> None:
    assert server.aws("s3", "ListObjectsV2", Bucket=BUCKET)["KeyCount"] == 0


def test_the_inventory_looks_for_every_type_that_can_be_deployed() -> None:
    stacks = {"AWS::CloudFormation::Export", "AWS::CloudFormation::Stack"}
    assert set(LISTINGS) | PART_OF_A_FUNCTION == set(ALL_KINDS) | stacks
