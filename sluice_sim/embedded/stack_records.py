"""The stacks of the embedded account as CloudFormation shows them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.responses import CloudFormationResponse

from sluice_sim import template
from sluice_sim.account import ACCOUNT_ID, REGION, identity, resource_name
from sluice_sim.embedded.operations import Parameters, answered, page
from sluice_sim.template import ResolvedStack

PER_PAGE = 100
STACK = "AWS::CloudFormation::Stack"
TRANSFORMED = {
    "AWS::Serverless::Function": "AWS::Lambda::Function",
    "AWS::Serverless::LayerVersion": "AWS::Lambda::LayerVersion",
}
"""SAM's types, and what CloudFormation creates."""


@dataclass(slots=True, kw_only=True)
class _Stack:
    name: str
    created_at: datetime
    updated_at: datetime | None = None
    resolved: ResolvedStack
    events: list[dict[str, Any]] = field(default_factory=list)
    """Oldest first."""

    @property
    def stack_id(self) -> str:
        return template.stack_id(ACCOUNT_ID, REGION, self.name)

    @property
    def status(self) -> str:
        return "UPDATE_COMPLETE" if self.updated_at else "CREATE_COMPLETE"

    def names(self) -> dict[str, str]:
        return {"StackName": self.name, "StackId": self.stack_id}


class StackRecords:
    """What CloudFormation knows of each deployed stack; a deploy takes no virtual time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._stacks: dict[str, _Stack] = {}

    def deployed(self, name: str, resolved: ResolvedStack) -> None:
        """Record that a stack was created or updated."""
        now, known = datetime.fromtimestamp(self._now(), UTC), self._stacks.get(name)
        if known:
            known.updated_at, known.resolved = now, resolved
        stack = self._stacks.setdefault(name, _Stack(name=name, created_at=now, resolved=resolved))
        verb = "UPDATE" if known else "CREATE"
        self._add_event(stack, now, name, stack.stack_id, STACK, f"{verb}_IN_PROGRESS", "User Initiated")
        for logical_id, kind, physical in _created(name, resolved):
            self._add_event(stack, now, logical_id, physical, kind, f"{verb}_COMPLETE")
        self._add_event(stack, now, name, stack.stack_id, STACK, f"{verb}_COMPLETE")

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, the reading operations on stacks are answered here."""
        with answered(
            CloudFormationResponse,
            region=REGION,
            describe_stacks=self._describe,
            describe_stack_events=self._events,
            describe_stack_resources=lambda asked: {"StackResources": self._resources(asked)},
            list_stack_resources=self._list_resources,
            list_exports=self._exports,
        ):
            yield

    def _describe(self, asked: Parameters) -> object:
        found = [self._stack(asked)] if "StackName" in asked else list(self._stacks.values())
        some, token = page(found, PER_PAGE, asked.get("NextToken"))
        return {"Stacks": [_described(stack) for stack in some], **token}

    def _events(self, asked: Parameters) -> object:
        some, token = page(self._stack(asked).events[::-1], PER_PAGE, asked.get("NextToken"))
        return {"StackEvents": some, **token}

    def _list_resources(self, asked: Parameters) -> object:
        some, token = page(self._resources(asked), PER_PAGE, asked.get("NextToken"))
        return {"StackResourceSummaries": some, **token}

    def _resources(self, asked: Parameters) -> list[dict[str, Any]]:
        stack = self._stack(asked)
        return [
            {
                **stack.names(),
                "LogicalResourceId": logical_id,
                "PhysicalResourceId": physical,
                "ResourceType": kind,
                "ResourceStatus": stack.status,
                "Timestamp": stack.updated_at or stack.created_at,
                "LastUpdatedTimestamp": stack.updated_at or stack.created_at,
            }
            for logical_id, kind, physical in _created(stack.name, stack.resolved)
            if asked.get("LogicalResourceId", logical_id) == logical_id
        ]

    def _exports(self, asked: Parameters) -> object:
        exports = [
            {"ExportingStackId": stack.stack_id, "Name": name, "Value": value}
            for stack in self._stacks.values()
            for name, value in stack.resolved.exports.items()
        ]
        some, token = page(exports, PER_PAGE, asked.get("NextToken"))
        return {"Exports": some, **token}

    def _stack(self, asked: Parameters) -> _Stack:
        given = asked["StackName"]
        for stack in self._stacks.values():
            if given in (stack.name, stack.stack_id):
                return stack
        raise ValidationError(given)

    def _add_event(
        self,
        stack: _Stack,
        at: datetime,
        logical_id: str,
        physical: str,
        kind: str,
        status: str,
        reason: str = "",
    ) -> None:
        stack.events.append(
            {
                **stack.names(),
                "EventId": str(uuid.uuid4()),
                "LogicalResourceId": logical_id,
                "PhysicalResourceId": physical,
                "ResourceType": kind,
                "ResourceStatus": status,
                "Timestamp": at,
                **({"ResourceStatusReason": reason} if reason else {}),
            }
        )


def _described(stack: _Stack) -> dict[str, Any]:
    resolved = stack.resolved
    exported = {value: name for name, value in resolved.exports.items()}
    updated = {"LastUpdatedTime": stack.updated_at} if stack.updated_at else {}
    return {
        **stack.names(),
        **updated,
        "CreationTime": stack.created_at,
        "StackStatus": stack.status,
        "Tags": {},  # moto forms the list from a mapping
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value if isinstance(value, str) else ",".join(value)}
            for key, value in resolved.parameters.items()
        ],
        "Outputs": [
            {"OutputKey": key, "OutputValue": value}
            | ({"ExportName": exported[value]} if value in exported else {})
            for key, value in resolved.outputs.items()
        ],
    }


def _created(stack_name: str, resolved: ResolvedStack) -> Iterator[tuple[str, str, str]]:
    """(logical id, type, physical id) of each resource, as SAM transforms a function and its schedules."""
    for logical_id, resource in resolved.resources.items():
        physical = identity(stack_name, logical_id, resource.type, resource.properties, "Ref")
        yield logical_id, TRANSFORMED.get(resource.type, resource.type), physical
        for event_name, event in resource.properties.get("Events", {}).items():
            if event["Type"] == "ScheduleV2":
                schedule_id = f"{logical_id}{event_name}"
                yield schedule_id, "AWS::Scheduler::Schedule", resource_name(stack_name, schedule_id)
