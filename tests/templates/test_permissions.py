"""Least privilege: every statement of every role, managed policies included, against a closed table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import stacks
from stacks import arn, of_type

from sluice_sim.template import ResolvedStack

TAGGED = {"aws:ResourceTag/sluice": "managed"}
NAMESPACE = {"cloudwatch:namespace": "Sluice"}

GROUPS = arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/*")
SERVICES = arn("ecs", "service/*")
QUEUES = arn("sqs", "*")
TARGETS = arn("application-autoscaling", "scalable-target/*")
FAILURES = arn("sqs", "FailureQueue")

REGISTRY = {"ssm:GetParametersByPath", "ssm:GetParameter"}
OBSERVE = {
    "sqs:GetQueueAttributes",
    "autoscaling:DescribeAutoScalingGroups",
    "ecs:DescribeServices",
    "application-autoscaling:DescribeScalableTargets",
}
RESIZE = {"autoscaling:SetDesiredCapacity", "ecs:UpdateService"}
RUN = {"logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage"}

ACTIONS = {
    "PublishBacklogRole": REGISTRY
    | OBSERVE
    | RESIZE
    | RUN
    | {"cloudwatch:PutMetricData", "cloudwatch:GetMetricData"},
    "BootstrapRole": REGISTRY | OBSERVE | RESIZE | RUN,
    "ShutdownRole": REGISTRY | OBSERVE | RESIZE | RUN | {"cloudwatch:GetMetricData"},
    "SendTestMessagesRole": REGISTRY | RUN,
    "RetuneTargetRole": REGISTRY
    | RUN
    | {
        "cloudwatch:GetMetricData",
        "autoscaling:DescribePolicies",
        "autoscaling:PutScalingPolicy",
        "application-autoscaling:DescribeScalingPolicies",
        "application-autoscaling:PutScalingPolicy",
        # what Application Auto Scaling does on the caller's behalf
        "ecs:DescribeServices",
        "ecs:UpdateService",
        "cloudwatch:DescribeAlarms",
        "cloudwatch:PutMetricAlarm",
        "cloudwatch:DeleteAlarms",
    },
}
LOG_GROUPS = {
    "PublishBacklogRole": "publish_backlog",
    "BootstrapRole": "bootstrap",
    "ShutdownRole": "shutdown",
    "SendTestMessagesRole": "send_test_messages",
    "RetuneTargetRole": "retune_target",
}

# AWS knows no resource for these (service authorization reference).
KNOWS_NO_RESOURCE = {
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribePolicies",
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScalingPolicies",
    "cloudwatch:GetMetricData",
    "cloudwatch:PutMetricData",
}
# What changes a user's resource, or reads or fills a user's queue: the resource must carry the tag.
NEEDS_THE_TAG = {
    "autoscaling:SetDesiredCapacity": GROUPS,
    "autoscaling:PutScalingPolicy": GROUPS,
    "ecs:UpdateService": SERVICES,
    "application-autoscaling:PutScalingPolicy": TARGETS,
    "sqs:GetQueueAttributes": QUEUES,
    "sqs:SendMessage": QUEUES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One action on one resource, under a condition."""

    action: str
    resource: str
    condition: Mapping[str, str]


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def grants_of(document: Mapping[str, Any]) -> list[Grant]:
    found = []
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource"} & set(statement)
        condition = statement.get("Condition", {})
        assert set(condition) <= {"StringEquals"}
        found += [
            Grant(action=action, resource=resource, condition=condition.get("StringEquals", {}))
            for action in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        ]
    return found


def grants(stack: ResolvedStack, role: str) -> list[Grant]:
    """Everything a role may do."""
    properties = stack.resources[role].properties
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    for reference in properties.get("ManagedPolicyArns", []):
        managed = stack.resources[reference.removesuffix(".Ref")]  # ours: an AWS policy would be no resource
        assert managed.type == "AWS::IAM::ManagedPolicy"
        documents.append(managed.properties["PolicyDocument"])
    return [grant for document in documents for grant in grants_of(document)]


def all_grants(stack: ResolvedStack) -> dict[str, list[Grant]]:
    return {role: grants(stack, role) for role in of_type(stack, "AWS::IAM::Role")}


