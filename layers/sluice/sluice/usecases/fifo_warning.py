"""The tick looks whether a FIFO queue has fewer message groups in work than its fleet has instances.

Owns the reading of AWS's metrics for it, each workload in one minute of five. Refuses to act: it tells what
it would decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sluice.core.fifo import (
    LOOK_BACK,
    decide_cap,
    is_due,
    may_exceed_groups,
)
from sluice.core.model import GroupMinute, Mode, Observation, Trigger, Unknown, Workload
from sluice.ports import Counter, Outcome, RemainingS, Report, Series, SeriesQuery, World
from sluice.usecases.isolation import each_isolated
from sluice.usecases.observe import report_unknown

VISIBLE = "ApproximateNumberOfMessagesVisible"
GROUPS_IN_FLIGHT = "ApproximateNumberOfGroupsWithInflightMessages"


def tell_idle_instances(
    minute: datetime,
    workloads: Mapping[str, Workload],
    seen: Mapping[str, Observation],
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    """Tell each FIFO workload whose turn it is and of which more instances run than groups are in work."""
    asked: dict[str, Workload] = {}

    def look(workload: Workload) -> None:
        due = workload.mode is not Mode.PAUSED and is_due(workload, minute)
        if due and may_exceed_groups(workload, seen[workload.name]):
            asked[workload.name] = workload

    each_isolated(workloads, Counter.OBSERVATION_FAILED, report, look)
    if not asked:
        return
    queries = {
        f"{name} {part}": query
        for name, workload in asked.items()
        for part, query in _queries(workload).items()
    }
    series = world.metrics.read(queries, minute - LOOK_BACK, minute, remaining_s)

    def judge(workload: Workload) -> None:
        name = workload.name
        minutes = _known(*(series[f"{name} {part}"] for part in _queries(workload)))
        if isinstance(minutes, Unknown):
            report_unknown(name, [minutes], report)
        elif decision := decide_cap(workload, seen[name], minutes, Trigger.TICK, minute=minute):
            report.decided(decision, Outcome.OBSERVED)

    each_isolated(asked, Counter.OBSERVATION_FAILED, report, judge)


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
    """The minutes of which all three are known."""
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
