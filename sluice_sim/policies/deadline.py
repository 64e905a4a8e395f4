"""The deadline engine as it is deployed: its own use case, every tick.

Left out: the stack's bootstrap and shutdown alarms, which act only where the ticks have failed.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sluice.usecases.deadline_ticks import scale_by_deadline
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import ScalingContext, every
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.ports import RunReport, simulated_ports
from sluice_sim.template.deployment import parameter_text

FUNCTION_S = 25.0


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

    def _tick(self) -> None:
        moment = datetime.fromtimestamp(self._context.clock.now, UTC)
        workloads = (self._context.deployed.workload,)
        scale_by_deadline(moment, workloads, self._ports, self.report, lambda: FUNCTION_S)
