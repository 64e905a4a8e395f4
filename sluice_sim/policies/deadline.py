"""The deadline engine as it is deployed: its use case at every tick, beside the rest of the control plane.

Left out: the policy that scales out while Sluice is silent, which a simulated one never is.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sluice.core.model import Workload
from sluice.usecases.deadline_ticks import scale_by_deadline
from sluice.usecases.serve_workloads import serve_workloads
from sluice_sim.policies.sluice import FUNCTION_S, ControlPlane
from sluice_sim.simulator.context import ScalingContext, every
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.template.deployment import parameter_text


class Policy:
    """The workload with `Scaling=deadline`, and the run's promise, processing time, boot and concurrency."""

    name = "deadline"
    scale_in: ScaleIn | None = ScaleIn.PROTECT
    switches_colors = True
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
        self._plane = ControlPlane(context, self._minute)
        self._context, self.report = context, self._plane.report
        every(context, self.tick_s, self._tick)

    def _workloads(self) -> tuple[Workload]:
        return (self._context.deployed.workload,)

    def _minute(self, scheduled: datetime) -> None:
        # Not `publish_backlog`, which would also queue the ticks below a minute: they are on the clock.
        serve_workloads(scheduled, self._workloads(), self._plane.ports, self.report, lambda: FUNCTION_S)

    def _tick(self) -> None:
        moment = datetime.fromtimestamp(self._context.clock.now, UTC)
        scale_by_deadline(moment, self._workloads(), self._plane.ports, self.report, lambda: FUNCTION_S)
