"""Every grant against AWS's list of actions: as narrow as possible, with no condition that AWS ignores."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sluice_sim.aws_rules.iam_policies import Statement
from sluice_sim.template import ResolvedStack
from tests.privileges import catalog
from tests.privileges.proof import Grant, grants
from tests.privileges.roles import roles
from tests.templates import stacks
from tests.templates.stacks import arn

ONE_OBJECT = "arn:aws:s3:::"
SECRET = arn("secretsmanager", "secret:worker-AbCdEf")
STACKS: dict[str, Callable[[], ResolvedStack]] = {
    "control plane": lambda: stacks.plane(EventBusArn=stacks.EVENT_BUS),
    "example group": stacks.example_fleet,
    "example service": lambda: stacks.example_fleet("ecs", SecretArn=SECRET, Repository="worker"),
}
PROBED_UNNAMED = {
    *(
        (role, f"cloudwatch:{action}")
        for role in ("RetuneTargetRole", "SwitchRole")
        for action in ("DeleteAlarms", "DescribeAlarms", "PutMetricAlarm")
    ),
    ("SwitchRole", "ecs:ListTasks"),
    *(
        ("SwitchStateMachineRole", f"logs:{action}")
        for action in ("CreateLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "PutResourcePolicy")
    ),
}
"""Application Auto Scaling checks these of its caller with calls that name no alarm: see on_behalf.

The tasks of Fargate are on no container instance, which ListTasks takes as its resource. Step Functions sets
up the delivery of its logs by actions of CloudWatch Logs that take no resource.
"""


@pytest.fixture(params=STACKS)
def granted(request: pytest.FixtureRequest) -> list[Grant]:
    """Everything the roles of a stack allow; parsing it refuses an action by pattern."""
    return list(grants(roles(STACKS[request.param]())))


def too_wide(grant: Grant) -> str:
    """Why the grant covers more than AWS makes it cover, or nothing at all; empty if it does neither."""
    action = catalog.action(grant.action)
    for pattern in grant.statement.resources:
        if pattern == "*" and action.arn_formats and (grant.role, grant.action) not in PROBED_UNNAMED:
            return f"{grant}: AWS knows narrower resources, {', '.join(action.arn_formats.values())}"
        if pattern != "*" and not action.takes(pattern):
            return f"{grant}: AWS knows no such resource for it"
        if pattern.startswith(ONE_OBJECT) and not set(pattern) & set("*?"):
            continue  # a bucket's ARN has neither account nor region: its name is globally unique
        if pattern != "*" and not pattern.startswith(arn(pattern.split(":")[2], "")):
            return f"{grant}: reaches beyond this account and region"
    return ""


def test_every_resource_is_as_narrow_as_aws_allows(granted: list[Grant]) -> None:
    assert [reason for reason in map(too_wide, granted) if reason] == []


def test_every_condition_key_is_supported_by_aws(granted: list[Grant]) -> None:
    unknown = [
        f"{grant}: {condition.key}"
        for grant in granted
        for condition in grant.statement.conditions
        if not catalog.action(grant.action).knows(condition.key)
    ]
    assert unknown == []


def test_a_write_action_without_resources_is_limited_by_a_condition(granted: list[Grant]) -> None:
    reads = ("Describe", "Get", "List")
    unbounded = [
        str(grant)
        for grant in granted
        if grant.statement.resources == ("*",)
        and not grant.action.split(":")[1].startswith(reads)
        and not grant.statement.conditions
        and (grant.role, grant.action) not in PROBED_UNNAMED
    ]
    assert unbounded == []


@pytest.mark.parametrize(
    ("action", "resource", "reason"),
    [
        ("sqs:SendMessage", "*", "AWS knows narrower resources"),
        ("sqs:SendMessage", arn("ecs", "service/*"), "AWS knows no such resource"),
        ("cloudwatch:GetMetricData", arn("cloudwatch", "alarm:*"), "AWS knows no such resource"),
        ("ecs:UpdateService", "arn:aws:ecs:*:*:service/*", "reaches beyond"),
    ],
)
def test_a_grant_that_is_too_wide_or_void_is_found(action: str, resource: str, reason: str) -> None:
    grant = Grant(role="R", action=action, statement=Statement(actions=(action,), resources=(resource,)))
    assert reason in too_wide(grant)
