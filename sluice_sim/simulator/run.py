"""Runs one policy against one load and records everything that happened.

A run begins with the fleet at its minimum, which is that of the schedule in force if there are schedules. It
ends when the trace is over and the queue is empty, or a week after the trace. It is deterministic: the same
inputs give the same run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sluice.core.model import Bounds, Color, Fleet, Workload
from sluice_sim.clock import VirtualClock
from sluice_sim.simulator import queue_kernel, schedules
from sluice_sim.simulator.color_ports import colors
from sluice_sim.simulator.context import (
    BoundsSet,
    LogEntry,
    Policy,
    ScalingContext,
)
from sluice_sim.simulator.fleet import (
    Conditions,
    FleetSize,
    Instance,
    ScaleIn,
    SimulatedFleet,
    Snapshot,
    together,
)
from sluice_sim.simulator.queue import SimulatedQueue
from sluice_sim.simulator.queue_kernel import (
    Floats,
    Ints,
    Messages,
)
from sluice_sim.simulator.switches import PlayedSwitch
from sluice_sim.simulator.targets import CurrentTarget
from sluice_sim.template.deployment import Deployed

START_S = 1_768_478_400.0
"""2026-01-15 12:00 UTC: when a run starts, unless its trace has timestamps."""
FLEETS = (1, 9)
"""Random streams of the fleets; `study.experiment` names the others."""
GIVE_UP_S = 7 * 86_400.0
SNAPSHOT_INTERVAL_S = 60.0
PEAK_WINDOW_S = 600.0

OnProgress = Callable[[float], None]
"""Called with the share of the trace that is done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The messages of a run in order of arrival; times are seconds since the start."""

    arrival_s: Floats
    service_s: Floats
    horizon_s: float
    """When the trace ends."""
    groups: Ints | None = None
    """FIFO queues: the message group of each message."""

    @property
    def mean_service_s(self) -> float:
        """Mean service time in seconds; 1 without messages."""
        return float(self.service_s.mean()) if self.service_s.size else 1.0

    @property
    def peak_rate_per_s(self) -> float:
        """Arrivals per second in the busiest ten minutes."""
        if not self.arrival_s.size:
            return 0.0
        windows = (self.arrival_s // PEAK_WINDOW_S).astype(np.int64)
        return float(np.bincount(windows).max()) / PEAK_WINDOW_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The record of a run: messages, instances, a snapshot per minute, and the log of decisions."""

    policy: str
    load: Load
    messages: Messages
    promise_s: float
    instances: Sequence[Instance]
    terminated_s: Floats
    snapshots: Sequence[Snapshot]
    log: Sequence[LogEntry]
    redelivered: int
    dead_letters: int
    end_s: float
    wall_s: float
    cpu_s: float = 0.0
    """Seconds of processor time that the simulation took."""
    launches_refused: int = 0
    interruptions: int = 0
    warm_pool_size: int | None = None
    """None without a warm pool."""
    warm_pool_cost_s: float = 0.0
    """In seconds of a running instance."""
    concurrency: int = 1
    scale_in: ScaleIn = ScaleIn.DRAIN
    target: CurrentTarget | None = None
    failed_attempts: int = 0
    """Attempts that the downstream failed."""
    failed_s: float = 0.0
    """Seconds that slots spent on them."""
    sizes: Mapping[Color, Sequence[FleetSize]] = field(default_factory=dict)
    """The fleet of each color at each snapshot; empty for a workload with one fleet."""
    switches: Sequence[PlayedSwitch] = ()
    scheduled: Sequence[BoundsSet] = ()
    """What schedules set, from the beginning on; empty without schedules."""
    lost: int = 0
    """Messages neither processed nor held anywhere, counted by identity; 0 unless the simulator is wrong."""


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
    switch_at_s: float | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Run:
    """Run the policy against the load.

    `boot_s` is the mean boot time that the operator measured beforehand; `conditions` has the real ones. At
    `switch_at_s` a blue/green workload is switched to its other color, and the run ends after that at the
    earliest.
    """
    began, began_cpu = time.perf_counter(), time.process_time()
    clock = VirtualClock(start_s)
    if policy.scale_in is not None:
        conditions = replace(conditions, scale_in=policy.scale_in)
    context = ScalingContext(
        clock=clock,
        fleets=_new_fleets(load, conditions, clock, seed, deployed.workload),
        deployed=deployed,
        promise_s=promise_s,
        mean_service_s=load.mean_service_s,
        boot_s=boot_s,
        peak_rate_per_s=load.peak_rate_per_s,
        count_lag_s=count_lag_s,
        seed=seed,
        switch_at_s=switch_at_s,
    )
    snapshots: list[Snapshot] = []
    sizes: dict[Color, list[FleetSize]] = {color: [] for color, _ in colors(deployed.workload)}

    def record() -> None:
        snapshots.append(together(*context.fleets.values()))
        for color, its in colors(context.deployed.workload):
            sizes[color].append(context.fleets[its].size())

    # Before everything else at a full minute, so that a row shows the fleet before that minute's decisions.
    clock.every(
        SNAPSHOT_INTERVAL_S,
        record,
        first=clock.now,
        priority=-1,
    )
    schedules.play(context)
    context.fleet.set_desired(context.minimum)
    policy.attach(context)
    _run_clock(context, load, start_s, on_progress)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    return _record(policy, load, context, snapshots, sizes, wall_s=wall_s, cpu_s=cpu_s)


