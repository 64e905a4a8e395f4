"""The tick asks AWS why instances that are needed do not start, and tells its answer.

Owns whom to ask about: only fleets that lack instances while work waits, so a healthy plane makes no call.
Refuses to act, and to make a tick fail: what cannot be read is counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from sluice.core.launch_failures import (
    decide_held_launch,
    decide_no_capacity,
    lacks_instances,
)
from sluice.core.model import Mode, Observation, Trigger, Unknown, Workload
from sluice.ports import Counter, Outcome, RemainingS, Report, World
from sluice.usecases.isolation import each_isolated
from sluice.usecases.observe import report_unknown


def report_no_capacity(
    workloads: Mapping[str, Workload],
    seen: Mapping[str, Observation],
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    """Tell of each workload that lacks instances what holds them, or what AWS says of its newest attempt."""
    asked: dict[str, Workload] = {}

    def look(workload: Workload) -> None:
        saw = seen[workload.name]
        if workload.mode is Mode.PAUSED or not lacks_instances(saw):
            return
        if held := decide_held_launch(workload, saw, Trigger.TICK):
            report.decided(held, Outcome.HELD)
        else:
            asked[workload.name] = workload

    each_isolated(workloads, Counter.OBSERVATION_FAILED, report, look)
    # What was not asked for want of time is asked by the next tick; the age alarm rings meanwhile.
    if world.launches is None or not asked or remaining_s() <= 0:
        return
    attempts = world.launches.read({workload.fleet for workload in asked.values()}, remaining_s)
    refused: list[str] = []

    def judge(workload: Workload) -> None:
        name, of_fleet = workload.name, attempts[workload.fleet]
        if isinstance(of_fleet, Unknown):
            report_unknown(name, [of_fleet], report)
        elif decision := decide_no_capacity(workload, seen[name], of_fleet, Trigger.TICK, now=world.now()):
            report.decided(decision, Outcome.HELD)
            refused.append(name)

    each_isolated(asked, Counter.OBSERVATION_FAILED, report, judge)
    if refused:
        report.noted(Counter.NO_CAPACITY, f"{len(refused)} of {len(asked)} that lack instances", len(refused))