def test_each_function_has_a_role_of_its_own_that_only_lambda_takes(plane: ResolvedStack) -> None:
    roles = [f["Role"].removesuffix(".Arn") for f in of_type(plane, "AWS::Lambda::Function").values()]
    assert sorted(roles) == sorted(ACTIONS)
    for role in roles:
        [trust] = plane.resources[role].properties["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


@pytest.mark.parametrize("role", sorted(ACTIONS))
def test_a_role_allows_exactly_what_its_function_does(plane: ResolvedStack, role: str) -> None:
    assert {grant.action for grant in grants(plane, role)} == ACTIONS[role]


def test_no_role_is_granted_an_action_by_pattern(plane: ResolvedStack) -> None:
    granted = all_grants(plane)
    assert set(granted) > set(ACTIONS)  # the schedules' roles too
    assert [(r, g) for r, found in granted.items() for g in found if "*" in g.action] == []


def test_every_resource_is_meant_only_where_aws_knows_none(plane: ResolvedStack) -> None:
    everything = {g.action for found in all_grants(plane).values() for g in found if g.resource == "*"}
    assert everything == KNOWS_NO_RESOURCE


def test_what_acts_on_a_users_resource_asks_for_its_tag(plane: ResolvedStack) -> None:
    acting = [
        grant
        for role in ACTIONS
        for grant in grants(plane, role)
        if grant.action in NEEDS_THE_TAG and grant.resource != FAILURES
    ]
    assert {grant.action for grant in acting} == set(NEEDS_THE_TAG)
    for grant in acting:
        assert grant.resource == NEEDS_THE_TAG[grant.action]
        assert grant.condition.items() >= TAGGED.items(), grant


def test_scalable_targets_of_other_services_are_out_of_reach(plane: ResolvedStack) -> None:
    [grant] = [g for g in grants(plane, "RetuneTargetRole") if g.resource == TARGETS]
    assert grant.condition == {**TAGGED, "application-autoscaling:service-namespace": "ecs"}


def test_only_the_alarms_of_ecs_target_tracking_may_be_written(plane: ResolvedStack) -> None:
    written = {
        (grant.action, grant.resource)
        for grant in grants(plane, "RetuneTargetRole")
        if grant.action in ("cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms")
    }
    alarms = arn("cloudwatch", "alarm:TargetTracking-service/*")
    assert written == {("cloudwatch:PutMetricAlarm", alarms), ("cloudwatch:DeleteAlarms", alarms)}


def test_metrics_are_put_into_the_planes_namespace_only() -> None:
    stack = stacks.plane(MetricNamespace="Acme")
    put = [g for r in ACTIONS for g in grants(stack, r) if g.action == "cloudwatch:PutMetricData"]
    assert [grant.condition for grant in put] == [{"cloudwatch:namespace": "Acme"}]


@pytest.mark.parametrize(("role", "folder"), LOG_GROUPS.items())
def test_a_function_writes_to_its_own_log_group_only(plane: ResolvedStack, role: str, folder: str) -> None:
    written = {g.resource for g in grants(plane, role) if g.action.startswith("logs:")}
    assert written == {arn("logs", f"log-group:/aws/lambda/sluice/{folder}:*")}


@pytest.mark.parametrize("role", sorted(ACTIONS))
def test_a_failed_event_may_be_put_aside(plane: ResolvedStack, role: str) -> None:
    assert Grant(action="sqs:SendMessage", resource=FAILURES, condition={}) in grants(plane, role)


def test_only_the_registry_is_read_from_the_parameter_store() -> None:
    stack = stacks.plane(RegistryPrefix="/acme/fleets")
    read = {g.resource for r in ACTIONS for g in grants(stack, r) if g.action.startswith("ssm:")}
    assert read == {arn("ssm", "parameter/acme/fleets"), arn("ssm", "parameter/acme/fleets/*")}


def test_a_schedule_may_start_its_own_function_and_nothing_else(plane: ResolvedStack) -> None:
    for schedule in of_type(plane, "AWS::Scheduler::Schedule").values():
        role = schedule["Target"]["RoleArn"].removesuffix(".Arn")
        assert {(g.action, g.resource) for g in grants(plane, role)} == {
            ("lambda:InvokeFunction", schedule["Target"]["Arn"])
        }


def test_the_templates_name_no_partition(plane: ResolvedStack) -> None:
    for path in ("template.yaml", "workload.yaml", *stacks.EXAMPLES.values()):
        lines = (stacks.ROOT / path).read_text().splitlines()
        assert [line for line in lines if "arn:aws" in line and "AllowedPattern" not in line] == []


def by_action(found: list[Grant]) -> list[Grant]:
    return sorted(found, key=lambda grant: grant.action)


OWN_QUEUE_AND_NAMESPACE = [
    Grant(action="cloudwatch:PutMetricData", resource="*", condition=NAMESPACE),
    *(
        Grant(action=f"sqs:{action}", resource=arn("sqs", "Queue"), condition={})
        for action in (
            "ChangeMessageVisibility",
            "DeleteMessage",
            "GetQueueAttributes",
            "ReceiveMessage",
            "SendMessage",
        )
    ),
]


def test_a_worker_reaches_its_own_queue_namespace_and_group_only() -> None:
    group = arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/transcription")
    leave = Grant(action="autoscaling:CompleteLifecycleAction", resource=group, condition={})
    assert by_action(grants(stacks.example_fleet(), "WorkerRole")) == [leave, *OWN_QUEUE_AND_NAMESPACE]


def test_a_task_reaches_its_own_queue_namespace_and_clusters_protection_only() -> None:
    protection = [
        Grant(action=f"ecs:{action}", resource=arn("ecs", "task/workers/*"), condition={})
        for action in ("GetTaskProtection", "UpdateTaskProtection")
    ]
    put, *queue = OWN_QUEUE_AND_NAMESPACE
    assert by_action(grants(stacks.example_fleet("ecs"), "TaskRole")) == [put, *protection, *queue]


@pytest.mark.parametrize("secret", ["", arn("secretsmanager", "secret:worker-AbCdEf")])
def test_what_starts_a_task_may_write_its_log_and_read_its_secret_only(secret: str) -> None:
    logs = arn("logs", "log-group:/ecs/workers/queue-proc:*")
    read = [Grant(action="secretsmanager:GetSecretValue", resource=secret, condition={})] if secret else []
    assert by_action(grants(stacks.example_fleet("ecs", SecretArn=secret), "ExecutionRole")) == [
        Grant(action="logs:CreateLogStream", resource=logs, condition={}),
        Grant(action="logs:PutLogEvents", resource=logs, condition={}),
        *read,
    ]


def test_only_tasks_of_this_account_take_the_roles_of_a_task() -> None:
    for role in of_type(stacks.example_fleet("ecs"), "AWS::IAM::Role").values():
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": stacks.ACCOUNT}}
