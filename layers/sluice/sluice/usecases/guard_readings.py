"""Step: the signals of each guarded workload's downstream, in few calls for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sluice.core.guard import WINDOW_MINUTES, AlarmState, Ended, GuardReadings, dead_letters_per_minute
from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import GuardSettings, Metric, Unknown
from sluice.ports import Ports, RemainingS, Series, SeriesQuery, first_half
from sluice.usecases.tick_context import Workloads

SUCCESS, FAILED = "success", ("failure", "timeout")
"""The values of the workers' dimension Outcome."""
GROWTH_MINUTES = 2 * WINDOW_MINUTES
"""SQS publishes late, so the window of the growth ends with what it has published."""
Guarded = Mapping[str, GuardSettings]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """A workload's signals, and those of them that AWS did not tell: no message at all is no failure."""

    readings: GuardReadings
    unread: tuple[Unknown, ...]


def read_signals(workloads: Workloads, ports: Ports, remaining_s: RemainingS) -> Mapping[str, Signals]:
    """The signals of each workload; what is not watched is None, what was not read in time Unknown."""
    guarded = {name: workload.guard for name, workload in workloads.items() if workload.guard is not None}
    now = ports.now()
    end = minute_of(now)
    alarms = _alarms(guarded, ports, first_half(remaining_s))
    outcomes = _outcome_queries(workloads, guarded)
    counts = ports.metrics.read(outcomes, end - WINDOW_MINUTES * MINUTE, end, first_half(remaining_s))
    queues = _depth_queries(guarded)
    depths = ports.metrics.read(queues, end - GROWTH_MINUTES * MINUTE, end, first_half(remaining_s))

    def signals(name: str, settings: GuardSettings) -> Signals:
        ended = None if settings.failed_percent is None else _ended(name, counts)
        depth = depths.get(name)
        alarm = None if settings.alarm_name is None else alarms[settings.alarm_name]
        return Signals(
            readings=GuardReadings(ended=ended, dead_letters_per_minute=_growth(depth, now), alarm=alarm),
            unread=tuple(each for each in (ended, depth, alarm) if isinstance(each, Unknown)),
        )

    return {name: signals(name, settings) for name, settings in guarded.items()}


def _alarms(guarded: Guarded, ports: Ports, remaining_s: RemainingS) -> Mapping[str, AlarmState | Unknown]:
    names = {settings.alarm_name for settings in guarded.values() if settings.alarm_name is not None}
    if not names:
        return {}
    if ports.alarms is None:
        return dict.fromkeys(names, Unknown(reason="this function reads no alarms"))
    return ports.alarms.read(sorted(names), remaining_s)


def _outcome_queries(workloads: Workloads, guarded: Guarded) -> dict[str, SeriesQuery]:
    return {
        _query_name(name, outcome): SeriesQuery(
            metric=workloads[name].ended_metric(outcome), statistic="SampleCount", period_s=60
        )
        for name, settings in guarded.items()
        if settings.failed_percent is not None
        for outcome in (SUCCESS, *FAILED)
    }


def _query_name(name: str, outcome: str) -> str:
    return f"{name} {outcome}"


def _depth_queries(guarded: Guarded) -> dict[str, SeriesQuery]:
    return {
        name: SeriesQuery(
            metric=Metric(
                namespace="AWS/SQS",
                name="ApproximateNumberOfMessagesVisible",
                dimensions={"QueueName": settings.dead_letter_queue},
            ),
            statistic="Maximum",
            period_s=60,
        )
        for name, settings in guarded.items()
        if settings.dead_letters_per_minute is not None and settings.dead_letter_queue is not None
    }


def _ended(name: str, counts: Mapping[str, Series | Unknown]) -> Ended | Unknown:
    """The messages that ended; an outcome without data did not occur."""
    messages = dict[str, float]()
    for outcome in (SUCCESS, *FAILED):
        found = counts[_query_name(name, outcome)]
        if isinstance(found, Unknown):
            return found
        messages[outcome] = sum(found.values())
    failed = sum(messages[outcome] for outcome in FAILED)
    return Ended(messages=messages[SUCCESS] + failed, failed=failed)


def _growth(depths: Series | Unknown | None, now: datetime) -> float | Unknown | None:
    return depths if depths is None or isinstance(depths, Unknown) else dead_letters_per_minute(depths, now)
