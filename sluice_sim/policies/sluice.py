"""Sluice as deployed with target tracking: its use cases, its alarms, and AWS's policy between 1 and N."""

from __future__ import annotations

from datetime import datetime

from sluice.core.model import Trigger
from sluice.errors import SluiceError
from sluice.events import Alarm, RetuneRequest
from sluice.usecases.alarms import (
    on_bootstrap_alarm,
    on_shutdown_alarm,
)
from sluice.usecases.guard_downstream import guard_downstream
from sluice.usecases.retune import retune_targets
from sluice.usecases.tick import publish_backlog
from sluice_sim.account import arn
from sluice_sim.aws_rules.alarm_states import AlarmChange
from sluice_sim.aws_rules.scheduler import (
    Schedule,
    Scheduler,
    Target,
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
from sluice_sim.switching import Switches
from sluice_sim.template.deployment import (
    BOOTSTRAP,
    SHUTDOWN,
    SettingError,
)

FUNCTION_S, RETUNE_S = 25.0, 275.0
MINUTE_S, HOUR_S = 60, 3600
PUBLISH, RETUNE = "sluice-PublishBacklogFunction", "sluice-RetuneTargetFunction"
GUARD = "sluice-GuardDownstreamFunction"
"""The deployed names: with the same seed, a run and the embedded AWS draw the same lateness."""


class Policy:
    """The deployed control plane: tick, alarms and hourly retune."""

    name = "sluice"
    scale_in: ScaleIn | None = None
    switches_colors = True
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


class ControlPlane:
    """What Sluice's stacks run, apart from scaling policies and ticks below a minute.

    `tick` serves a scheduled minute; `period_s` is a multiple of a minute, the resolution of EventBridge
    Scheduler.
    """

    def __init__(self, context: ScalingContext, tick: Target, *, period_s: float = MINUTE_S) -> None:
        self.context = context
        self.aws = SimulatedAws(context, on_alarm=self._on_alarm)
        self.aws.create_alarms()
        self.ports = simulated_ports(self.aws)
        self.report = RunReport(context)
        scheduler = Scheduler(context.clock, seed=context.seed)
        scheduler.start(PUBLISH, Schedule(period_s=period_s), tick)
        scheduler.start(RETUNE, Schedule(period_s=HOUR_S), self._retune)
        if context.switch_at_s is not None:
            self.switches = Switches(context, self.ports, self.report)
            context.clock.at(context.queue.began_s + context.switch_at_s, self.switches.begin)
        if context.deployed.workload.guard is not None:
            scheduler.start(GUARD, Schedule(period_s=MINUTE_S), self._guard)

    def _retune(self, scheduled: datetime) -> None:  # noqa: ARG002 - a retune reads the current values
        request = RetuneRequest(trigger=Trigger.SCHEDULE)
        retune_targets(request, self.ports, self.report, lambda: RETUNE_S)

    def _guard(self, scheduled: datetime) -> None:
        guard_downstream(scheduled, self.ports, self.report, lambda: FUNCTION_S)

    def _on_alarm(self, action: str, change: AlarmChange) -> None:
        alarm = Alarm(
            arn=arn("cloudwatch", f"alarm:{change.alarm.name}"),
            name=change.alarm.name,
            state=change.state.value,
            workload=self.context.deployed.workload.name,
        )
        handler = {BOOTSTRAP: on_bootstrap_alarm, SHUTDOWN: on_shutdown_alarm}.get(action)
        if handler is None:
            return
        try:
            handler(alarm, self.ports, self.report, lambda: FUNCTION_S)
        except SluiceError as failure:
            self.report.failures.append((self.context.fleet.now_s, str(failure)))
