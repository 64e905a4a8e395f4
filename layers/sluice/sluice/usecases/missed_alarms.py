"""What a tick puts right: the bootstraps and shutdowns that an alarm should have done.

Alarms act on transitions only; the tick looks at levels. Owns the order in which workloads have their turn,
so that no workload waits behind the same others every minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from sluice.core.emptiness import (
    before,
    turn_of,
)
from sluice.core.model import Mode, Observation, Reason, Trigger, Unknown, Workload
from sluice.core.rotation import rotated
from sluice.core.target import initial_target
from sluice.core.wake import decide_bootstrap, decide_shutdown, reads_empty_above_min
from sluice.ports import Counter, Outcome, RemainingS, Report, World, first_half
from sluice.usecases.isolation import (
    each_isolated,
    isolated,
)
from sluice.usecases.observe import report_unknown
from sluice.usecases.wake import (
    published_backlog,
    report_stuck_deployment,
    retry_bootstrap,
    retry_shutdown,
)

NO_TIME_LEFT = "no time left in this tick; the next one looks again"


Steps = Mapping[str, Callable[[], None]]
"""Workload name -> its repair."""


def repair(
    minute: datetime,
    workloads: Mapping[str, Workload],
    seen: Mapping[str, Observation],
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    """Do what an alarm should have done; each workload is on its own.

    Bootstraps come first, as messages wait for them; then shutdowns; then those whose last repair failed in
    this process, the fewest failures in a row first. Otherwise another workload begins each minute.
    """
    served = {name: workload for name, workload in workloads.items() if workload.mode is not Mode.PAUSED}
    failures = dict(world.repair_failures)

    def run(steps: Steps, *, failed_before: bool) -> None:
        names = rotated((name for name in steps if (name in failures) is failed_before), turn_of(minute))
        for name in sorted(names, key=lambda name: failures.get(name, 0)):
            _repair(name, steps[name], world, report, remaining_s)

    bootstraps: Steps = {
        name: partial(retry_bootstrap, name, world, report, remaining_s)
        for name in _missed_bootstraps(served, seen, report)
    }
    run(bootstraps, failed_before=False)
    proof_ends = before(minute)
    shutdowns: Steps = {
        name: partial(retry_shutdown, name, proof_ends, world, report, remaining_s)
        for name in _missed_shutdowns(served, seen, proof_ends, world, report, remaining_s)
    }
    run(shutdowns, failed_before=False)
    steps = {**bootstraps, **shutdowns}
    run(steps, failed_before=True)
    for name in workloads.keys() - steps.keys():
        world.repair_failures.pop(name, None)  # somebody else did it, or it is no longer needed


def _repair(
    name: str, step: Callable[[], None], world: World, report: Report, remaining_s: RemainingS
) -> None:
    if remaining_s() <= 0:
        report.failed(name, Counter.ACTION_FAILED, NO_TIME_LEFT)
    elif isolated(name, Counter.ACTION_FAILED, report, step):
        world.repair_failures.pop(name, None)
    else:
        world.repair_failures[name] = world.repair_failures.get(name, 0) + 1


def _missed_bootstraps(
    workloads: Mapping[str, Workload], seen: Mapping[str, Observation], report: Report
) -> list[str]:
    """Workloads that need a bootstrap; whatever blocks one is logged every minute.

    Where nothing may be acted on, the tick's own observation decides: no further read.
    """
    missed = []

    def decide(workload: Workload) -> None:
        target = initial_target(workload)
        decision = decide_bootstrap(workload, seen[workload.name], Trigger.TICK, target_per_instance=target)
        if decision.desired is not None and workload.mode is Mode.OBSERVE:
            report.decided(decision, Outcome.OBSERVED)
        elif decision.desired is not None:
            missed.append(workload.name)
        elif decision.reason in (Reason.HELD, Reason.BOUNDS_DISJOINT, Reason.NO_ROOM):
            report.decided(decision, Outcome.HELD)

    each_isolated(workloads, Counter.ACTION_FAILED, report, decide)
    return missed


def _missed_shutdowns(
    workloads: Mapping[str, Workload],
    seen: Mapping[str, Observation],
    proof_ends: Sequence[datetime],
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> list[str]:
    """Workloads that may be shut down; the proof is read only where the live reads alone would allow it.

    Where nothing may be acted on, the tick's own observation decides: no further read.
    """
    idle: dict[str, Workload] = {}

    def look(workload: Workload) -> None:
        if reads_empty_above_min(workload, seen[workload.name]):
            idle[workload.name] = workload

    each_isolated(workloads, Counter.ACTION_FAILED, report, look)
    if remaining_s() <= 0:
        for name in idle:
            report.failed(name, Counter.ACTION_FAILED, NO_TIME_LEFT)
        return []
    published = published_backlog(world, idle, proof_ends, first_half(remaining_s))
    missed = []

    def decide(workload: Workload) -> None:
        saw, proof = seen[workload.name], published[workload.name]
        decision = decide_shutdown(workload, saw, proof, Trigger.TICK, proof_ends=proof_ends)
        if decision.desired is not None and workload.mode is Mode.OBSERVE:
            report.decided(decision, Outcome.OBSERVED)
        elif decision.desired is not None:
            missed.append(workload.name)
        else:
            report.decided(decision, Outcome.HELD)
            report_stuck_deployment(decision, report)
            if isinstance(proof, Unknown):
                report_unknown(workload.name, [proof], report)

    each_isolated(idle, Counter.ACTION_FAILED, report, decide)
    return missed
