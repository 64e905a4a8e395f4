"""EventBridge Scheduler of the embedded account: schedules, kept by moto, invoke their targets.

A recurring schedule invokes a function, a one-time schedule calls an operation of AWS (a universal target).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest import mock

import boto3
from botocore import xform_name
from moto.scheduler.models import EventBridgeSchedulerBackend
from moto.scheduler.models import Schedule as MotoSchedule

from sluice_sim.account import ACCOUNT_ID
from sluice_sim.aws_rules.scheduler import Schedule, Scheduler, at
from sluice_sim.clock import VirtualClock

ENABLED = "ENABLED"
ONCE, UNIVERSAL = "at(", ":scheduler:::aws-sdk:"
SERVICES = {"autoscaling": "autoscaling", "applicationautoscaling": "application-autoscaling"}
"""Service in the ARN of a universal target -> the name of its client."""


class Schedules:
    """The account's schedules; `invoke` is called with a target's ARN and its event."""

    def __init__(
        self, clock: VirtualClock, scheduler: Scheduler, invoke: Callable[[str, dict[str, Any]], object]
    ) -> None:
        self._clock, self._scheduler, self._invoke = clock, scheduler, invoke
        self._deployed: dict[str, Mapping[str, Any]] = {}
        """Name -> the template's properties."""
        self._running: dict[str, int] = {}
        """ARN -> its series in the clock."""

    def deploy(self, name: str, properties: Mapping[str, Any], target_arn: str) -> None:
        """Create a schedule from properties of an event of type ScheduleV2, or update it if they changed."""
        if self._deployed.get(name) == properties:
            return
        client = boto3.client("scheduler")
        put = client.update_schedule if name in self._deployed else client.create_schedule
        self._deployed[name] = properties
        put(
            Name=name,
            Description=properties.get("Description", ""),
            State=properties.get("State", ENABLED),
            ScheduleExpression=properties["ScheduleExpression"],
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": target_arn,
                "RoleArn": f"arn:aws:iam::{ACCOUNT_ID}:role/{name}Role",
                "Input": properties["Input"],
                "RetryPolicy": {key: int(value) for key, value in properties["RetryPolicy"].items()},
            },
        )

    def create_group(self, name: str) -> None:
        """Create a schedule group; one that exists stays as it is."""
        client = boto3.client("scheduler")
        if name not in {group["Name"] for group in client.list_schedule_groups()["ScheduleGroups"]}:
            client.create_schedule_group(Name=name)

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, enabled schedules invoke their targets."""
        backend = EventBridgeSchedulerBackend
        create, update, delete = backend.create_schedule, backend.update_schedule, backend.delete_schedule

        def created(own: EventBridgeSchedulerBackend, **named: Any) -> MotoSchedule:
            return self._run(create(own, **named))

        def updated(own: EventBridgeSchedulerBackend, **named: Any) -> MotoSchedule:
            # What an update leaves out takes its default, as at AWS; moto forgets the state.
            return self._run(update(own, **named | {"state": named["state"] or ENABLED}))

        def deleted(own: EventBridgeSchedulerBackend, group_name: str | None, name: str) -> None:
            self._stop(own.get_schedule(group_name, name).arn)
            delete(own, group_name, name)

        with (
            mock.patch.object(backend, "create_schedule", created),
            mock.patch.object(backend, "update_schedule", updated),
            mock.patch.object(backend, "delete_schedule", deleted),
        ):
            yield

    def _run(self, kept: MotoSchedule) -> MotoSchedule:
        self._stop(kept.arn)
        if kept.state == ENABLED and kept.schedule_expression.startswith(ONCE):
            self._run_once(kept)
        elif kept.state == ENABLED:
            target = dict(kept.target)

            def fire(scheduled: datetime) -> None:
                moment = f"{scheduled:%Y-%m-%dT%H:%M:%SZ}"
                text = target["Input"].replace("<aws.scheduler.scheduled-time>", moment)
                self._invoke(target["Arn"], json.loads(text))

            # By its target's name: what else is deployed changes no lateness.
            stream = target["Arn"].rpartition(":")[2]
            schedule = Schedule.parse(kept.schedule_expression)
            self._running[kept.arn] = self._scheduler.start(stream, schedule, fire)
        return kept

    def _run_once(self, kept: MotoSchedule) -> None:
        target = dict(kept.target)
        service, action = target["Arn"].partition(UNIVERSAL)[2].split(":")

        def fire() -> None:
            operation = xform_name(action[0].upper() + action[1:])
            client: Any = boto3.client(SERVICES[service])  # type: ignore[call-overload]
            getattr(client, operation)(**json.loads(target["Input"]))
            if kept.action_after_completion == "DELETE":
                boto3.client("scheduler").delete_schedule(Name=kept.name, GroupName=kept.group_name)

        self._running[kept.arn] = self._scheduler.start_once(kept.arn, at(kept.schedule_expression), fire)

    def _stop(self, arn: str) -> None:
        if arn in self._running:
            self._clock.cancel(self._running.pop(arn))
