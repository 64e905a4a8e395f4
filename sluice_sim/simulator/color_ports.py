"""Implements the ports of a switch between two colors over the fleets of one simulated run."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from sluice.core.held_fields import Fields
from sluice.core.model import AutoScalingGroup, Bounds, Color, ColoredFleet, Fleet, Unknown, Workload
from sluice.core.pause import ALARM_NOTIFICATION, IN_SUSPENDED, OUT_SUSPENDED
from sluice.core.surge import ScheduledActions, Surge
from sluice.errors import ConfigError
from sluice.ports import RemainingS
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import ScaleIn, SimulatedFleet

LEARNS_WITHIN_S = 10.0
"""Workers read the draining color this often, each at moments of its own."""
STALE_S = 5.0
"""What AWS tells of an instance's protection is up to so old (assumption)."""
SAMPLE_S = 1.0
DRAWS = 10
"""The random stream of when workers learn the color, and how old a reading is."""


def colors(workload: Workload) -> Iterator[tuple[Color, Fleet]]:
    """Both colors of a blue/green workload, the active one first; nothing for one fleet."""
    if workload.idle is not None:
        yield workload.idle.color.other, workload.fleet
        yield workload.idle.color, workload.idle.fleet


@dataclass(frozen=True, slots=True)
class SimulatedFreezes:
    """Implements `ports.Freezes`."""

    context: ScalingContext

    def fields(self, colored: ColoredFleet) -> Fields:
        """The fields as they are now; a fleet without a policy has those of its group or target alone."""
        own = (
            (ALARM_NOTIFICATION,)
            if isinstance(colored.fleet, AutoScalingGroup)
            else (OUT_SUSPENDED, IN_SUSPENDED)
        )
        return dict.fromkeys(own, False) | _known(self.context, colored.fleet).held

    def put(self, colored: ColoredFleet, fields: Fields) -> None:
        """Bring the fields to these values."""
        _known(self.context, colored.fleet).held = dict(fields)


@dataclass(frozen=True, slots=True)
class SimulatedColors:
    """Implements `ports.Colors`; the workers learn a draining color within LEARNS_WITHIN_S."""

    context: ScalingContext
    random: np.random.Generator

    def set_active(self, workload: str, color: Color) -> None:  # noqa: ARG002 - there is one
        """Make this color the active one."""
        deployed = self.context.deployed
        self.context.deployed = replace(deployed, workload=deployed.workload.with_active(color))

    def set_draining(self, workload: str, color: Color | None) -> bool:  # noqa: ARG002 - there is one
        """Tell the workers of this color to receive no more, None for neither; returns whether it is new."""
        deployed = self.context.deployed
        is_new = deployed.workload.draining is not color
        self.context.deployed = replace(deployed, workload=replace(deployed.workload, draining=color))
        for own, fleet in colors(deployed.workload):
            self.context.fleets[fleet].set_receiving(own is not color, self._learns_after_s)
        return is_new

    def _learns_after_s(self) -> float:
        return float(self.random.uniform(0.0, LEARNS_WITHIN_S))


@dataclass(slots=True)
class SimulatedOccupancy:
    """Implements `ports.Occupancy`: workers that protect their instance do so exactly while it is busy."""

    context: ScalingContext
    random: np.random.Generator
    _seen: deque[tuple[float, Mapping[Fleet, int]]] = field(default_factory=deque)

    def watch(self) -> None:
        """Sample from now on, so that a reading can be old."""
        self.context.clock.every(SAMPLE_S, self._sample, first=self.context.clock.now, priority=-2)

    def _sample(self) -> None:
        now = self.context.clock.now
        self._seen.append((now, {fleet: _protected(one) for fleet, one in self.context.fleets.items()}))
        while len(self._seen) > 1 and self._seen[1][0] <= now - STALE_S:
            self._seen.popleft()

    def busy(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, int | Unknown]:  # noqa: ARG002
        """How many instances of each fleet were protected a moment ago."""
        until = self.context.clock.now - self.random.uniform(0.0, STALE_S)
        told = {fleet: _protected(one) for fleet, one in self.context.fleets.items()}
        for at, seen in self._seen:
            if at > until:
                break
            told = dict(seen)
        return {fleet: told.get(fleet, Unknown(reason=f"AWS knows no {fleet}")) for fleet in fleets}

    def finishes(self, fleet: Fleet, remaining_s: RemainingS) -> bool | Unknown:  # noqa: ARG002
        """Whether a group drains its instances on scale-in, which takes a lifecycle hook."""
        simulated = _known(self.context, fleet)
        return isinstance(fleet, AutoScalingGroup) and simulated.conditions.scale_in is ScaleIn.DRAIN

    def refreshed(
        self,
        groups: Collection[AutoScalingGroup],
        remaining_s: RemainingS,  # noqa: ARG002 - no read takes time here
    ) -> Mapping[AutoScalingGroup, bool | Unknown]:
        """No group is refreshed: a simulation has no deployments."""
        return dict.fromkeys(groups, False)


@dataclass(frozen=True, slots=True)
class SimulatedSurges:
    """Implements `ports.Surges` without a surge: a switch only sets minimums."""

    context: ScalingContext

    def read(self, fleet: Fleet) -> ScheduledActions:
        """No scheduled action."""
        _known(self.context, fleet)
        return ScheduledActions()

    def schedule_end(self, fleet: Fleet, surge: Surge) -> None:
        """Raises ConfigError: nobody surges a simulation."""
        raise ConfigError(f"{fleet}: {surge} is not simulated")

    def cancel(self, fleet: Fleet, surge: Surge) -> None:
        """Nothing is there to cancel."""

    def set_minimum(self, fleet: Fleet, instances: int) -> None:
        """Set the fleet's minimum; a desired capacity below it is raised."""
        simulated = _known(self.context, fleet)
        if instances > simulated.bounds.max:
            raise ConfigError(f"ValidationError: {instances} is above {simulated.bounds.max} of {fleet}")
        simulated.bounds = Bounds(min=instances, max=simulated.bounds.max)
        if simulated.desired < instances:
            simulated.set_desired(instances)


def _known(context: ScalingContext, fleet: Fleet) -> SimulatedFleet:
    if fleet not in context.fleets:
        raise ConfigError(f"AWS knows no {fleet}")
    return context.fleets[fleet]


def _protected(fleet: SimulatedFleet) -> int:
    return fleet.size().busy if fleet.conditions.scale_in is ScaleIn.PROTECT else 0
