"""Sluice as deployed with target tracking: its use cases, its alarms, and AWS's policy between 1 and N."""

from __future__ import annotations

from datetime import datetime

from sluice.core.model import Trigger
from sluice.errors import SluiceError
from sluice.events import Alarm, RetuneRequest
from sluice.ports import Ports
from sluice.usecases.alarms import (
    on_bootstrap_alarm,
    on_shutdown_alarm,
)
from sluice.usecases.retune import retune_targets
from sluice.usecases.tick import publish_backlog
from sluice_sim.account import arn
from sluice_sim.aws_rules.alarm_states import AlarmChange
from sluice_sim.aws_rules.scheduler import (
    Schedule,
    Scheduler,
)
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.ports import (
    RunReport,
    simulated_ports,
)
from sluice_sim.simulator.targets import (
    CurrentTarget,
    explain,
)
from sluice_sim.template.deployment import (
    BOOTSTRAP,
    SHUTDOWN,
    SettingError,
)

FUNCTION_S, RETUNE_S = 25.0, 275.0
MINUTE_S, HOUR_S = 60, 3600
PUBLISH, RETUNE = "sluice-PublishBacklogFunction", "sluice-RetuneTargetFunction"
"""The deployed names: with the same seed, a run and the embedded AWS draw the same lateness."""


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
        self._context = context
        self._aws = SimulatedAws(context, on_alarm=self._on_alarm)
        self._aws.create_alarms()
        self._aws.create_policy()
        self._ports: Ports = simulated_ports(self._aws)
        self.report = RunReport(context)
        context.target = self._target
        scheduler = Scheduler(context.clock, seed=context.seed)
        scheduler.start(PUBLISH, Schedule(period_s=self.tick_s), self._tick)
        scheduler.start(RETUNE, Schedule(period_s=HOUR_S), self._retune)

    def _tick(self, scheduled: datetime) -> None:
        publish_backlog(scheduled, self._ports, self.report, lambda: FUNCTION_S)

    def _retune(self, scheduled: datetime) -> None:  # noqa: ARG002 - a retune reads the current values
        request = RetuneRequest(trigger=Trigger.SCHEDULE)
        retune_targets(request, self._ports, self.report, lambda: RETUNE_S)

    def _target(self) -> CurrentTarget | None:
        if self._aws.target is None:
            return None
        settings = self._context.deployed.workload.target
        return explain(settings, self._aws.target, self.report.last_retune)

    def _on_alarm(self, action: str, change: AlarmChange) -> None:
        workload = self._context.deployed.workload
        alarm = Alarm(
            arn=arn("cloudwatch", f"alarm:{change.alarm.name}"),
            name=change.alarm.name,
            state=change.state.value,
            workload=workload.name,
        )
        handler = {BOOTSTRAP: on_bootstrap_alarm, SHUTDOWN: on_shutdown_alarm}.get(action)
        if handler is None:
            return
        try:
            handler(alarm, self._ports, self.report, lambda: FUNCTION_S)
        except SluiceError as failure:
            self.report.failures.append((self._context.fleet.now_s, str(failure)))
