"""What the templates make, and the tags it carries: queues, groups, services, scalable targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sluice_sim.template import ResolvedStack
from tests.privileges import catalog
from tests.privileges.authorization import HERE, opaque_id


class EverythingTagged(Mapping[str, Mapping[str, str]]):
    """An account in which every resource has the tag, as the README requires."""

    def __getitem__(self, arn: str) -> Mapping[str, str]:
        return {"sluice": "managed"}

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def tags(stacks: Iterable[ResolvedStack]) -> dict[str, dict[str, str]]:
    """ARN -> tags, of everything in the stacks that a function may read, fill or resize."""
    carried = {}
    for stack in stacks:
        for resource in stack.resources.values():
            if resource.type in NAMED:
                action, names = NAMED[resource.type]
                arn = catalog.form(catalog.action(action).arn_format, HERE | names(resource.properties))
                carried[arn] = {tag["Key"]: tag["Value"] for tag in resource.properties.get("Tags", [])}
    return carried


def _queue(properties: Mapping[str, Any]) -> dict[str, str]:
    return {"QueueName": properties.get("QueueName", "unnamed")}


def _group(properties: Mapping[str, Any]) -> dict[str, str]:
    name = properties["AutoScalingGroupName"]
    return {"GroupId": opaque_id(name), "GroupFriendlyName": name}


def _service(properties: Mapping[str, Any]) -> dict[str, str]:
    return {"ClusterName": properties["Cluster"], "ServiceName": properties["ServiceName"]}


def _scalable_target(properties: Mapping[str, Any]) -> dict[str, str]:
    return {"ResourceId": opaque_id(properties["ResourceId"])}


# Resource type -> an action on it, by which the form of its ARN is known, and what names it.
NAMED = {
    "AWS::SQS::Queue": ("sqs:SendMessage", _queue),
    "AWS::AutoScaling::AutoScalingGroup": ("autoscaling:SetDesiredCapacity", _group),
    "AWS::ECS::Service": ("ecs:UpdateService", _service),
    "AWS::ApplicationAutoScaling::ScalableTarget": (
        "application-autoscaling:PutScalingPolicy",
        _scalable_target,
    ),
}
