"""Step scaling on visible messages, with the default steps of a well-known construct.

Source: QueueProcessingService of the AWS CDK: no visible message -1, 100 or more +1, 500 or more +5, on the
metric's maximum over five minutes, and at least one task. Its second policy, on CPU, is omitted: it is
independent of the queue and counteracts this one. Application Auto Scaling's default cooldown blocks scale-in
steps, and scale-out steps except for the amount by which they exceed the previous one.

At 0 fewer than 100 messages would wait for ever, so the construct keeps one task, and so does this policy.
"""

from __future__ import annotations

import math

from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.target_tracking import (
    every_evaluation,
    newest_minutes,
    visible_metric,
)

STEPS_OUT = ((500, 5), (100, 1))
"""(visible messages from which the step applies, instances added), largest step first."""
STEP_IN = -1
PERIOD_MINUTES = 5
COOLDOWN_S = 300.0
MIN_FLEET = 1


class Policy:
    """Step scaling on visible messages: one more from 100, five more from 500, one fewer at none."""

    name = "step"
    scale_in: ScaleIn | None = None

    def attach(self, context: ScalingContext) -> None:
        """Evaluate one scale-out and one scale-in alarm every minute."""
        self._context = context
        SimulatedAws(context)
        self._out_until_s = self._in_until_s = -math.inf
        self._last_step = 0
        context.set_desired(max(context.fleet.desired, MIN_FLEET), "one instance is kept")
        every_evaluation(context, self._evaluate)

    def _evaluate(self) -> None:
        values = newest_minutes(self._context, visible_metric(self._context), PERIOD_MINUTES)
        if not values:
            return
        visible, now = max(values), self._context.fleet.now_s
        step = next((step for min_visible, step in STEPS_OUT if visible >= min_visible), 0)
        if step:
            self._out(step, visible, now)
        elif visible == 0 and now >= max(self._in_until_s, self._out_until_s):
            wanted = max(self._context.fleet.desired + STEP_IN, MIN_FLEET)
            self._context.set_desired(wanted, f"none visible for {PERIOD_MINUTES} minutes")
            self._in_until_s = now + COOLDOWN_S

    def _out(self, step: int, visible: float, now: float) -> None:
        added = step if now >= self._out_until_s else step - self._last_step
        if added > 0:
            self._context.set_desired(self._context.fleet.desired + added, f"{visible:g} visible")
            self._out_until_s, self._last_step = now + COOLDOWN_S, step
