"""KEDA's SQS scaler: KEDA itself between 0 and 1, Kubernetes' HorizontalPodAutoscaler from 1 to N.

Source: the documentation of KEDA's aws-sqs-queue trigger. Visible messages and messages in flight count, as
by default; delayed ones do not. The autoscaler asks for ceil(messages / target).

From 0 a poll that finds a message starts one instance; without messages for the cooldown, it scales to the
minimum.
"""

from __future__ import annotations

import math

from sluice_sim.simulator.context import (
    ScalingContext,
    every,
)
from sluice_sim.simulator.fleet import (
    ScaleIn,
    Snapshot,
)
from sluice_sim.simulator.pod_autoscaler import SYNC_S, PodAutoscaler, for_average_value

POLL_S = 30.0
COOLDOWN_S = 300.0


class Policy:
    """KEDA with the HorizontalPodAutoscaler's defaults: poll 30 s, sync 15 s, stabilisation 300 s."""

    name = "keda"
    scale_in: ScaleIn | None = None

    def attach(self, context: ScalingContext) -> None:
        """Schedule KEDA's poll, which scales between 0 and 1, and the autoscaler's loop."""
        self._context = context
        self._active_s = -math.inf
        self._autoscaler = PodAutoscaler()
        every(context, POLL_S, self._poll)
        every(context, SYNC_S, self._sync)

    def _poll(self) -> None:
        snapshot = self._context.observe()
        if _messages(snapshot):
            self._active_s = snapshot.now_s
            if snapshot.desired == 0:
                self._autoscaler.forget()
                self._context.set_desired(1, f"{_messages(snapshot)} messages and nothing runs")
        elif snapshot.desired and snapshot.now_s - self._active_s >= COOLDOWN_S:
            self._context.set_desired(self._context.minimum, f"no message for {COOLDOWN_S:g} s")

    def _sync(self) -> None:
        snapshot = self._context.observe()
        if not snapshot.desired:
            return
        messages = _messages(snapshot)
        recommended = for_average_value(messages, self._context.target_per_instance, snapshot.desired)
        wanted = self._autoscaler.desired(recommended, snapshot.desired, snapshot.now_s)
        self._context.set_desired(wanted, f"{messages} messages, {recommended} wished for")


def _messages(snapshot: Snapshot) -> int:
    return snapshot.visible + snapshot.in_flight
