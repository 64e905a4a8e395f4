"""A group or a service as its target-tracking policy sees it."""

from __future__ import annotations

from dataclasses import dataclass

from sluice_sim.aws_rules.policy_runner import Size
from sluice_sim.embedded.groups import AutoScalingGroups
from sluice_sim.embedded.services import EcsServices


@dataclass(frozen=True, slots=True)
class EmbeddedScalingTarget:
    """Keeps `steering.SteeredFleet`; a service is named by its resource id."""

    fleets: AutoScalingGroups | EcsServices
    name: str

    def size(self) -> Size:
        """What is asked for and what there is."""
        return self.fleets.fleet(self.name).size()

    def bounds(self) -> tuple[int, int]:
        """The group's own bounds, or the scalable target's."""
        return self.fleets.bounds(self.name)

    def warmed(self, warmup_s: float) -> int:
        """Running instances whose warm-up is over."""
        return self.fleets.fleet(self.name).warmed(warmup_s)

    def deploying(self) -> bool:
        """Whether a deployment still replaces instances."""
        return self.fleets.fleet(self.name).deploying

    def suspended(self, what: str) -> bool:
        """Whether this process of the group, or this direction of the scalable target, is suspended."""
        return self.fleets.suspended(self.name, what)

    def set_desired(self, desired: int) -> None:
        """Ask for this many."""
        self.fleets.set_desired(self.name, desired)
