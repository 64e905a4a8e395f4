"""Who assumes which role, what depends on the parameters, and what workers may do, against a closed table.

That the functions' roles allow what the functions ask, and nothing else, is proved in tests/privileges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from sluice_sim.template import ResolvedStack
from tests.templates import stacks
from tests.templates.stacks import arn, of_type

NAMESPACE = {"cloudwatch:namespace": "Sluice"}
FUNCTION_ROLES = (
    "BootstrapRole",
    "DeadlineTickRole",
    "PublishBacklogRole",
    "RetuneTargetRole",
    "SendTestMessagesRole",
    "ShutdownRole",
    "SurgeRole",
    "SwitchRole",
)


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
        managed = stack.resources[
            reference.removesuffix(".Ref")
        ]  # the stack's: AWS's policies are no resources
        assert managed.type == "AWS::IAM::ManagedPolicy"
        documents.append(managed.properties["PolicyDocument"])
    return [grant for document in documents for grant in grants_of(document)]


def test_each_function_has_a_role_of_its_own_that_only_lambda_takes(plane: ResolvedStack) -> None:
    roles = [f["Role"].removesuffix(".Arn") for f in of_type(plane, "AWS::Lambda::Function").values()]
    assert sorted(roles) == sorted(FUNCTION_ROLES)
    for role in roles:
        [trust] = plane.resources[role].properties["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_metrics_are_put_into_the_planes_namespace_only() -> None:
    stack = stacks.plane(MetricNamespace="Acme")
    put = [g for r in FUNCTION_ROLES for g in grants(stack, r) if g.action == "cloudwatch:PutMetricData"]
    assert [grant.condition for grant in put] == [{"cloudwatch:namespace": "Acme"}]


def test_only_the_registry_is_read_from_the_parameter_store() -> None:
    stack = stacks.plane(RegistryPrefix="/acme/fleets")
    used = [(r, g) for r in FUNCTION_ROLES for g in grants(stack, r) if g.action.startswith("ssm:")]
    read = {grant.resource for _, grant in used if grant.action != "ssm:PutParameter"}
    assert read == {arn("ssm", "parameter/acme/fleets"), arn("ssm", "parameter/acme/fleets/*")}
    assert {(role, grant.resource) for role, grant in used if grant.action == "ssm:PutParameter"} == {
        ("SwitchRole", arn("ssm", f"parameter/acme/fleets/*/{name}"))
        for name in ("active-color", "draining-color")
    }


def test_the_shards_queue_is_the_ticks_own(plane: ResolvedStack) -> None:
    actions = ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage", "SendMessage")
    assert {
        (role, grant.action)
        for role in FUNCTION_ROLES
        for grant in grants(plane, role)
        if grant.resource == arn("sqs", "ShardQueue")
    } == {("PublishBacklogRole", f"sqs:{action}") for action in actions}


def test_the_minutes_tick_sends_the_ticks_below_a_minute_and_their_function_receives_them(
    plane: ResolvedStack,
) -> None:
    assert {
        (role, grant.action)
        for role in FUNCTION_ROLES
        for grant in grants(plane, role)
        if grant.resource == arn("sqs", "TickQueue")
    } == {
        ("PublishBacklogRole", "sqs:SendMessage"),
        *(
            ("DeadlineTickRole", f"sqs:{action}")
            for action in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage")
        ),
    }


def test_the_engine_and_a_switch_alone_write_the_table_of_states_and_what_resizes_reads_it(
    plane: ResolvedStack,
) -> None:
    found = {
        (role, grant.action, grant.resource)
        for role in FUNCTION_ROLES
        for grant in grants(plane, role)
        if grant.action.startswith("dynamodb:")
    }
    table = arn("dynamodb", "table/EngineStateTable")
    engine = ("DeadlineTickRole", "RetuneTargetRole", "SwitchRole")
    assert found == {
        *((role, "dynamodb:UpdateItem", table) for role in engine),
        *(
            (role, "dynamodb:BatchGetItem", table)
            for role in FUNCTION_ROLES
            if role != "SendTestMessagesRole"
        ),
    }


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


def queue_and_namespace(queue: str) -> list[Grant]:
    """What every worker may do, by action: publish, and consume its queue."""
    return [
        Grant(action="cloudwatch:PutMetricData", resource="*", condition=NAMESPACE),
        *(
            Grant(action=f"sqs:{action}", resource=arn("sqs", queue), condition={})
            for action in ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "ReceiveMessage")
        ),
    ]


def test_a_worker_reaches_its_own_queue_namespace_group_and_wheel_only() -> None:
    group = arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/transcription")
    own = [
        Grant(action=f"autoscaling:{action}", resource=group, condition={})
        for action in (
            "CompleteLifecycleAction",
            "RecordLifecycleActionHeartbeat",
            "SetInstanceProtection",
            "SuspendProcesses",
        )
    ]
    wheel = Grant(
        action="s3:GetObject", resource=f"arn:aws:s3:::{stacks.WORKER['asg']['WorkerWheel']}", condition={}
    )
    put, *queue = queue_and_namespace("transcription")
    assert by_action(grants(stacks.example_fleet(), "WorkerRole")) == [*own, put, wheel, *queue]


def test_a_task_reaches_its_own_queue_namespace_and_clusters_protection_only() -> None:
    protection = [
        Grant(action=f"ecs:{action}", resource=arn("ecs", "task/workers/*"), condition={})
        for action in ("GetTaskProtection", "UpdateTaskProtection")
    ]
    put, *queue = queue_and_namespace("queue-proc")
    assert by_action(grants(stacks.example_fleet("ecs"), "TaskRole")) == [put, *protection, *queue]


@pytest.mark.parametrize(("fleet", "role"), [("asg", "WorkerRole"), ("ecs", "TaskRole")])
def test_a_worker_of_a_color_reads_besides_only_the_parameter_of_its_workload(fleet: str, role: str) -> None:
    name = "/sluice/workloads/builds/draining-color"
    alone = grants(stacks.example_fleet(fleet), role)
    colored = grants(stacks.example_fleet(fleet, Color="blue", DrainingColorParameter=name), role)
    reads = Grant(action="ssm:GetParameter", resource=arn("ssm", f"parameter{name}"), condition={})
    assert by_action(colored) == by_action([*alone, reads])


@pytest.mark.parametrize(("fleet", "role"), [("asg", "WorkerRole"), ("ecs", "TaskRole")])
def test_a_worker_may_consume_the_queue_of_another_fleet_that_it_is_given_and_not_its_own_name(
    fleet: str, role: str
) -> None:
    found = grants(stacks.example_fleet(fleet, ExistingQueueName="builds.fifo"), role)
    assert {grant.resource for grant in found if grant.action.startswith("sqs:")} == {
        arn("sqs", "builds.fifo")
    }


SECRET = arn("secretsmanager", "secret:worker-AbCdEf")


@pytest.mark.parametrize("parameters", [{}, {"SecretArn": SECRET}, {"Repository": "team/worker"}])
def test_what_starts_a_task_may_write_its_log_read_its_secret_and_pull_its_image_only(
    parameters: dict[str, str],
) -> None:
    logs = arn("logs", "log-group:/ecs/workers/queue-proc:*")
    image = arn("ecr", "repository/team/worker")
    more = {
        "SecretArn": [("secretsmanager:GetSecretValue", SECRET)],
        "Repository": [
            ("ecr:BatchGetImage", image),
            ("ecr:GetAuthorizationToken", "*"),
            ("ecr:GetDownloadUrlForLayer", image),
        ],
    }
    expected = [("logs:CreateLogStream", logs), ("logs:PutLogEvents", logs)]
    for parameter in parameters:
        expected += more[parameter]
    found = grants(stacks.example_fleet("ecs", **parameters), "ExecutionRole")
    assert by_action(found) == by_action([Grant(action=a, resource=r, condition={}) for a, r in expected])


def test_only_tasks_of_this_account_take_the_roles_of_a_task() -> None:
    for role in of_type(stacks.example_fleet("ecs"), "AWS::IAM::Role").values():
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": stacks.ACCOUNT}}
