"""Simulated fleets for tests: a queue and a fleet on a clock of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sluice.core.model import Bounds
from sluice_sim.clock import VirtualClock
from sluice_sim.simulator.fleet import (
    Conditions,
    SimulatedFleet,
)
from sluice_sim.simulator.queue import SimulatedQueue
from sluice_sim.simulator.queue_kernel import Messages
from sluice_sim.simulator.run import _group_links

START_S = 1_000_800.0
"""A full hour."""


def simulated_fleet(
    arrival_s: Sequence[float],
    service_s: float | Sequence[float],
    *,
    boot_s: float | Sequence[float] = 0.0,
    groups: Sequence[int] | None = None,
    maximum: int = 2,
    seed: int = 0,
    **conditions: Any,
) -> SimulatedFleet:
    """A fleet at the start of its run; boot times may be given one by one."""
    arrivals = np.asarray(arrival_s, float)
    next_in_group, first = _group_links(None if groups is None else np.asarray(groups, np.int64))
    boots = iter(boot_s) if isinstance(boot_s, Sequence) else None
    settings = Conditions(boot_s=(lambda: next(boots)) if boots else (lambda: float(boot_s)), **conditions)
    queue = SimulatedQueue(
        messages=Messages(
            arrival_s=arrivals,
            service_s=np.broadcast_to(np.asarray(service_s, float), arrivals.shape).copy(),
            started_s=np.full(arrivals.size, math.nan),
            state=np.zeros(arrivals.size, np.uint8),
            receives=np.zeros(arrivals.size, np.uint16),
            next_in_group=next_in_group,
        ),
        clock=VirtualClock(START_S),
        concurrency=settings.concurrency,
        maximum=maximum,
        fleets=2,
        first_of_groups=first,
        visibility_timeout_s=settings.visibility_timeout_s,
        max_receives=settings.max_receives,
        delay_s=settings.delay_s,
        downstream=settings.downstream,
    )
    return SimulatedFleet(queue, settings, np.random.default_rng(seed), Bounds(min=0, max=maximum))


def beside(subject: SimulatedFleet) -> SimulatedFleet:
    """A second fleet on the queue of this one, with the same conditions and bounds."""
    return SimulatedFleet(
        subject.queue, subject.conditions, np.random.default_rng(9), subject.bounds, place=1
    )


def at(subject: SimulatedFleet, second: float) -> SimulatedFleet:
    """The fleet, advanced to this second of its run."""
    subject.queue.clock.run_until(START_S + second)
    subject.snapshot()
    return subject


def started(subject: SimulatedFleet) -> list[float | None]:
    """When the last attempt of each message began, in seconds."""
    return [None if math.isnan(one) else round(one, 6) for one in subject.queue.messages.started_s.tolist()]