def _record(
    policy: Policy,
    load: Load,
    context: ScalingContext,
    snapshots: Sequence[Snapshot],
    sizes: Mapping[Color, Sequence[FleetSize]],
    *,
    wall_s: float,
    cpu_s: float,
) -> Run:
    queue, fleets = context.queue, context.fleets.values()
    pool = context.fleet.conditions.warm_pool
    return Run(
        policy=policy.name,
        load=load,
        messages=queue.messages,
        promise_s=context.promise_s,
        instances=[one for fleet in fleets for one in fleet.instances],
        terminated_s=np.concatenate([fleet.terminated_s() for fleet in fleets]),
        snapshots=snapshots,
        log=context.log,
        redelivered=queue.redelivered,
        dead_letters=queue.dead_letters,
        end_s=queue.now_s,
        wall_s=wall_s,
        cpu_s=cpu_s,
        launches_refused=sum(fleet.launches_refused for fleet in fleets),
        interruptions=sum(fleet.interruptions for fleet in fleets),
        warm_pool_size=None if pool is None else pool.size * len(fleets),
        warm_pool_cost_s=math.fsum(fleet.warm_pool_cost_s() for fleet in fleets),
        concurrency=context.concurrency,
        scale_in=context.fleet.conditions.scale_in,
        target=context.target(),
        failed_attempts=queue.failed_attempts,
        failed_s=queue.failed_s,
        sizes=sizes,
        switches=context.switches,
        scheduled=context.scheduled,
        lost=queue.lost(),
    )


def _new_fleets(
    load: Load, conditions: Conditions, clock: VirtualClock, seed: int, workload: Workload
) -> dict[Fleet, SimulatedFleet]:
    """A queue in which nothing has arrived yet, and its fleets without an instance."""
    count = load.arrival_s.size
    next_in_group, first = _group_links(load.groups)
    messages = Messages(
        arrival_s=load.arrival_s,
        service_s=load.service_s,
        started_s=np.full(count, math.nan),
        state=np.zeros(count, np.uint8),
        receives=np.zeros(count, np.uint16),
        next_in_group=next_in_group,
    )
    queue = SimulatedQueue(
        messages=messages,
        clock=clock,
        concurrency=conditions.concurrency,
        maximum=workload.bounds.max,
        fleets=len(workload.fleets),
        first_of_groups=first,
        visibility_timeout_s=conditions.visibility_timeout_s,
        max_receives=conditions.max_receives,
        delay_s=conditions.delay_s,
        downstream=conditions.downstream,
    )
    # A color that is not active has no minimum: it would start instances.
    low, high = workload.bounds.min, workload.bounds.max
    return {
        fleet: SimulatedFleet(
            queue,
            conditions,
            np.random.default_rng([seed, FLEETS[place]]),
            Bounds(min=0 if place else low, max=high),
            place,
        )
        for place, fleet in enumerate(workload.fleets)
    }


def _run_clock(context: ScalingContext, load: Load, start_s: float, on_progress: OnProgress) -> None:
    clock, queue = context.clock, context.queue
    step_s = max(SNAPSHOT_INTERVAL_S, load.horizon_s / 200 // SNAPSHOT_INTERVAL_S * SNAPSHOT_INTERVAL_S)
    end = start_s + load.horizon_s
    # Compared in epoch seconds: in floats, start + horizon - start may differ from the horizon.
    while clock.now < end:
        clock.run_until(min(clock.now + step_s, end))
        on_progress(min(1.0, queue.now_s / load.horizon_s))
    while (queue.counts().backlog or context.is_switching) and clock.now < end + GIVE_UP_S:
        clock.run_until(clock.now + SNAPSHOT_INTERVAL_S)


def _group_links(groups: Ints | None) -> tuple[Ints, Ints]:
    """For each message the next one of its group (NO_MESSAGE for the last), and the first of each group."""
    if groups is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    next_in_group = np.full(groups.size, queue_kernel.NO_MESSAGE, np.int64)
    order = np.argsort(groups, kind="stable")
    same = groups[order[1:]] == groups[order[:-1]]
    next_in_group[order[:-1][same]] = order[1:][same]
    _, first = np.unique(groups, return_index=True)
    return next_in_group, np.sort(first)
