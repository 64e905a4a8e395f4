"""Stacks that hold scheduled actions put, change and delete them as CloudFormation does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from tests.sim.embedded.test_fleets import BusyWorker
from tests.sim.embedded.test_target_actions import SOON, TARGET, run_past

STACK = "schedules"


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[EmbeddedAws]:
    """An account with a group and a service, both at 0; its templates are in `tmp_path`."""
    with embedded_aws(tmp_path) as account:
        account.create_group("group", minimum=0, maximum=10, boot_s=30, start=BusyWorker)
        account.create_service("workers", "service", boot_s=30, start=BusyWorker)
        yield account


def deploy(aws: EmbeddedAws, root: Path, resources: dict[str, Any]) -> None:
    (root / "stack.yaml").write_text(yaml.safe_dump({"Resources": resources}), encoding="utf-8")
    aws.stacks.deploy("stack.yaml", STACK, {})


def group_action(minimum: int, recurrence: str = "30 12 * * *") -> dict[str, Any]:
    return {
        "Type": "AWS::AutoScaling::ScheduledAction",
        "Properties": {
            "AutoScalingGroupName": "group",
            "MinSize": str(minimum),
            "Recurrence": recurrence,
            "TimeZone": "Etc/UTC",
        },
    }


def target(*actions: dict[str, Any], minimum: int = 0) -> dict[str, Any]:
    return {
        "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
        "Properties": {
            **TARGET,
            "MinCapacity": minimum,
            "MaxCapacity": "10",
            "SuspendedState": {},
            "Tags": [],
            "ScheduledActions": list(actions),
        },
    }


def target_action(minimum: int, name: str = "office-hours") -> dict[str, Any]:
    return {
        "ScheduledActionName": name,
        "Schedule": "cron(30 12 * * ? *)",
        "ScalableTargetAction": {"MinCapacity": str(minimum)},
    }


def of_groups(aws: EmbeddedAws) -> dict[str, int]:
    """Name -> minimum of each action of a group."""
    found = aws.autoscaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"]
    return {action["ScheduledActionName"]: action["MinSize"] for action in found}


def of_targets(aws: EmbeddedAws) -> dict[str, int]:
    found = aws.scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"]
    return {action["ScheduledActionName"]: action["ScalableTargetAction"]["MinCapacity"] for action in found}


def minimum_of_target(aws: EmbeddedAws) -> int:
    [found] = aws.scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    minimum: int = found["MinCapacity"]
    return minimum


def test_the_actions_of_a_stack_run(aws: EmbeddedAws, tmp_path: Path) -> None:
    deploy(aws, tmp_path, {"Up": group_action(3), "Target": target(target_action(2))})
    assert (of_groups(aws), of_targets(aws)) == ({"schedules-Up": 3}, {"office-hours": 2})
    run_past(aws, SOON)
    assert aws.groups.bounds("group") == (3, 10)
    assert aws.services.fleet(TARGET["ResourceId"]).size().desired == 2


def test_an_update_puts_what_changed_and_deletes_what_the_template_no_longer_has(
    aws: EmbeddedAws, tmp_path: Path
) -> None:
    deploy(
        aws, tmp_path, {"Up": group_action(3), "Target": target(target_action(2), target_action(0, "night"))}
    )
    deploy(aws, tmp_path, {"Up": group_action(4), "Target": target(target_action(5))})
    assert (of_groups(aws), of_targets(aws)) == ({"schedules-Up": 4}, {"office-hours": 5})
    deploy(aws, tmp_path, {"Target": target()})
    assert (of_groups(aws), of_targets(aws)) == ({}, {})


def test_an_update_leaves_what_it_does_not_change_and_what_others_have_put(
    aws: EmbeddedAws, tmp_path: Path
) -> None:
    resources = {"Up": group_action(3), "Target": target(target_action(2))}
    deploy(aws, tmp_path, resources)
    aws.autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName="group",
        ScheduledActionName="somebody-elses",
        StartTime=SOON.replace(day=16),
        MinSize=1,
    )
    run_past(aws, SOON)
    deploy(aws, tmp_path, resources)
    assert of_groups(aws) == {"schedules-Up": 3, "somebody-elses": 1}
    assert (aws.groups.bounds("group")[0], minimum_of_target(aws)) == (3, 2)


def test_an_update_of_a_targets_own_bounds_ends_a_minimum_in_force(aws: EmbeddedAws, tmp_path: Path) -> None:
    deploy(aws, tmp_path, {"Target": target(target_action(2))})
    run_past(aws, SOON)
    deploy(aws, tmp_path, {"Target": target(target_action(2), minimum=1)})
    assert minimum_of_target(aws) == 1


def test_an_update_of_a_targets_actions_ends_a_minimum_in_force(aws: EmbeddedAws, tmp_path: Path) -> None:
    deploy(aws, tmp_path, {"Target": target(target_action(2))})
    run_past(aws, SOON)
    assert minimum_of_target(aws) == 2
    deploy(aws, tmp_path, {"Target": target(target_action(2), target_action(0, "night"))})
    assert minimum_of_target(aws) == 0


def test_an_action_is_among_the_stacks_resources_by_its_name(aws: EmbeddedAws, tmp_path: Path) -> None:
    deploy(aws, tmp_path, {"Up": group_action(3)})
    [resource] = boto3.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    assert resource["PhysicalResourceId"] == "schedules-Up"
