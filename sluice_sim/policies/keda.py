"""KEDA's SQS scaler: KEDA itself between 0 and 1, Kubernetes' HorizontalPodAutoscaler from 1 to N.

Source: the documentation of KEDA's aws-sqs-queue trigger and of the HorizontalPodAutoscaler (algorithm and
default behaviour). Visible messages and messages in flight count, as by default; delayed ones do not. The
autoscaler recommends ceil(messages / target), unless the current count is within the tolerance. When scaling
down it follows the highest recommendation of its stabilisation window; when scaling up it at most doubles or
adds four per period.

From 0 a poll that finds a message starts one instance; without messages for the cooldown, it scales to the
minimum.
"""

from __future__ import annotations

import math
from collections import deque

from sluice_sim.simulator.context import (
    ScalingContext,
    every,
)
from sluice_sim.simulator.fleet import (
    ScaleIn,
    Snapshot,
)

POLL_S = 30.0
COOLDOWN_S = 300.0
SYNC_S = 15.0
"""Sync period, and also the period of the autoscaler's scale-up rules."""
TOLERANCE_RATIO = 0.1
STABILISATION_S = 300.0
UP_FACTOR, UP_INSTANCES = 2, 4


class Policy:
    """KEDA with the HorizontalPodAutoscaler's defaults: poll 30 s, sync 15 s, stabilisation 300 s."""

    name = "keda"
    scale_in: ScaleIn | None = None

    def attach(self, context: ScalingContext) -> None:
        """Schedule KEDA's poll, which scales between 0 and 1, and the autoscaler's loop."""
        self._context = context
        self._active_s = -math.inf
        self._recommendations: deque[tuple[float, int]] = deque()
        every(context, POLL_S, self._poll)
        every(context, SYNC_S, self._sync)

    def _poll(self) -> None:
        snapshot = self._context.observe()
        if _messages(snapshot):
            self._active_s = snapshot.now_s
            if snapshot.desired == 0:
                self._recommendations.clear()
                self._context.set_desired(1, f"{_messages(snapshot)} messages and nothing runs")
        elif snapshot.desired and snapshot.now_s - self._active_s >= COOLDOWN_S:
            self._context.set_desired(self._context.minimum, f"no message for {COOLDOWN_S:g} s")

    def _sync(self) -> None:
        snapshot = self._context.observe()
        if not snapshot.desired:
            return
        desired = self._desired(snapshot)
        self._recommendations.append((snapshot.now_s, desired))
        while self._recommendations[0][0] <= snapshot.now_s - STABILISATION_S:
            self._recommendations.popleft()
        highest = max(desired for _, desired in self._recommendations)
        max_desired = max(UP_FACTOR * snapshot.desired, snapshot.desired + UP_INSTANCES)
        wanted = min(desired, max_desired) if desired > snapshot.desired else min(highest, snapshot.desired)
        self._context.set_desired(max(wanted, 1), f"{_messages(snapshot)} messages, {desired} wished for")

    def _desired(self, snapshot: Snapshot) -> int:
        load = _messages(snapshot) / self._context.target_per_instance
        if abs(load / snapshot.desired - 1) <= TOLERANCE_RATIO:
            return snapshot.desired
        return max(math.ceil(load), 1)


def _messages(snapshot: Snapshot) -> int:
    return snapshot.visible + snapshot.in_flight
