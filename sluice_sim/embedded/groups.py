"""Auto Scaling groups as the API shows them: bounds are kept, and moto's group objects follow a living fleet.

Owns what moto leaves out: there, instances are InService at once, whatever the bounds.
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
from sluice_sim.embedded.fleet import Fleet, Life, Unit
from sluice_sim.embedded.worker import Consumer

LIFECYCLE_STATES = {
    Life.BOOTING: "Pending",
    Life.RUNNING: "InService",
    Life.DRAINING: "Terminating:Wait",  # the lifecycle hook of the example fleet
}


class Groups:
    """Every Auto Scaling group of the account."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._fleets: dict[str, Fleet] = {}
        self._mirrors: dict[str, _GroupMirror] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """SetDesiredCapacity and what follows from it go through here while the context lasts."""
        groups = self

        def set_desired(_: AutoScalingBackend, group_name: str, desired_capacity: int | None) -> None:
            groups.set_desired(group_name, desired_capacity or 0)

        def activities(response: AutoScalingResponse) -> ActionResult:
            most = int(response._get_param("MaxRecords") or 100)  # noqa: SLF001 - as moto's own responses do
            group_name = response._get_param("AutoScalingGroupName")  # noqa: SLF001
            return ActionResult({"Activities": groups.activities(group_name)[:most]})

        with (
            mock.patch.object(AutoScalingBackend, "set_desired_capacity", set_desired),
            mock.patch.object(AutoScalingResponse, "describe_scaling_activities", activities),
        ):
            yield

    def run(self, group_name: str, *, minimum: int, boot_s: float, start: Callable[[], Consumer]) -> Fleet:
        """Bring a group that was created empty to life, and to its minimum."""
        _group(group_name).min_size = minimum
        mirror = self._mirrors[group_name] = _GroupMirror(group=_group(group_name))
        self._fleets[group_name] = Fleet(self._clock, mirror, boot_s=boot_s, start=start)
        self.set_desired(group_name, minimum)
        return self._fleets[group_name]

    def fleet(self, group_name: str) -> Fleet:
        """The living fleet behind the group."""
        return self._fleets[group_name]

    def refuse_launches(self, group_name: str, words: str | None) -> None:
        """From now on no instance starts, and activities say why in these words; None lets them start."""
        self._fleets[group_name].refusal = words

    def activities(self, group_name: str) -> list[dict[str, Any]]:
        """The group's launches, newest first; none of a group that is not there."""
        mirror = self._mirrors.get(group_name)
        return [dict(activity) for activity in reversed(mirror.activities)] if mirror else []

    def set_desired(self, group_name: str, desired: int) -> None:
        """As the API: out of bounds is a ValidationError, and nothing changes."""
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
        """The group's own min and max."""
        group = _group(group_name)
        return group.min_size or 0, group.max_size or 0

    def suspended(self, group_name: str, process: str) -> bool:
        """Whether an operator suspended this process of the group."""
        return _suspended(_group(group_name), process)


@dataclass(slots=True, kw_only=True)
class _GroupMirror:
    """Keeps `fleet.Mirror`: every unit is one of moto's instances."""

    group: FakeAutoScalingGroup
    states: dict[int, InstanceState] = field(default_factory=dict)
    activities: list[dict[str, Any]] = field(default_factory=list)
    launches: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The activity of each unit that still boots."""

    def show(self, fleet: Fleet, unit: Unit) -> None:  # noqa: ARG002 - a group shows unit by unit
        self._tell_activity(unit)
        if unit.life is Life.GONE:
            state = self.states.pop(id(unit))
            _backend().ec2_backend.terminate_instances([state.instance.id])
            self.group.instance_states = [other for other in self.group.instance_states if other is not state]
            return
        if id(unit) not in self.states:
            self.group.replace_autoscaling_group_instances(1, self.group.get_propagated_tags())
            self.states[id(unit)] = self.group.instance_states[-1]
        self.states[id(unit)].lifecycle_state = LIFECYCLE_STATES[unit.life]

    def refused(self, words: str, at: float) -> None:
        self.activities.append(self._activity(at, "Failed") | {"StatusMessage": words})

    def _tell_activity(self, unit: Unit) -> None:
        if unit.life is Life.BOOTING:
            self.launches[id(unit)] = self._activity(unit.since, "InProgress")
            self.activities.append(self.launches[id(unit)])
        elif activity := self.launches.pop(id(unit), None):
            activity["StatusCode"] = "Successful" if unit.life is Life.RUNNING else "Cancelled"

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
