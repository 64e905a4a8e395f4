"""Step: the bootstraps and shutdowns that an alarm should have done.

Alarms act on transitions only; the tick looks at levels. The order rotates, so that no workload comes after
the same others every minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from sluice.core.bootstrap_shutdown import decide_bootstrap, decide_shutdown, reads_empty_above_min
from sluice.core.emptiness import tick_proof_end_minutes
from sluice.core.held_fields import Holds
from sluice.core.minutes import minutes_since_epoch
from sluice.core.model import Mode, Reason, Trigger, Unknown, Workload
from sluice.core.rotation import rotated
from sluice.core.target import initial_target
from sluice.ports import Counter, Outcome, first_half
from sluice.usecases.held_floors import held_floors
from sluice.usecases.isolation import each_isolated, isolated
from sluice.usecases.observe import report_unknown, schedule_in_force
from sluice.usecases.pauses import holds_in_force, pauses_in_force
from sluice.usecases.published_backlog import published_backlog
from sluice.usecases.resize import bootstrap, report_stuck_deployment, shutdown
from sluice.usecases.tick_context import NO_TIME_LEFT, TickContext, Workloads

Retries = Mapping[str, Callable[[], None]]
"""Workload name -> its bootstrap or shutdown."""


def retry_missed_alarms(tick: TickContext) -> None:
    """Do what an alarm should have done, each workload isolated from the others.

    Bootstraps come first, because messages wait for them; then shutdowns; then the workloads whose last retry
    failed in this process, fewest failures in a row first. Within each of these groups, every minute begins
    with another workload.
    """
    served = {name: workload for name, workload in tick.workloads.items() if workload.mode is not Mode.PAUSED}
    failures = dict(tick.ports.retry_failures)

    def run(retries: Retries, *, failed_before: bool) -> None:
        chosen = (name for name in retries if (name in failures) is failed_before)
        names = rotated(chosen, minutes_since_epoch(tick.minute))
        for name in sorted(names, key=lambda name: failures.get(name, 0)):
            _retry(name, retries[name], tick)

    bootstraps: Retries = {
        name: partial(retry_bootstrap, name, tick) for name in _missed_bootstraps(served, tick)
    }
    run(bootstraps, failed_before=False)
    proof_end_minutes = tick_proof_end_minutes(tick.minute)
    shutdowns: Retries = {
        name: partial(retry_shutdown, name, proof_end_minutes, tick)
        for name in _missed_shutdowns(served, proof_end_minutes, tick)
    }
    run(shutdowns, failed_before=False)
    retries = {**bootstraps, **shutdowns}
    run(retries, failed_before=True)
    for name in tick.workloads.keys() - retries.keys():
        # An alarm has done it meanwhile, or nothing is left to do.
        tick.ports.retry_failures.pop(name, None)


def retry_bootstrap(name: str, tick: TickContext) -> None:
    """Do what the bootstrap alarm would have done: read the document anew, observe and decide again."""
    workload = tick.ports.registry.one(name, tick.remaining_s)
    bootstrap(workload, tick.ports, Trigger.TICK, tick.report, tick.remaining_s)


def retry_shutdown(name: str, proof_end_minutes: Sequence[datetime], tick: TickContext) -> None:
    """Do what the shutdown alarm would have done: read the document anew, observe and decide again."""
    workload = tick.ports.registry.one(name, tick.remaining_s)
    shutdown(workload, proof_end_minutes, tick.ports, Trigger.TICK, tick.report, tick.remaining_s)


def _retry(name: str, retry: Callable[[], None], tick: TickContext) -> None:
    failures = tick.ports.retry_failures
    if tick.remaining_s() <= 0:
        tick.report.failed(name, Counter.ACTION_FAILED, NO_TIME_LEFT)
    elif isolated(name, Counter.ACTION_FAILED, tick.report, retry):
        failures.pop(name, None)
    else:
        failures[name] = failures.get(name, 0) + 1


def _missed_bootstraps(served: Workloads, tick: TickContext) -> list[str]:
    """Workloads that need a bootstrap; whatever blocks one is logged every minute.

    In mode observe the tick's own observation decides, without a further read: nothing is acted on.
    """
    missed = []
    held: dict[str, Workload] = {}

    def decide(workload: Workload, holds: Holds | None = None) -> None:
        decision = decide_bootstrap(
            workload,
            tick.observed[workload.name],
            Trigger.TICK,
            target_per_instance=initial_target(workload),
            pause=holds.pause if holds else None,
            guard=holds.guard if holds else None,
            schedule=schedule_in_force(workload, tick.observed[workload.name], tick.ports.now()),
        )
        if decision.reason is Reason.HELD and workload.name not in held:
            held[workload.name] = workload
        elif decision.desired is not None and workload.mode is Mode.OBSERVE:
            tick.report.decided(decision, Outcome.OBSERVED, workload.fleet)
        elif decision.desired is not None:
            missed.append(workload.name)
        elif decision.reason in (Reason.PAUSED, Reason.HELD, Reason.BOUNDS_DISJOINT, Reason.NO_ROOM):
            tick.report.decided(decision, Outcome.HELD, workload.fleet)

    each_isolated(served, Counter.ACTION_FAILED, tick.report, decide)
    # A pause or a guard may be what AWS names as the hold: the one says by whom, the other lets one start.
    holding = holds_in_force(tick.ports, held, first_half(tick.remaining_s))

    def decide_held(workload: Workload) -> None:
        holds = holding[workload.name]
        decide(workload, None if isinstance(holds, Unknown) else holds)

    each_isolated(held, Counter.ACTION_FAILED, tick.report, decide_held)
    return missed


def _missed_shutdowns(
    served: Workloads, proof_end_minutes: Sequence[datetime], tick: TickContext
) -> list[str]:
    """Workloads that may be shut down; floor and proof are read only if what was read would allow a shutdown.

    In mode observe the tick's own observation decides, without a further read: nothing is acted on.
    """
    idle: dict[str, Workload] = {}

    def select(workload: Workload) -> None:
        if reads_empty_above_min(workload, tick.observed[workload.name]):
            idle[workload.name] = workload

    each_isolated(served, Counter.ACTION_FAILED, tick.report, select)
    if tick.remaining_s() <= 0:
        for name in idle:
            tick.report.failed(name, Counter.ACTION_FAILED, NO_TIME_LEFT)
        return []
    # A DynamoDB or a CloudWatch that hangs may use up half of the time; the other half is left for acting.
    time_s = first_half(tick.remaining_s)
    paused = pauses_in_force(tick.ports, idle, first_half(time_s))
    floors = held_floors(tick.ports, idle, first_half(time_s))
    above = {
        name: workload
        for name, workload in idle.items()
        if reads_empty_above_min(workload, tick.observed[name], floors[name])
    }
    published = published_backlog(tick.ports, above, proof_end_minutes, time_s)
    missed = []

    def decide(workload: Workload) -> None:
        observation, floor = tick.observed[workload.name], floors[workload.name]
        proof, pause = published.get(workload.name, {}), paused[workload.name]
        decision = decide_shutdown(
            workload,
            observation,
            floor,
            proof,
            Trigger.TICK,
            proof_end_minutes=proof_end_minutes,
            pause=pause,
            schedule=schedule_in_force(workload, observation, tick.ports.now()),
        )
        if decision.desired is not None and workload.mode is Mode.OBSERVE:
            tick.report.decided(decision, Outcome.OBSERVED, workload.fleet)
        elif decision.desired is not None:
            missed.append(workload.name)
        else:
            tick.report.decided(decision, Outcome.HELD, workload.fleet)
            report_stuck_deployment(decision, tick.report)
            readings = (pause, floor, proof)
            if unknown := list(dict.fromkeys(one for one in readings if isinstance(one, Unknown))):
                report_unknown(workload.name, unknown, tick.report)

    each_isolated(idle, Counter.ACTION_FAILED, tick.report, decide)
    return missed
