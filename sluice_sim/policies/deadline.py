"""The deadline engine as it is deployed: its own use case at every tick, and the hourly retune.

Left out: the stack's bootstrap and shutdown alarms, which act only where the ticks have failed.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sluice.core.model import Trigger
from sluice.events import RetuneRequest
from sluice.usecases.deadline_ticks import scale_by_deadline
from sluice.usecases.retune import retune_targets
from sluice_sim.aws_rules.scheduler import Schedule, Scheduler
from sluice_sim.policies.sluice import FUNCTION_S, HOUR_S, RETUNE, RETUNE_S
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import ScalingContext, every
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.ports import RunReport, simulated_ports
from sluice_sim.template.deployment import parameter_text


class Policy:
    """The workload with `Scaling=deadline`, and the run's promise, processing time, boot and concurrency."""

    name = "deadline"
    scale_in: ScaleIn | None = ScaleIn.PROTECT
    tick_s = 10.0

    def attach(self, context: ScalingContext) -> None:
        """Deploy the workload with the deadline engine, and decide every tick."""
        context.deployed = context.deployed.changed(
            Scaling="deadline",
            AcceptableLatencySeconds=parameter_text(context.promise_s),
            ProcessingSeconds=parameter_text(context.mean_service_s),
            ConcurrencyPerInstance=parameter_text(context.concurrency),
            BootSeconds=parameter_text(max(1.0, round(context.boot_s))),
            TickSeconds=parameter_text(self.tick_s),
        )
        self._context = context
        self._ports = simulated_ports(SimulatedAws(context))
        self.report = RunReport(context)
        every(context, self.tick_s, self._tick)
        Scheduler(context.clock, seed=context.seed).start(RETUNE, Schedule(period_s=HOUR_S), self._retune)

    def _retune(self, scheduled: datetime) -> None:  # noqa: ARG002 - a retune reads the current values
        request = RetuneRequest(trigger=Trigger.SCHEDULE)
        retune_targets(request, self._ports, self.report, lambda: RETUNE_S)

    def _tick(self) -> None:
        moment = datetime.fromtimestamp(self._context.clock.now, UTC)
        workloads = (self._context.deployed.workload,)
        scale_by_deadline(moment, workloads, self._ports, self.report, lambda: FUNCTION_S)
