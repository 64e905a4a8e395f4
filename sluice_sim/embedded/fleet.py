"""The lifecycle of a fleet on the virtual clock: instances or tasks boot, run, drain and terminate.

Shared by Auto Scaling groups and ECS services. What the AWS API shows of it is up to `FleetApi`, and so are
the bounds: this module accepts any desired count.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Protocol

from sluice_sim.aws_rules.policy_runner import Size
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.worker_protocol import Worker

RECONCILE_S = 10
"""Seconds between two comparisons of desired and actual capacity."""


class Lifecycle(StrEnum):
    """The lifecycle state of an instance or task."""

    BOOTING = "booting"
    RUNNING = "running"
    DRAINING = "draining"
    TERMINATED = "gone"


@dataclass(slots=True, kw_only=True, eq=False)
class Instance:
    """One instance or task; `since` is when its current state began. Times are epoch seconds."""

    state: Lifecycle
    since: float
    launched_at: float
    worker: Worker | None = None
    task_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Of a service's task."""

    @property
    def protected(self) -> bool:
        """Whether it is protected from scale-in."""
        return self.worker is not None and self.worker.protected


class FleetApi(Protocol):
    """The AWS API's view of a fleet: shows its instances, and knows what an operator has suspended."""

    def update(self, fleet: EmbeddedFleet, instance: Instance) -> None:
        """Show an instance's new lifecycle state."""
        ...

    def may_launch(self) -> bool:
        """False while launches are suspended."""
        ...

    def record_launch_failure(self, message: str, at: float) -> None:
        """Show that a launch failed at `at` (epoch seconds), with AWS's message."""
        ...

    def may_terminate(self) -> bool:
        """False while terminations are suspended."""
        ...


class EmbeddedFleet:
    """Instances or tasks that follow a desired count."""

    def __init__(
        self, clock: VirtualClock, api: FleetApi, *, boot_s: float, start: Callable[[], Worker]
    ) -> None:
        self._clock, self._api, self._boot_s, self._start = clock, api, boot_s, start
        self._instances: list[Instance] = []
        self._desired = 0
        self._replaced: list[Instance] = []
        self._billed_s = 0.0
        """Seconds billed for terminated instances."""
        self.ended_at_work = 0
        """Instances that were told to end while they worked on messages."""
        self.launch_failure: str | None = None
        """AWS's message while every launch fails; None while launches succeed."""
        clock.every(RECONCILE_S, self._reconcile)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All that have not terminated."""
        return tuple(self._instances)

    @property
    def busy(self) -> int:
        """How many work on messages, and are protected from scale-in meanwhile."""
        return sum(instance.protected for instance in self._instances)

    @property
    def deploying(self) -> bool:
        """True while a deployment still replaces instances."""
        return bool(self._replaced)

    @property
    def replacing(self) -> int:
        """How many instances a deployment has still to replace."""
        return len(self._replaced)

    def set_desired(self, desired: int) -> None:
        """Set the desired count, and launch or stop instances accordingly."""
        self._desired = desired
        self._reconcile()

    def start_deployment(self) -> None:
        """Start a deployment: every instance is replaced, and new ones start before old ones stop."""
        self._replaced = [
            instance
            for instance in self._instances
            if instance.state in (Lifecycle.BOOTING, Lifecycle.RUNNING)
        ]
        self._launch(len(self._replaced))

    def size(self) -> Size:
        """Desired, running and booting counts; during a deployment old and new instances both count."""
        states = [instance.state for instance in self._instances]
        return Size(
            desired=self._desired,
            running=states.count(Lifecycle.RUNNING),
            booting=states.count(Lifecycle.BOOTING),
        )

    def billed_s(self) -> float:
        """Instance-seconds so far, each instance from its launch to its termination."""
        return self._billed_s + sum(self._clock.now - instance.launched_at for instance in self._instances)

    def warmed(self, warmup_s: float) -> int:
        """Number of running instances whose warm-up is over."""
        return sum(
            instance.state is Lifecycle.RUNNING and self._clock.now - instance.since >= warmup_s
            for instance in self._instances
        )

    def _reconcile(self) -> None:
        self._finish_deployment()
        self._remove_exited()
        alive = [
            instance
            for instance in self._instances
            if instance.state in (Lifecycle.BOOTING, Lifecycle.RUNNING)
        ]
        missing = self._desired + len(self._replaced) - len(alive)
        if missing > 0 and self._api.may_launch():
            if self.launch_failure is None:
                self._launch(missing)
            else:
                self._api.record_launch_failure(self.launch_failure, self._clock.now)
        elif missing < 0 and self._api.may_terminate():
            # Booting instances stop first: they have no message in flight.
            for instance in sorted(alive, key=lambda instance: instance.state is not Lifecycle.BOOTING)[
                :-missing
            ]:
                self._stop(instance)

    def _finish_deployment(self) -> None:
        """Stop the old instances once enough new ones run."""
        old = set(map(id, self._replaced))
        fresh = [
            instance
            for instance in self._instances
            if instance.state is Lifecycle.RUNNING and id(instance) not in old
        ]
        if self._replaced and len(fresh) >= min(self._desired, len(self._replaced)):
            for instance in self._replaced:
                self._stop(instance)
            self._replaced = []

    def _remove_exited(self) -> None:
        """Remove instances whose worker exited by itself, as a health check would; new ones replace them."""
        for instance in list(self._instances):
            if (
                instance.state is Lifecycle.RUNNING
                and instance.worker is not None
                and not instance.worker.alive
            ):
                self._terminated(instance)

    def _launch(self, count: int) -> None:
        for _ in range(count):
            instance = Instance(state=Lifecycle.BOOTING, since=self._clock.now, launched_at=self._clock.now)
            self._instances.append(instance)
            self._api.update(self, instance)
            self._clock.at(self._clock.now + self._boot_s, partial(self._booted, instance))

    def _booted(self, instance: Instance) -> None:
        if instance.state is Lifecycle.BOOTING:  # otherwise it was stopped while it booted
            self._set_state(instance, Lifecycle.RUNNING)
            instance.worker = self._start()

    def _stop(self, instance: Instance) -> None:
        """Drain the instance before it terminates, as a lifecycle hook or task protection does."""
        if instance.state in (Lifecycle.DRAINING, Lifecycle.TERMINATED):
            return
        self.ended_at_work += instance.protected
        self._set_state(instance, Lifecycle.DRAINING)
        if instance.worker is None:
            self._terminated(instance)
        else:
            instance.worker.drain(partial(self._terminated, instance))

    def _terminated(self, instance: Instance) -> None:
        self._instances.remove(instance)
        self._billed_s += self._clock.now - instance.launched_at
        self._set_state(instance, Lifecycle.TERMINATED)

    def _set_state(self, instance: Instance, state: Lifecycle) -> None:
        instance.state, instance.since = state, self._clock.now
        self._api.update(self, instance)
