"""The deployed control plane beside a simulated run: the stack's alarms, the minute's tick, the retune."""

from __future__ import annotations

from datetime import datetime

from sluice.core.model import Trigger
from sluice.errors import SluiceError
from sluice.events import Alarm, RetuneRequest
from sluice.usecases.alarms import (
    on_bootstrap_alarm,
    on_shutdown_alarm,
)
from sluice.usecases.retune import retune_targets
from sluice_sim.account import arn
from sluice_sim.aws_rules.alarm_states import AlarmChange
from sluice_sim.aws_rules.scheduler import (
    Schedule,
    Scheduler,
    Target,
)
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.ports import (
    RunReport,
    simulated_ports,
)
from sluice_sim.template.deployment import (
    BOOTSTRAP,
    SHUTDOWN,
)

FUNCTION_S, RETUNE_S = 25.0, 275.0
MINUTE_S, HOUR_S = 60, 3600
PUBLISH, RETUNE = "sluice-PublishBacklogFunction", "sluice-RetuneTargetFunction"
"""The deployed names: with the same seed, a run and the embedded AWS draw the same lateness."""


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

    def _retune(self, scheduled: datetime) -> None:  # noqa: ARG002 - a retune reads the current values
        request = RetuneRequest(trigger=Trigger.SCHEDULE)
        retune_targets(request, self.ports, self.report, lambda: RETUNE_S)

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
