"""The scaling activities of Auto Scaling groups and of scalable targets, in AWS's words.

Both services describe what changed a size, when, and how it ended. A group has one activity for each
instance, a scalable target one for each new desired count.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

BY_REQUEST = "a user request explicitly set group desired capacity"
ENDED = frozenset({"Successful", "Failed", "Cancelled", "Overridden"})


@dataclass(slots=True, kw_only=True)
class GroupActivities:
    """The activities of one group, oldest first; times are epoch seconds."""

    group_name: str
    every: list[dict[str, Any]] = field(default_factory=list)
    _cause: str = ""
    """The sentence on the latest change of the desired capacity."""
    _resized: tuple[float, int] = (0.0, 0)
    """When instances last were started or stopped, and how many there were before."""

    def desired_changed(self, at: float, cause: str, before: int, after: int, detail: str | None) -> None:
        """Note why the desired capacity changed: the activities that follow name it."""
        sizes = f"desired capacity from {before} to {after}.  "
        self._cause = f"At {_moment(at)} {cause} changing the {sizes}"
        if detail:
            self._cause += f"At {_moment(at)} {detail} {sizes}"

    def launching(self, at: float, *, alive: int, desired: int, instance_id: str = "") -> dict[str, Any]:
        """Begin a launch in a group of `alive` instances; without an id it is one that failed."""
        sizes = f"increasing the capacity from {self._before(at, alive)} to {desired}."
        started = (
            f"At {_moment(at)} an instance was started in response to a difference between desired and actual"
        )
        what = (
            f"Launching a new EC2 instance: {instance_id}" if instance_id else "Launching a new EC2 instance"
        )
        return self._begin(at, what, f"{self._cause}{started} capacity, {sizes}")

    def launch_failed(self, at: float, message: str, *, alive: int, desired: int) -> None:
        """Record a launch that failed with this StatusMessage."""
        end(self.launching(at, alive=alive, desired=desired), at, "Failed", message)

    def terminating(self, at: float, *, alive: int, desired: int, instance_id: str) -> dict[str, Any]:
        """Begin to terminate an instance of a group that had `alive` ones."""
        sizes = f"shrinking the capacity from {self._before(at, alive)} to {desired}."
        out = f"At {_moment(at)} an instance was taken out of service in response to a difference between"
        chosen = f"  At {_moment(at)} instance {instance_id} was selected for termination."
        cause = f"{self._cause}{out} desired and actual capacity, {sizes}{chosen}"
        return self._begin(at, f"Terminating EC2 instance: {instance_id}", cause)

    def unhealthy(self, at: float, *, instance_id: str) -> dict[str, Any]:
        """Begin to replace an instance that failed its health check."""
        cause = (
            f"At {_moment(at)} an instance was taken out of service in response to an EC2 health check "
            "indicating it has been terminated or stopped."
        )
        return self._begin(at, f"Terminating EC2 instance: {instance_id}", cause)

    def newest_first(self) -> list[dict[str, Any]]:
        """As AWS lists them: those in progress first, then by start time."""
        newest = reversed(self.every)
        return sorted(newest, key=lambda activity: activity["StatusCode"] in ENDED)

    def _begin(self, at: float, description: str, cause: str) -> dict[str, Any]:
        activity = {
            "ActivityId": str(uuid.uuid4()),
            "AutoScalingGroupName": self.group_name,
            "Description": description,
            "Cause": cause,
            "StartTime": datetime.fromtimestamp(at, UTC),
            "StatusCode": "InProgress",
            "Progress": 50,
        }
        self.every.append(activity)
        return activity

    def _before(self, at: float, alive: int) -> int:
        """How many instances there were before those that are started or stopped at this moment."""
        if self._resized[0] != at:
            self._resized = at, alive
        return self._resized[1]


@dataclass(slots=True, kw_only=True)
class TargetActivities:
    """The activities of one scalable target of ECS, oldest first; times are epoch seconds."""

    resource_id: str
    dimension: str
    every: list[dict[str, Any]] = field(default_factory=list)
    _under_way: dict[str, Any] | None = None
    """What the service has yet to fulfil."""

    def scaling(self, at: float, desired: int, cause: str) -> None:
        """Begin to set the desired count; it overrides an earlier one that is under way."""
        self.finished(at, "Overridden", "was overridden by a newer scaling event")
        activity = self._add(at, f"Setting desired count to {desired}.", cause, "InProgress")
        self._under_way = activity
        activity["StatusMessage"] = (
            f"Successfully set desired count to {desired}. Waiting for change to be fulfilled by ecs."
        )

    def finished(
        self, at: float, status: str = "Successful", outcome: str = "successfully fulfilled"
    ) -> None:
        """End what is under way: the service runs as many tasks as were asked for."""
        if self._under_way is None:
            return
        set_count = self._under_way["StatusMessage"].split(". ")[0]
        by = " by ecs" if status == "Successful" else ""
        end(self._under_way, at, status, f"{set_count}. Change {outcome}{by}.")
        self._under_way = None

    def bounds_changed(self, at: float, name: str, minimum: int, maximum: int, failure: str = "") -> None:
        """Record that a scheduled action set the bounds, or why it could not."""
        bounds = f"min capacity to {minimum} and max capacity to {maximum}"
        cause = f"scheduled action name {name} was triggered"
        activity = self._add(at, f"Setting {bounds}", cause, "InProgress")
        end(activity, at, "Failed" if failure else "Successful", failure or f"Successfully set {bounds}")

    def not_scaled(self, at: float, cause: str, reason: dict[str, Any]) -> None:
        """Record why an alarm changed nothing, unless the latest activity says the same already."""
        if not self.every or self.every[-1].get("NotScaledReasons") != [reason]:
            activity = self._add(at, "Attempting to scale due to alarm triggered", cause, "Failed")
            activity["NotScaledReasons"] = [reason]

    def _add(self, at: float, description: str, cause: str, status: str) -> dict[str, Any]:
        activity = {
            "ActivityId": str(uuid.uuid4()),
            "ServiceNamespace": "ecs",
            "ResourceId": self.resource_id,
            "ScalableDimension": self.dimension,
            "Description": description,
            "Cause": cause,
            "StartTime": at,
            "StatusCode": status,
        }
        self.every.append(activity)
        return activity


def end(activity: dict[str, Any], at: float, status: str, message: str | None = None) -> None:
    """End an activity with this status."""
    start = activity["StartTime"]
    activity["EndTime"] = datetime.fromtimestamp(at, UTC) if isinstance(start, datetime) else at
    activity["StatusCode"] = status
    if "Progress" in activity:
        activity["Progress"] = 100
    if message:
        activity["StatusMessage"] = message


def _moment(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
