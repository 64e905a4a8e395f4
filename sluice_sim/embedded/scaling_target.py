"""An embedded group or service as the scaling target of a target-tracking policy."""

from __future__ import annotations

from dataclasses import dataclass

from sluice_sim.aws_rules.ecs_target_tracking import NotScaled
from sluice_sim.aws_rules.policy_runner import SCALE_IN, Size
from sluice_sim.embedded.groups import AutoScalingGroups
from sluice_sim.embedded.services import EcsServices


@dataclass(slots=True)
class EmbeddedScalingTarget:
    """Implements `policy_runner.ScalingTarget`; `name` is a group's name or a service's resource id."""

    fleets: AutoScalingGroups | EcsServices
    name: str
    enabled: bool = True
    """Whether the policy is enabled; only policies of groups can be disabled."""
    scale_in_disabled: bool = False
    """`DisableScaleIn` of a group's policy as it is now."""

    def size(self) -> Size:
        """Desired, running and booting counts."""
        return self.fleets.fleet(self.name).size()

    def bounds(self) -> tuple[int, int]:
        """Minimum and maximum of the group or the scalable target."""
        return self.fleets.bounds(self.name)

    def warmed(self, warmup_s: float) -> int:
        """Number of running instances whose warm-up is over."""
        return self.fleets.fleet(self.name).warmed(warmup_s)

    def deploying(self) -> bool:
        """Whether a deployment is in progress."""
        return self.fleets.fleet(self.name).deploying

    def suspended(self, what: str) -> bool:
        """Whether this process of the group, or this direction of the scalable target, is suspended."""
        if what == SCALE_IN:
            return self.scale_in_disabled
        return not self.enabled or self.fleets.suspended(self.name, what)

    def set_desired(self, desired: int, cause: str) -> None:
        """Set the desired count."""
        self.fleets.set_desired(self.name, desired, cause)

    def not_scaled(self, reason: NotScaled, cause: str) -> None:
        """Note an activity without effect; EC2 Auto Scaling has none."""
        if isinstance(self.fleets, EcsServices):
            self.fleets.not_scaled(self.name, reason, cause)
