"""EventBridge Scheduler: when a schedule's target starts, and which moment it stands for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sluice_sim.clock import VirtualClock

LATENESS_S = 3
"""EventBridge Scheduler starts its targets some seconds into the minute they stand for."""


def on_schedule(clock: VirtualClock, period_s: float, target: Callable[[datetime], object]) -> None:
    """Start the target at every whole period from now on, late; it is told the scheduled time."""

    def start() -> None:
        target(datetime.fromtimestamp(clock.now - LATENESS_S, UTC))

    first = (clock.now // period_s + 1) * period_s
    clock.every(period_s, start, first=first + LATENESS_S)
