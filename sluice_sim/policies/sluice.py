"""Sluice as deployed with target tracking: its use cases, its alarms, and AWS's policy between 1 and N."""

from __future__ import annotations

from datetime import datetime

from sluice.usecases.tick import publish_backlog
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.control_plane import FUNCTION_S, MINUTE_S, ControlPlane
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.targets import (
    CurrentTarget,
    explain,
)
from sluice_sim.template.deployment import SettingError


class Policy:
    """The deployed control plane: tick, alarms and hourly retune."""

    name = "sluice"
    scale_in: ScaleIn | None = None
    tick_s: float = MINUTE_S
    """Whole minutes: EventBridge Scheduler has no finer resolution."""

    def attach(self, context: ScalingContext) -> None:
        """Create the stack's alarms and policy, and schedule ticks and retunes."""
        if self.tick_s % MINUTE_S:
            raise SettingError(
                f"a tick of {self.tick_s:g} s: the policy sluice is run by EventBridge Scheduler, in whole "
                "minutes; give a multiple of 60"
            )
        if context.deployed.workload.deadline is not None:  # which is the policy `deadline`
            context.deployed = context.deployed.changed(Scaling="target_tracking")
        self._plane = ControlPlane(context, self._tick, period_s=self.tick_s)
        self._plane.aws.create_policy()
        self.report = self._plane.report
        context.target = self._target

    def _tick(self, scheduled: datetime) -> None:
        publish_backlog(scheduled, self._plane.ports, self.report, lambda: FUNCTION_S)

    def _target(self) -> CurrentTarget | None:
        target = self._plane.aws.target
        if target is None:
            return None
        settings = self._plane.context.deployed.workload.target
        return explain(settings, target, self.report.last_retune)
