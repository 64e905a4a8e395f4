"""Step: read from AWS why instances that are needed do not start, and log the reason.

Only fleets that lack instances while messages wait are read, so a healthy control plane makes no call.
Nothing is acted on, and what cannot be read is counted without failing the tick.
"""

from __future__ import annotations

from sluice.core.launch_failures import (
    decide_held_launch,
    decide_no_capacity,
    lacks_instances,
)
from sluice.core.model import Mode, Trigger, Unknown, Workload
from sluice.ports import Counter, Outcome
from sluice.usecases.isolation import each_isolated
from sluice.usecases.observe import report_unknown
from sluice.usecases.tick_context import TickContext


def report_launch_failures(tick: TickContext) -> None:
    """Log for each workload that lacks instances what blocks them, or why AWS's newest attempt failed."""
    ports, report = tick.ports, tick.report
    lacking: dict[str, Workload] = {}

    def select(workload: Workload) -> None:
        observation = tick.observed[workload.name]
        if workload.mode is Mode.PAUSED or not lacks_instances(observation):
            return
        if held := decide_held_launch(workload, observation, Trigger.TICK):
            report.decided(held, Outcome.HELD, workload.fleet)
        else:
            lacking[workload.name] = workload

    each_isolated(tick.workloads, Counter.OBSERVATION_FAILED, report, select)
    # Without time left the next tick reads them; the workload's age alarm fires meanwhile.
    if ports.launches is None or not lacking or tick.remaining_s() <= 0:
        return
    attempts = ports.launches.read({workload.fleet for workload in lacking.values()}, tick.remaining_s)
    refused: list[str] = []

    def decide(workload: Workload) -> None:
        name, of_fleet = workload.name, attempts[workload.fleet]
        if isinstance(of_fleet, Unknown):
            report_unknown(name, [of_fleet], report)
        elif decision := decide_no_capacity(
            workload, tick.observed[name], of_fleet, Trigger.TICK, now=ports.now()
        ):
            report.decided(decision, Outcome.HELD, workload.fleet)
            refused.append(name)

    each_isolated(lacking, Counter.OBSERVATION_FAILED, report, decide)
    if refused:
        report.event(
            Counter.NO_CAPACITY, f"{len(refused)} of {len(lacking)} that lack instances", len(refused)
        )
