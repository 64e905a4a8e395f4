"""Auto Scaling groups: moto's group objects follow an embedded fleet, within the group's bounds.

Without this, moto puts instances InService at once and ignores the bounds.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import (
    AutoScalingBackend,
    FakeAutoScalingGroup,
    InstanceState,
    autoscaling_backends,
)
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.fleet import EmbeddedFleet, Instance, Lifecycle
from sluice_sim.embedded.worker_protocol import Worker

LIFECYCLE_STATES = {
    Lifecycle.BOOTING: "Pending",
    Lifecycle.RUNNING: "InService",
    Lifecycle.DRAINING: "Terminating:Wait",  # the lifecycle hook of the example fleet
}


class AutoScalingGroups:
    """Every Auto Scaling group of the account."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._fleets: dict[str, EmbeddedFleet] = {}
        self._apis: dict[str, _GroupApi] = {}

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, moto's groups follow their fleets."""
        groups, describe = self, AutoScalingBackend.describe_auto_scaling_groups

        def described(
            backend: AutoScalingBackend, names: list[str], filters: list[dict[str, str]] | None = None
        ) -> list[FakeAutoScalingGroup]:
            for api in self._apis.values():
                api.show_protection()
            return describe(backend, names, filters)

        def set_desired(_: AutoScalingBackend, group_name: str, desired_capacity: int | None) -> None:
            groups.set_desired(group_name, desired_capacity or 0)

        def activities(response: AutoScalingResponse) -> ActionResult:
            max_records = int(response._get_param("MaxRecords") or 100)  # noqa: SLF001 - as moto's own responses do
            group_name = response._get_param("AutoScalingGroupName")  # noqa: SLF001
            return ActionResult({"Activities": groups.activities(group_name)[:max_records]})

        with (
            mock.patch.object(AutoScalingBackend, "set_desired_capacity", set_desired),
            mock.patch.object(AutoScalingBackend, "describe_auto_scaling_groups", described),
            mock.patch.object(AutoScalingResponse, "describe_scaling_activities", activities),
        ):
            yield

    def run(
        self, group_name: str, *, minimum: int, boot_s: float, start: Callable[[], Worker]
    ) -> EmbeddedFleet:
        """Attach a fleet to a group that was created empty, and scale it to its minimum."""
        _group(group_name).min_size = minimum
        api = self._apis[group_name] = _GroupApi(group=_group(group_name))
        self._fleets[group_name] = EmbeddedFleet(self._clock, api, boot_s=boot_s, start=start)
        self.set_desired(group_name, minimum)
        return self._fleets[group_name]

    def fleet(self, group_name: str) -> EmbeddedFleet:
        """The fleet of the group."""
        return self._fleets[group_name]

    def fail_launches(self, group_name: str, message: str | None) -> None:
        """Make every launch fail with this StatusMessage; None lets launches succeed again."""
        self._fleets[group_name].launch_failure = message

    def activities(self, group_name: str) -> list[dict[str, Any]]:
        """The group's launch activities, newest first; empty for an unknown group."""
        api = self._apis.get(group_name)
        return [dict(activity) for activity in reversed(api.activities)] if api else []

    def set_desired(self, group_name: str, desired: int) -> None:
        """As the API: ValidationError outside the bounds, and nothing changes."""
        minimum, maximum = self.bounds(group_name)
        if not minimum <= desired <= maximum:
            side, bound = ("below min", minimum) if desired < minimum else ("above max", maximum)
            raise ValidationError(
                f"New SetDesiredCapacity value {desired} is {side} value {bound} "
                f"for the AutoScalingGroup {group_name}."
            )
        _group(group_name).desired_capacity = desired
        self._fleets[group_name].set_desired(desired)

    def bounds(self, group_name: str) -> tuple[int, int]:
        """The group's minimum and maximum."""
        group = _group(group_name)
        return group.min_size or 0, group.max_size or 0

    def suspended(self, group_name: str, process: str) -> bool:
        """Whether this process of the group is suspended."""
        return _suspended(_group(group_name), process)


@dataclass(slots=True, kw_only=True)
class _GroupApi:
    """Implements `fleet.FleetApi`: every instance of the fleet is one of moto's instances."""

    group: FakeAutoScalingGroup
    states: dict[Instance, InstanceState] = field(default_factory=dict)
    activities: list[dict[str, Any]] = field(default_factory=list)
    launches: dict[int, dict[str, Any]] = field(default_factory=dict)
    """id() of each booting instance -> its launch activity."""

    def update(self, fleet: EmbeddedFleet, instance: Instance) -> None:  # noqa: ARG002 - a group shows its instances, not totals
        self._record_activity(instance)
        if instance.state is Lifecycle.TERMINATED:
            state = self.states.pop(instance)
            _backend().ec2_backend.terminate_instances([state.instance.id])
            self.group.instance_states = [other for other in self.group.instance_states if other is not state]
            return
        if instance not in self.states:
            self.group.replace_autoscaling_group_instances(1, self.group.get_propagated_tags())
            self.states[instance] = self.group.instance_states[-1]
        self.states[instance].lifecycle_state = LIFECYCLE_STATES[instance.state]

    def show_protection(self) -> None:
        for instance, state in self.states.items():
            state.protected_from_scale_in = instance.protected

    def record_launch_failure(self, message: str, at: float) -> None:
        self.activities.append(self._activity(at, "Failed") | {"StatusMessage": message})

    def _record_activity(self, instance: Instance) -> None:
        if instance.state is Lifecycle.BOOTING:
            self.launches[id(instance)] = self._activity(instance.since, "InProgress")
            self.activities.append(self.launches[id(instance)])
        elif activity := self.launches.pop(id(instance), None):
            activity["StatusCode"] = "Successful" if instance.state is Lifecycle.RUNNING else "Cancelled"

    def _activity(self, at: float, status: str) -> dict[str, Any]:
        return {
            "ActivityId": str(uuid.uuid4()),
            "AutoScalingGroupName": self.group.name,
            "Description": "Launching a new EC2 instance",
            "Cause": "a difference between desired and actual capacity",
            "StartTime": datetime.fromtimestamp(at, UTC),
            "StatusCode": status,
        }

    def may_launch(self) -> bool:
        return not _suspended(self.group, "Launch")

    def may_terminate(self) -> bool:
        return not _suspended(self.group, "Terminate")


def _suspended(group: FakeAutoScalingGroup, process: str) -> bool:
    return any(suspended["ProcessName"] == process for suspended in group.suspended_processes)


def _group(group_name: str) -> FakeAutoScalingGroup:
    groups = _backend().autoscaling_groups
    if group_name not in groups:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup {group_name} not found")
    return groups[group_name]


def _backend() -> AutoScalingBackend:
    backend: AutoScalingBackend = autoscaling_backends[ACCOUNT_ID][REGION]
    return backend
