"""KEDA's SQS scaler: KEDA itself between 0 and 1, Kubernetes' HorizontalPodAutoscaler from 1 to N.

Source: the documentation of KEDA's aws-sqs-queue trigger and of the HorizontalPodAutoscaler (algorithm and
default behaviour). Counted are visible messages and those in flight, as by default; delayed ones are not.
The autoscaler asks for ceil(messages / target), unless the present count is within the tolerance of it; down
it follows the highest wish of its stabilisation window, up it at most doubles or adds four each period.

At 0 a poll that finds a message starts one instance; once none was found for the cooldown, all go.
"""

from __future__ import annotations

import math
from collections import deque

from sluice_sim.simulator.context import (
    Site,
    every,
)
from sluice_sim.simulator.fleet import (
    Look,
    ScaleIn,
)

POLL_S = 30.0
COOLDOWN_S = 300.0
SYNC_S = 15.0
"""Also the period of the autoscaler's scale-up rules."""
TOLERANCE_RATIO = 0.1
STABILISATION_S = 300.0
UP_FACTOR, UP_INSTANCES = 2, 4


class Policy:
    """KEDA with the HorizontalPodAutoscaler's defaults: poll 30 s, sync 15 s, stabilisation 300 s."""

    name = "keda"
    scale_in: ScaleIn | None = None

    def attach(self, site: Site) -> None:
        """The poll that wakes and sends home, and the autoscaler's loop."""
        self._site = site
        self._active_s = -math.inf
        self._wishes: deque[tuple[float, int]] = deque()
        every(site, POLL_S, self._poll)
        every(site, SYNC_S, self._sync)

    def _poll(self) -> None:
        look = self._site.view()
        if _messages(look):
            self._active_s = look.now_s
            if look.desired == 0:
                self._wishes.clear()
                self._site.ask(1, f"{_messages(look)} messages and nothing runs")
        elif look.desired and look.now_s - self._active_s >= COOLDOWN_S:
            self._site.ask(self._site.minimum, f"no message for {COOLDOWN_S:g} s")

    def _sync(self) -> None:
        look = self._site.view()
        if not look.desired:
            return
        wish = self._wish(look)
        self._wishes.append((look.now_s, wish))
        while self._wishes[0][0] <= look.now_s - STABILISATION_S:
            self._wishes.popleft()
        highest = max(wish for _, wish in self._wishes)
        most = max(UP_FACTOR * look.desired, look.desired + UP_INSTANCES)
        wanted = min(wish, most) if wish > look.desired else min(highest, look.desired)
        self._site.ask(max(wanted, 1), f"{_messages(look)} messages, {wish} wished for")

    def _wish(self, look: Look) -> int:
        load = _messages(look) / self._site.target_per_instance
        if abs(load / look.desired - 1) <= TOLERANCE_RATIO:
            return look.desired
        return max(math.ceil(load), 1)


def _messages(look: Look) -> int:
    return look.visible + look.in_flight
