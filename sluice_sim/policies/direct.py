"""Sets the desired capacity directly from the backlog, with a cooldown in each direction.

Source: scalers like buildkite-agent-scaler: a function that runs every minute, divides the backlog by the
messages per instance, and sets the desired capacity. A scale-out waits five minutes after the previous one, a
scale-in an hour.

From 0 it starts by itself, with as many instances as the backlog needs.
"""

from __future__ import annotations

import math

from sluice_sim.simulator.context import (
    ScalingContext,
    every,
)
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.metrics import MINUTE_S

OUT_COOLDOWN_S = 300.0
IN_COOLDOWN_S = 3600.0


class Policy:
    """ceil(backlog / target) every minute, five minutes between scale-outs, an hour between scale-ins."""

    name = "direct"
    scale_in: ScaleIn | None = None
    tick_s = float(MINUTE_S)

    def attach(self, context: ScalingContext) -> None:
        """Run one function every tick."""
        self._context = context
        self._out_s = self._in_s = -math.inf
        every(context, self.tick_s, self._tick)

    def _tick(self) -> None:
        snapshot, context = self._context.observe(), self._context
        needed = math.ceil(snapshot.backlog / context.target_per_instance)
        wanted = min(max(needed, context.minimum), context.maximum)
        if wanted > snapshot.desired and snapshot.now_s >= self._out_s + OUT_COOLDOWN_S:
            self._out_s = snapshot.now_s
        elif wanted < snapshot.desired and snapshot.now_s >= self._in_s + IN_COOLDOWN_S:
            self._in_s = snapshot.now_s
        else:
            return
        context.set_desired(
            wanted, f"a backlog of {snapshot.backlog} at {context.target_per_instance:.3g} per instance"
        )
