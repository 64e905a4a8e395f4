"""The deployed roles allow what their functions do, and each permission is needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sluice.core.guard import Guard
from sluice.core.guard import encoded as encoded_guard
from sluice.core.pause import (
    ALARM_NOTIFICATION,
    BOTH,
    DISABLE_SCALE_IN,
    ENABLED,
    IN_SUSPENDED,
    OUT_SUSPENDED,
    Pause,
)
from sluice.core.pause import encoded as encoded_pause
from sluice_sim.aws_rules.iam_policies import parse
from tests.deploy.account import Account
from tests.deploy.build import ROOT
from tests.deploy.cloudformation.calls import Aws
from tests.deploy.emulator import RunningFunction
from tests.deploy.every_event import (
    deadline_tick,
    downstream_fails,
    messages_took_100_s,
    nothing,
    proven_empty,
    work_waits,
)
from tests.deploy.server import Server
from tests.deploy.shared_deployment import (
    SharedDeployment,
    Start,
)

# The document itself, and all others: no two may claim one fleet.
REGISTRY = ("ssm:GetParameter", "ssm:GetParametersByPath")
OBSERVING = (
    *REGISTRY,
    "sqs:GetQueueAttributes",
    "autoscaling:DescribeAutoScalingGroups",
    "ecs:DescribeServices",
    "application-autoscaling:DescribeScalableTargets",
)
RESIZING = ("autoscaling:SetDesiredCapacity", "ecs:UpdateService")
REMEMBERING = ("dynamodb:BatchGetItem", "dynamodb:UpdateItem")
USED: Mapping[str, tuple[str, ...]] = {
    "PublishBacklogFunction": (
        *OBSERVING,
        *RESIZING,
        "cloudwatch:GetMetricData",
        "cloudwatch:PutMetricData",
        "dynamodb:BatchGetItem",
        "sqs:SendMessage",
    ),
    "DeadlineTickFunction": (
        # The tick brings the documents.
        *(action for action in OBSERVING if action != "ssm:GetParametersByPath"),
        *RESIZING,
        *REMEMBERING,
        "autoscaling:DescribeWarmPool",
    ),
    "RetuneTargetFunction": (
        *REGISTRY,
        *REMEMBERING,
        "cloudwatch:GetMetricData",
        "application-autoscaling:DescribeScalingPolicies",
        "application-autoscaling:PutScalingPolicy",
    ),
    "BootstrapFunction": (*OBSERVING, *RESIZING, "dynamodb:BatchGetItem"),
    "ShutdownFunction": (*OBSERVING, *RESIZING, "cloudwatch:GetMetricData", "dynamodb:BatchGetItem"),
    "SurgeFunction": (
        *OBSERVING,
        "application-autoscaling:DeleteScheduledAction",
        "application-autoscaling:DescribeScheduledActions",
        "application-autoscaling:PutScheduledAction",
        "application-autoscaling:RegisterScalableTarget",
        "autoscaling:DeleteScheduledAction",
        "autoscaling:DescribeScheduledActions",
        "autoscaling:PutScheduledUpdateGroupAction",
        "autoscaling:UpdateAutoScalingGroup",
        "dynamodb:BatchGetItem",
        "ecs:UpdateService",
    ),
    "GuardDownstreamFunction": (
        *REGISTRY,
        *REMEMBERING,
        "application-autoscaling:DescribeScalableTargets",
        "application-autoscaling:RegisterScalableTarget",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribePolicies",
        "autoscaling:PutScalingPolicy",
        "autoscaling:ResumeProcesses",
        "autoscaling:SuspendProcesses",
        "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricData",
        "scheduler:CreateSchedule",
        "scheduler:DeleteSchedule",
        "scheduler:UpdateSchedule",
    ),
    "SendTestMessagesFunction": (*REGISTRY, "sqs:SendMessage"),
}
"""The actions that each function's work below uses."""
TICKS = ("PublishBacklogFunction", "DeadlineTickFunction", "GuardDownstreamFunction")
COUNTED = {
    "sqs:GetQueueAttributes": "ObservationFailed",
    "autoscaling:DescribeAutoScalingGroups": "ObservationFailed",
    "autoscaling:DescribeWarmPool": "ObservationFailed",
    "ecs:DescribeServices": "ObservationFailed",
    "application-autoscaling:DescribeScalableTargets": "ObservationFailed",
    "cloudwatch:GetMetricData": "ObservationFailed",
    "ssm:GetParameter": "ActionFailed",
    "autoscaling:SetDesiredCapacity": "ActionFailed",
    "ecs:UpdateService": "ActionFailed",
    "dynamodb:BatchGetItem": "ObservationFailed",
    "dynamodb:UpdateItem": "ActionFailed",
}
"""The counters of a tick in which one workload's calls are denied; the tick serves the others and succeeds.
"""

