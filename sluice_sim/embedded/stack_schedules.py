"""The scheduled actions that stacks hold: resources of groups, and properties of scalable targets.

As CloudFormation does, an update puts what is new or changed and then deletes what the template no longer
has; what has not changed is left alone, and so is what others have put.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sluice.aws.ecs import DIMENSION
from sluice_sim.account import resource_name
from sluice_sim.template import Resource

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_autoscaling import AutoScalingClient

GROUP_ACTION = "AWS::AutoScaling::ScheduledAction"
TARGET = "AWS::ApplicationAutoScaling::ScalableTarget"
NUMBERS = ("MinSize", "MaxSize", "DesiredCapacity", "MinCapacity", "MaxCapacity")

Action = tuple[str, str, str]
"""The type of the resource that holds it, the name of its group or service, and its own name."""


class StackSchedules:
    """The scheduled actions of all stacks."""

    def __init__(self, autoscaling: AutoScalingClient, scaling: ApplicationAutoScalingClient) -> None:
        self._autoscaling, self._scaling = autoscaling, scaling
        self._deployed: dict[str, dict[Action, Mapping[str, Any]]] = {}
        """By stack."""

    def deploy(self, stack_name: str, resources: Mapping[str, Resource]) -> None:
        """Put the actions of a stack whose groups and targets exist, and delete those that it had."""
        before, wanted = self._deployed.get(stack_name, {}), dict(_actions(stack_name, resources))
        for action, properties in wanted.items():
            if before.get(action) != properties:
                self._put(action, properties)
        for action in before.keys() - wanted.keys():
            self._delete(action)
        self._deployed[stack_name] = wanted

    def _put(self, action: Action, properties: Mapping[str, Any]) -> None:
        kind, fleet, name = action
        request: Any = {"ScheduledActionName": name, **_with_numbers(properties)}
        if kind == GROUP_ACTION:
            self._autoscaling.put_scheduled_update_group_action(**request)
        else:
            self._scaling.put_scheduled_action(**_place(fleet), **request)

    def _delete(self, action: Action) -> None:
        kind, fleet, name = action
        if kind == GROUP_ACTION:
            self._autoscaling.delete_scheduled_action(AutoScalingGroupName=fleet, ScheduledActionName=name)
        else:
            self._scaling.delete_scheduled_action(**_place(fleet), ScheduledActionName=name)


def _actions(
    stack_name: str, resources: Mapping[str, Resource]
) -> Iterator[tuple[Action, Mapping[str, Any]]]:
    for logical_id, resource in resources.items():
        properties = resource.properties
        if resource.type == GROUP_ACTION:
            name = resource_name(stack_name, logical_id)
            yield (GROUP_ACTION, properties["AutoScalingGroupName"], name), properties
        elif resource.type == TARGET:
            for action in properties.get("ScheduledActions", []):
                yield (TARGET, properties["ResourceId"], action["ScheduledActionName"]), action


def _place(resource_id: str) -> Any:
    return {"ServiceNamespace": "ecs", "ResourceId": resource_id, "ScalableDimension": DIMENSION}


def _with_numbers(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties with their sizes as numbers; CloudFormation takes them as strings too."""
    return {
        key: _with_numbers(value) if isinstance(value, Mapping) else int(value) if key in NUMBERS else value
        for key, value in properties.items()
    }
