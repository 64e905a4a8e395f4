"""Step: warn if a FIFO queue has fewer message groups in flight than its fleet has instances.

AWS's metrics for it are read for each workload in one minute of five. Nothing is acted on: the decision is
only logged.
"""

from __future__ import annotations

from sluice.core.fifo import (
    LOOK_BACK,
    decide_cap,
    is_due,
    may_exceed_groups,
)
from sluice.core.model import GroupMinute, Mode, Trigger, Unknown, Workload
from sluice.ports import Counter, Outcome, Series, SeriesQuery
from sluice.usecases.isolation import each_isolated
from sluice.usecases.observe import report_unknown
from sluice.usecases.tick_context import TickContext

VISIBLE = "ApproximateNumberOfMessagesVisible"
GROUPS_IN_FLIGHT = "ApproximateNumberOfGroupsWithInflightMessages"


def warn_idle_instances(tick: TickContext) -> None:
    """Log each FIFO workload whose turn it is and that runs more instances than groups are in flight."""
    due: dict[str, Workload] = {}

    def select(workload: Workload) -> None:
        has_turn = workload.mode is not Mode.PAUSED and is_due(workload, tick.minute)
        if has_turn and may_exceed_groups(workload, tick.observed[workload.name]):
            due[workload.name] = workload

    each_isolated(tick.workloads, Counter.OBSERVATION_FAILED, tick.report, select)
    if not due:
        return
    queries = {
        f"{name} {part}": query
        for name, workload in due.items()
        for part, query in _queries(workload).items()
    }
    series = tick.ports.metrics.read(queries, tick.minute - LOOK_BACK, tick.minute, tick.remaining_s)

    def decide(workload: Workload) -> None:
        name = workload.name
        minutes = _known(*(series[f"{name} {part}"] for part in _queries(workload)))
        if isinstance(minutes, Unknown):
            report_unknown(name, [minutes], tick.report)
        elif decision := decide_cap(workload, tick.observed[name], minutes, Trigger.TICK, minute=tick.minute):
            tick.report.decided(decision, Outcome.OBSERVED, workload.fleet)

    each_isolated(due, Counter.OBSERVATION_FAILED, tick.report, decide)


def _queries(workload: Workload) -> dict[str, SeriesQuery]:
    return {
        "waiting": SeriesQuery(metric=workload.queue_metric(VISIBLE), statistic="Minimum", period_s=60),
        "running": SeriesQuery(metric=workload.fleet.running_metric, statistic="Minimum", period_s=60),
        "groups": SeriesQuery(
            metric=workload.queue_metric(GROUPS_IN_FLIGHT), statistic="Maximum", period_s=60
        ),
    }


def _known(
    waiting: Series | Unknown, running: Series | Unknown, groups: Series | Unknown
) -> list[GroupMinute] | Unknown:
    """The minutes for which all three metrics are known."""
    if isinstance(waiting, Unknown):
        return waiting
    if isinstance(running, Unknown):
        return running
    if isinstance(groups, Unknown):
        return groups
    return [
        GroupMinute(at=at, waiting=waiting[at], running=running[at], groups=groups[at])
        for at in waiting.keys() & running.keys() & groups.keys()
    ]