OBSERVED_BY_GUARD = (
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricData",
    "dynamodb:BatchGetItem",
    "dynamodb:UpdateItem",
)
"""What the guard needs to decide; all else is how it acts."""


def counted(logical_id: str, action: str) -> str:
    """The counter of a tick in which one workload's calls are denied; it serves the others and succeeds."""
    if logical_id == "GuardDownstreamFunction":
        return "ObservationFailed" if action in OBSERVED_BY_GUARD else "ActionFailed"
    return COUNTED[action]


def one_at_zero_with_work_and_one_idle(account: Account) -> None:
    proven_empty(account)
    account.set_desired("transcription", 0)
    account.send("transcription", 3)
    account.scale_by_deadline("queue-proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Events and an account state that make a function use everything that its role allows."""

    before: Callable[[Account], None]
    events: Callable[[Account], Iterable[Mapping[str, Any]]]


def samples(*names: str) -> Callable[[Account], Iterable[Mapping[str, Any]]]:
    """These files of events/."""
    return lambda _: [json.loads((ROOT / "events" / f"{name}.json").read_text()) for name in names]


def work_waits_beside_a_warm_pool(account: Account) -> None:
    work_waits(account)
    account.add_warm_pool()


def tick_of_now(account: Account) -> Iterable[Mapping[str, Any]]:
    return [deadline_tick(account, datetime.now(UTC))]


def proven_empty_by_deadline(account: Account) -> None:
    proven_empty(account)
    account.scale_by_deadline()


def one_learns_and_the_other_is_retuned(account: Account) -> None:
    messages_took_100_s(account)
    account.scale_by_deadline("transcription")


def surges_and_their_ends(account: Account) -> Iterable[Mapping[str, Any]]:
    del account
    request = json.loads((ROOT / "events" / "surge.json").read_text()) | {"to": 2}
    return [
        {**request, "workload": name, **end}
        for name in ("transcription", "queue-proc")
        for end in ({}, {"end": True})
    ]


def holds_beside_a_pause_and_their_ends(account: Account) -> Iterator[Mapping[str, Any]]:
    """A hold, another beside a new pause, the same again as its end is scheduled, and the ends of both."""
    manual: Mapping[str, Any] = {}
    now = datetime.now(UTC)
    group = {ALARM_NOTIFICATION: False, ENABLED: True, DISABLE_SCALE_IN: False}
    pause = Pause(directions=BOTH, by="alice", at=now, until=now + timedelta(hours=1), before=group)
    over = now - timedelta(minutes=1)
    before = group | {OUT_SUSPENDED: False, IN_SUSPENDED: False}
    hold = Guard(at=over, until=over, why="it failed", seen_at=now, is_held_by_aws=True, before=before)
    yield manual
    for _ in range(2):
        account.remember(pause=encoded_pause(pause))
        yield manual
    account.remember(pause=encoded_pause(replace(pause, until=over)), guard=encoded_guard(hold))
    yield manual


WORK = {
    "PublishBacklogFunction": Work(
        before=one_at_zero_with_work_and_one_idle, events=samples("schedule-manual")
    ),
    "DeadlineTickFunction": Work(before=work_waits_beside_a_warm_pool, events=tick_of_now),
    "RetuneTargetFunction": Work(
        before=one_learns_and_the_other_is_retuned, events=samples("schedule-manual")
    ),
    "BootstrapFunction": Work(
        before=work_waits, events=samples("bootstrap-asg-direct", "bootstrap-ecs-direct")
    ),
    "ShutdownFunction": Work(
        before=proven_empty_by_deadline, events=samples("shutdown-asg-direct", "shutdown-ecs-direct")
    ),
    "SurgeFunction": Work(before=work_waits, events=surges_and_their_ends),
    "GuardDownstreamFunction": Work(before=downstream_fails, events=holds_beside_a_pause_and_their_ends),
    "SendTestMessagesFunction": Work(before=nothing, events=samples("send-test-messages")),
}


def answers(function: RunningFunction, work: Work, account: Account) -> list[Any]:
    return [function.answer(event) for event in work.events(account)]


@pytest.mark.parametrize("logical_id", USED)
def test_the_intact_role_is_never_refused_and_all_of_this_is_used(
    logical_id: str, account: Account, start: Start, server: Server
) -> None:
    WORK[logical_id].before(account)
    function = start(logical_id)
    actual = answers(function, WORK[logical_id], account)
    if logical_id == "SurgeFunction":  # it alone answers
        assert [each["outcome"] for each in actual] == ["acted"] * 4
    else:
        assert not any(actual)
    assert server.gate.refused == []
    used = {authorization.request.action for authorization in server.gate.authorizations}
    assert used == set(USED[logical_id])
    assert "AccessDenied" not in function.log()


@pytest.mark.parametrize(
    ("logical_id", "action"),
    [(logical_id, action) for logical_id, actions in USED.items() for action in actions],
)
def test_a_role_without_one_permission_fails_with_a_log_that_names_action_and_resource(
    logical_id: str, action: str, account: Account, start: Start, deployed: SharedDeployment, server: Server
) -> None:
    role = deployed.function(logical_id).role
    WORK[logical_id].before(account)
    function = start(logical_id)
    with removed(server.aws, role, action):
        actual = answers(function, WORK[logical_id], account)
    refused = {authorization.request for authorization in server.gate.refused}
    assert {request.action for request in refused} == {action}
    for request in refused:
        sentence = f"is not authorized to perform: {action} on resource: {request.resource}"
        assert f"assumed-role/{role}/function {sentence}" in function.log()
    assert "AWS answered AccessDenied" in function.log()
    if any(isinstance(answer, dict) and "errorType" in answer for answer in actual):
        return
    if logical_id == "SurgeFunction":  # the operator is told; with --to the backlog need not be read
        assert any(answer["refusal"] for answer in actual) or action == "sqs:GetQueueAttributes"
        return
    acts_without = (logical_id, action) == ("BootstrapFunction", "dynamodb:BatchGetItem")
    assert logical_id in TICKS or acts_without, "every other function fails its invocation"
    assert counted(logical_id, action) in {name for each in function.embedded_metrics() for name in each}


@pytest.mark.parametrize(
    ("logical_id", "event"),
    [("BootstrapFunction", "bootstrap-asg-direct"), ("ShutdownFunction", "shutdown-asg-direct")],
)
def test_a_fleet_without_the_tag_is_left_alone(
    logical_id: str, event: str, account: Account, start: Start, server: Server
) -> None:
    WORK[logical_id].before(account)
    before = account.desired("transcription")
    with untagged(server.aws, "transcription"):
        (answer,) = answers(start(logical_id), Work(before=nothing, events=samples(event)), account)
    assert answer["errorType"] == "ConfigError"
    assert "not authorized to perform: autoscaling:SetDesiredCapacity" in answer["errorMessage"]
    assert account.desired("transcription") == before


def test_lambda_alone_may_assume_the_roles(deployed: SharedDeployment, server: Server) -> None:
    for logical_id in USED:
        role = server.aws("iam", "GetRole", RoleName=deployed.function(logical_id).role)["Role"]
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
        assert statement["Action"] == "sts:AssumeRole"


@contextmanager
def removed(aws: Aws, role: str, action: str) -> Iterator[None]:
    """Remove one action from every policy of the role, and restore it at the end."""
    own = {
        name: aws("iam", "GetRolePolicy", RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in aws("iam", "ListRolePolicies", RoleName=role)["PolicyNames"]
    }
    shared_policies = {
        policy["PolicyArn"]: in_force(aws, policy["PolicyArn"])
        for policy in aws("iam", "ListAttachedRolePolicies", RoleName=role)["AttachedPolicies"]
    }
    documents = [*own.values(), *shared_policies.values()]
    assert any(action in statement.actions for document in documents for statement in parse(document))
    try:
        for name, document in own.items():
            aws(
                "iam",
                "PutRolePolicy",
                RoleName=role,
                PolicyName=name,
                PolicyDocument=without_action(document, action),
            )
        for arn, document in shared_policies.items():
            replace_version(aws, arn, without_action(document, action))
        yield
    finally:
        for name, document in own.items():
            aws("iam", "PutRolePolicy", RoleName=role, PolicyName=name, PolicyDocument=document)
        for arn, document in shared_policies.items():
            replace_version(aws, arn, document)


def without_action(document: Mapping[str, Any], action: str) -> dict[str, Any]:
    statements = []
    for statement in document["Statement"]:
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        if others := [each for each in actions if each != action]:
            statements.append({**statement, "Action": others})
    return {**document, "Statement": statements}


def in_force(aws: Aws, arn: str) -> dict[str, Any]:
    version = aws("iam", "GetPolicy", PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document: dict[str, Any] = aws("iam", "GetPolicyVersion", PolicyArn=arn, VersionId=version)[
        "PolicyVersion"
    ]["Document"]
    return document


def replace_version(aws: Aws, arn: str, document: Mapping[str, Any]) -> None:
    """Delete the version that was in force, as AWS keeps only five."""
    before = aws("iam", "GetPolicy", PolicyArn=arn)["Policy"]["DefaultVersionId"]
    aws("iam", "CreatePolicyVersion", PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
    aws("iam", "DeletePolicyVersion", PolicyArn=arn, VersionId=before)


@contextmanager
def untagged(aws: Aws, group: str) -> Iterator[None]:
    tag = {
        "ResourceId": group,
        "ResourceType": "auto-scaling-group",
        "Key": "sluice",
        "Value": "managed",
        "PropagateAtLaunch": False,
    }
    aws("autoscaling", "DeleteTags", Tags=[tag])
    try:
        yield
    finally:
        aws("autoscaling", "CreateOrUpdateTags", Tags=[tag])
