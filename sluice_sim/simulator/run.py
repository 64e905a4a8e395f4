"""One run: a setting, a policy, and everything that happened.

Owns the beginning (the fleet at its minimum) and the end: the trace is over and the queue empty, or a week
has passed since. Deterministic: the same inputs give the same run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sluice_sim.clock import VirtualClock
from sluice_sim.simulator import queue_kernel
from sluice_sim.simulator.context import (
    Policy,
    Site,
    Told,
)
from sluice_sim.simulator.fleet import (
    Conditions,
    Instance,
    Look,
    Plant,
    ScaleIn,
)
from sluice_sim.simulator.queue_kernel import (
    Floats,
    Messages,
    Whole,
)
from sluice_sim.simulator.targets import TargetInForce
from sluice_sim.template.deployment import Deployed

START_S = 1_768_478_400.0
"""2026-01-15 12:00 UTC: where the clock of a run stands at its beginning, unless its trace says otherwise."""
GIVE_UP_S = 7 * 86_400.0
LOOK_S = 60.0
PEAK_WINDOW_S = 600.0

OnProgress = Callable[[float], None]
"""Told how much of the trace has been played, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What comes and how long it takes, seconds since the start; in the order of arrival."""

    arrival_s: Floats
    service_s: Floats
    horizon_s: float
    """Where the trace ends."""
    groups: Whole | None = None
    """FIFO queues: each message's group."""

    @property
    def mean_service_s(self) -> float:
        """Seconds a message takes on average; 1 where there is none."""
        return float(self.service_s.mean()) if self.service_s.size else 1.0

    @property
    def peak_rate_per_s(self) -> float:
        """Arrivals of the busiest ten minutes, per second."""
        if not self.arrival_s.size:
            return 0.0
        windows = (self.arrival_s // PEAK_WINDOW_S).astype(np.int64)
        return float(np.bincount(windows).max()) / PEAK_WINDOW_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What happened: every message, every instance, the fleet minute by minute, every decision."""

    policy: str
    load: Load
    messages: Messages
    promise_s: float
    instances: Sequence[Instance]
    gone_s: Floats
    looks: Sequence[Look]
    told: Sequence[Told]
    redelivered: int
    dead_letters: int
    end_s: float
    wall_s: float
    launches_refused: int = 0
    interruptions: int = 0
    concurrency: int = 1
    scale_in: ScaleIn = ScaleIn.DRAIN
    target: TargetInForce | None = None
    lost: int = 0
    """Messages that nobody holds and nobody processed, by identity."""


def simulate(
    deployed: Deployed,
    load: Load,
    conditions: Conditions,
    policy: Policy,
    *,
    promise_s: float,
    boot_s: float,
    seed: int = 0,
    start_s: float = START_S,
    count_lag_s: float = 0.0,
    on_progress: OnProgress = lambda _: None,
) -> Run:
    """Play the load against the policy; `boot_s` is what the operator would have measured beforehand."""
    began = time.perf_counter()
    clock = VirtualClock(start_s)
    count = load.arrival_s.size
    following, first = _chains(load.groups)
    messages = Messages(
        arrival_s=load.arrival_s,
        service_s=load.service_s,
        started_s=np.full(count, math.nan),
        state=np.zeros(count, np.uint8),
        receives=np.zeros(count, np.uint16),
        following=following,
    )
    plant = Plant(
        messages,
        conditions if policy.scale_in is None else replace(conditions, scale_in=policy.scale_in),
        clock,
        np.random.default_rng([seed, 1]),
        deployed.workload.bounds.max,
        first_of_groups=first,
    )
    site = Site(
        clock=clock,
        plant=plant,
        deployed=deployed,
        promise_s=promise_s,
        mean_service_s=load.mean_service_s,
        boot_s=boot_s,
        peak_rate_per_s=load.peak_rate_per_s,
        count_lag_s=count_lag_s,
        seed=seed,
    )
    looks: list[Look] = []
    clock.every(LOOK_S, lambda: looks.append(plant.look()), first=clock.now, priority=-1)
    plant.set_desired(deployed.workload.bounds.min)
    policy.attach(site)
    _play(clock, plant, load, start_s, on_progress)
    return Run(
        policy=policy.name,
        load=load,
        messages=messages,
        promise_s=promise_s,
        instances=plant.instances,
        gone_s=plant.gone_s(),
        looks=looks,
        told=site.told,
        redelivered=plant.redelivered,
        dead_letters=plant.dead_letters,
        end_s=plant.now_s,
        wall_s=time.perf_counter() - began,
        launches_refused=plant.launches_refused,
        interruptions=plant.interruptions,
        concurrency=conditions.concurrency,
        scale_in=plant.conditions.scale_in,
        target=site.target(),
        lost=plant.lost(),
    )


def _play(clock: VirtualClock, plant: Plant, load: Load, start_s: float, on_progress: OnProgress) -> None:
    step_s = max(LOOK_S, load.horizon_s / 200 // LOOK_S * LOOK_S)
    end = start_s + load.horizon_s
    while clock.now < end:  # not by seconds of the run: start + horizon - start need not be the horizon
        clock.run_until(min(clock.now + step_s, end))
        on_progress(min(1.0, plant.now_s / load.horizon_s))
    while plant.look().backlog and clock.now < end + GIVE_UP_S:
        clock.run_until(clock.now + LOOK_S)


def _chains(groups: Whole | None) -> tuple[Whole, Whole]:
    """The next message of each message's group, and the first of each group."""
    if groups is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    following = np.full(groups.size, queue_kernel.NOBODY, np.int64)
    order = np.argsort(groups, kind="stable")
    same = groups[order[1:]] == groups[order[:-1]]
    following[order[:-1][same]] = order[1:][same]
    _, first = np.unique(groups, return_index=True)
    return following, np.sort(first)
