"""The minimum of a group or a service, and the scheduled actions that change it.

AWS raises the desired count to a minimum above it, and lowers nothing, whatever has scaled the fleet
meanwhile. A service's desired count is raised here too: its scalable target may be suspended.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sluice.aws.ecs import DIMENSION, resource_id
from sluice.aws.errors import aws_errors, gone_is_done
from sluice.aws.responses import MalformedResponse, count, field, list_field
from sluice.core.model import AutoScalingGroup, EcsService, Fleet
from sluice.core.surge import MinimumChange, ScheduledActions, Surge, stored_surge

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_ecs import ECSClient

ONCE = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?)\)")


class AwsSurges:
    """Implements `ports.Surges` for both kinds of fleet."""

    def __init__(
        self,
        groups: Callable[[], AutoScalingClient],
        services: Callable[[], ECSClient],
        scaling: Callable[[], ApplicationAutoScalingClient],
    ) -> None:
        self._groups, self._services, self._scaling = groups, services, scaling

    def read(self, fleet: Fleet) -> ScheduledActions:
        """One paginated call; an action that leaves the minimum alone does not count."""
        taken: set[datetime] = set()
        with aws_errors(f"DescribeScheduledActions of {fleet}"):
            if isinstance(fleet, AutoScalingGroup):
                pages = (
                    self._groups()
                    .get_paginator("describe_scheduled_actions")
                    .paginate(AutoScalingGroupName=fleet.name)
                )
                listed = [
                    action for page in pages for action in list_field(page, "ScheduledUpdateGroupActions")
                ]
                taken = {start for action in listed if (start := _start(action)) is not None}
                found = [_of_group(action) for action in listed]
            else:
                pages_of_target = (
                    self._scaling().get_paginator("describe_scheduled_actions").paginate(**_target(fleet))
                )
                found = [
                    _of_service(action)
                    for page in pages_of_target
                    for action in list_field(page, "ScheduledActions")
                ]
        return ScheduledActions(
            surges=tuple(one for one in found if isinstance(one, Surge)),
            others=tuple(one for one in found if isinstance(one, MinimumChange)),
            taken=frozenset(taken),
        )

    def schedule_end(self, fleet: Fleet, surge: Surge) -> None:
        """PutScheduledUpdateGroupAction or PutScheduledAction."""
        if isinstance(fleet, AutoScalingGroup):
            with aws_errors(f"PutScheduledUpdateGroupAction of {fleet}"):
                self._groups().put_scheduled_update_group_action(
                    AutoScalingGroupName=fleet.name,
                    ScheduledActionName=surge.name,
                    StartTime=surge.until,
                    MinSize=surge.minimum_before,
                )
            return
        with aws_errors(f"PutScheduledAction of {fleet}"):
            self._scaling().put_scheduled_action(
                **_target(fleet),
                ScheduledActionName=surge.name,
                Schedule=f"at({surge.until.astimezone(UTC):%Y-%m-%dT%H:%M:%S})",
                ScalableTargetAction={"MinCapacity": surge.minimum_before},
            )

    def cancel(self, fleet: Fleet, surge: Surge) -> None:
        """DeleteScheduledAction; AWS itself deletes an action of a group once it is executed."""
        with aws_errors(f"DeleteScheduledAction of {fleet}"), gone_is_done():
            if isinstance(fleet, AutoScalingGroup):
                self._groups().delete_scheduled_action(
                    AutoScalingGroupName=fleet.name, ScheduledActionName=surge.name
                )
            else:
                self._scaling().delete_scheduled_action(**_target(fleet), ScheduledActionName=surge.name)

    def set_minimum(self, fleet: Fleet, instances: int) -> None:
        """UpdateAutoScalingGroup or RegisterScalableTarget with a minimum alone; every other field stays."""
        if isinstance(fleet, AutoScalingGroup):
            with aws_errors(f"UpdateAutoScalingGroup of {fleet} to a minimum of {instances}"):
                self._groups().update_auto_scaling_group(AutoScalingGroupName=fleet.name, MinSize=instances)
            return
        with aws_errors(f"RegisterScalableTarget of {fleet} with a minimum of {instances}"):
            self._scaling().register_scalable_target(**_target(fleet), MinCapacity=instances)
        if self._desired(fleet) < instances:
            with aws_errors(f"UpdateService of {fleet} to {instances}"):
                self._services().update_service(
                    cluster=fleet.cluster, service=fleet.service, desiredCount=instances
                )

    def _desired(self, fleet: EcsService) -> int:
        with aws_errors(f"DescribeServices of {fleet}"):
            described = self._services().describe_services(cluster=fleet.cluster, services=[fleet.service])
            for service in list_field(described, "services"):
                return count(field(service, "desiredCount"))
            raise MalformedResponse("it names no service")


def _target(fleet: EcsService) -> Any:
    return {
        "ServiceNamespace": "ecs",
        "ResourceId": resource_id(fleet),
        "ScalableDimension": DIMENSION,
    }


def _of_group(action: Any) -> Surge | MinimumChange | None:
    minimum = action.get("MinSize")
    if minimum is None:
        return None
    name = field(action, "ScheduledActionName")
    return _action(name, count(minimum), _start(action), recurs=bool(action.get("Recurrence")))


def _start(action: Any) -> datetime | None:
    start = action.get("StartTime")
    return start.astimezone(UTC) if isinstance(start, datetime) else None


def _of_service(action: Any) -> Surge | MinimumChange | None:
    minimum = action.get("ScalableTargetAction", {}).get("MinCapacity")
    if minimum is None:
        return None
    at = _once(field(action, "Schedule"), action.get("Timezone") or "UTC")
    return _action(field(action, "ScheduledActionName"), count(minimum), at, recurs=False)


def _action(name: str, minimum: int, at: datetime | None, *, recurs: bool) -> Surge | MinimumChange:
    surge = stored_surge(name, at, minimum) if at is not None and not recurs else None
    return surge or MinimumChange(name=name, minimum=minimum, at=at)


def _once(schedule: str, timezone: str) -> datetime | None:
    """The moment of an `at` expression; None if it recurs, or in a time zone that is not known here."""
    found = ONCE.fullmatch(schedule)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[1])
    except ValueError:
        raise MalformedResponse(f"{schedule!r} is no time") from None
    try:
        return moment.replace(tzinfo=UTC if timezone == "UTC" else ZoneInfo(timezone)).astimezone(UTC)
    except (ValueError, ZoneInfoNotFoundError):  # a zone that this machine does not know
        return None
