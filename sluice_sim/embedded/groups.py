"""Auto Scaling groups with a life: instances take time to boot, drain before they go, and bounds are kept.

Owns the lifecycle that moto leaves out (there, instances are InService at once, whatever the bounds).
Works on moto's own group objects, so that DescribeAutoScalingGroups shows what happens here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from unittest import mock

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import (
    AutoScalingBackend,
    FakeAutoScalingGroup,
    InstanceState,
    autoscaling_backends,
)

from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.account import ACCOUNT_ID, REGION
from sluice_sim.embedded.instances import Instance

RECONCILE_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A group at one moment, in instances."""

    desired: int
    running: int
    booting: int


class Groups:
    """Every Auto Scaling group of the account."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._start: dict[str, Callable[[], Instance]] = {}
        self._boot_s: dict[str, float] = {}
        self._instances: dict[str, Instance] = {}
        self._in_service_since: dict[str, float] = {}
        clock.every(RECONCILE_S, self._reconcile_all)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """SetDesiredCapacity and what follows from it go through here while the context lasts."""
        groups = self

        def set_desired(_: AutoScalingBackend, group_name: str, desired_capacity: int | None) -> None:
            groups.set_desired(group_name, desired_capacity or 0)

        with mock.patch.object(AutoScalingBackend, "set_desired_capacity", set_desired):
            yield

    def run(self, group_name: str, *, boot_s: float, start: Callable[[], Instance]) -> None:
        """Give the group's instances, those it was created with too, a boot delay and something to do."""
        self._boot_s[group_name], self._start[group_name] = boot_s, start
        self._boot(self._group(group_name), self._group(group_name).instance_states)

    def set_desired(self, group_name: str, desired: int) -> None:
        """As the API: out of bounds is a ValidationError, and nothing changes."""
        group, (minimum, maximum) = self._group(group_name), self.bounds(group_name)
        if desired < minimum:
            raise ValidationError(
                f"New SetDesiredCapacity value {desired} is below min value {minimum} "
                f"for the AutoScalingGroup {group_name}."
            )
        if desired > maximum:
            raise ValidationError(
                f"New SetDesiredCapacity value {desired} is above max value {maximum} "
                f"for the AutoScalingGroup {group_name}."
            )
        group.desired_capacity = desired
        self._reconcile(group)

    def size(self, group_name: str) -> Size:
        """What the group asks for, and what it has."""
        states = [state.lifecycle_state for state in self._group(group_name).instance_states]
        return Size(
            desired=self._group(group_name).desired_capacity or 0,
            running=states.count("InService"),
            booting=states.count("Pending"),
        )

    def bounds(self, group_name: str) -> tuple[int, int]:
        """The group's own min and max."""
        group = self._group(group_name)
        return group.min_size or 0, group.max_size or 0

    def warmed(self, group_name: str, warmup_s: float) -> int:
        """Instances in service whose warm-up is over."""
        return sum(
            self._clock.now - self._in_service_since[state.instance.id] >= warmup_s
            for state in self._group(group_name).instance_states
            if state.lifecycle_state == "InService"
        )

    def suspended(self, group_name: str, process: str) -> bool:
        """Whether an operator suspended this process of the group."""
        return any(
            suspended["ProcessName"] == process for suspended in self._group(group_name).suspended_processes
        )

    def _group(self, group_name: str) -> FakeAutoScalingGroup:
        groups = self._backend().autoscaling_groups
        if group_name not in groups:
            raise ValidationError(
                f"AutoScalingGroup name not found - AutoScalingGroup {group_name} not found"
            )
        return groups[group_name]

    def _reconcile_all(self) -> None:
        for name in self._start:
            self._reconcile(self._group(name))

    def _reconcile(self, group: FakeAutoScalingGroup) -> None:
        """Launch or terminate towards the desired count, unless that process is suspended."""
        alive = [
            state for state in group.instance_states if state.lifecycle_state in ("Pending", "InService")
        ]
        missing = (group.desired_capacity or 0) - len(alive)
        if missing > 0 and not self.suspended(group.name, "Launch"):
            self._launch(group, missing)
        elif missing < 0 and not self.suspended(group.name, "Terminate"):
            spare = [state for state in alive if not state.protected_from_scale_in]
            # Those still booting go first: nobody waits for their work.
            spare.sort(key=lambda state: state.lifecycle_state != "Pending")
            for state in spare[:-missing]:
                self._terminate(group, state)

    def _launch(self, group: FakeAutoScalingGroup, count: int) -> None:
        before = len(group.instance_states)
        group.replace_autoscaling_group_instances(count, group.get_propagated_tags())
        self._boot(group, group.instance_states[before:])

    def _boot(self, group: FakeAutoScalingGroup, states: list[InstanceState]) -> None:
        for state in states:
            state.lifecycle_state = "Pending"
            ready = self._clock.now + self._boot_s[group.name]
            self._clock.at(ready, partial(self._in_service, group, state))

    def _in_service(self, group: FakeAutoScalingGroup, state: InstanceState) -> None:
        if state.lifecycle_state != "Pending":
            return  # terminated while it booted
        state.lifecycle_state = "InService"
        self._in_service_since[state.instance.id] = self._clock.now
        self._instances[state.instance.id] = self._start[group.name]()

    def _terminate(self, group: FakeAutoScalingGroup, state: InstanceState) -> None:
        """The lifecycle hook holds the instance in Terminating:Wait until it has finished its messages."""
        state.lifecycle_state = "Terminating:Wait"

        def gone() -> None:
            self._backend().ec2_backend.terminate_instances([state.instance.id])
            group.instance_states = [other for other in group.instance_states if other is not state]

        instance = self._instances.pop(state.instance.id, None)
        if instance is None:
            gone()
        else:
            instance.drain(gone)

    @staticmethod
    def _backend() -> AutoScalingBackend:
        backend: AutoScalingBackend = autoscaling_backends[ACCOUNT_ID][REGION]
        return backend
