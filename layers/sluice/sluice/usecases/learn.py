"""Step of the retune: what the deadline engine learns of each of its workloads from the workers' metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sluice.core.deadline.boots import measured_boots
from sluice.core.deadline.learning import Measured, Waits, learn
from sluice.core.model import Durations, Metric, Unknown, Workload
from sluice.core.target import weighted
from sluice.errors import ConfigError, TransientError
from sluice.ports import (
    Counter,
    Outcome,
    Ports,
    RemainingS,
    Report,
    Series,
    SeriesQuery,
    StoredState,
    first_half,
)
from sluice.usecases.isolation import each_isolated, read_isolated
from sluice.usecases.tick_context import Workloads

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)
AVERAGE, MEDIAN, SAMPLES, HIGH = "Average", "p50", "SampleCount", "p99.5"


def learn_hourly(workloads: Workloads, ports: Ports, report: Report, remaining_s: RemainingS) -> list[str]:
    """Learn from the last full hour and the day before its end; returns the workloads that failed.

    Hours are the clock's, so that each counts once however often this runs.
    """
    if not workloads:
        return []
    if ports.states is None:
        raise ConfigError(
            "this function knows no table of the deadline engine's states: template.yaml sets "
            "SLUICE_STATE_TABLE for retune_target"
        )
    end = ports.now().replace(minute=0, second=0, microsecond=0)
    queries = {
        f"{name} {metric.name} {statistic}": SeriesQuery(
            metric=metric, statistic=statistic, period_s=int(HOUR.total_seconds())
        )
        for name, workload in workloads.items()
        for metric, statistic in _queries(workload)
    }
    series = ports.metrics.read(queries, end - DAY, end, first_half(remaining_s))
    stored = ports.states.read(list(workloads), first_half(remaining_s))
    failed: list[str] = []

    def one(workload: Workload) -> None:
        failed.append(workload.name)
        if remaining_s() <= 0:
            raise TransientError("no time left in this round; the next hour learns from the day again")
        _learn(workload, stored[workload.name], series, end, ports, report)
        failed.remove(workload.name)

    each_isolated(workloads, Counter.RETUNE_FAILED, report, one)
    return failed


def in_time(promise_s: float) -> str:
    """CloudWatch's statistic for the percentage of the messages that waited this long at most."""
    return f"PR(:{promise_s:g})"


def _queries(workload: Workload) -> list[tuple[Metric, str]]:
    promise_s = workload.deadline.promise_s if workload.deadline else math.inf
    return [
        *((workload.duration_metric, statistic) for statistic in (AVERAGE, MEDIAN, SAMPLES)),
        *((workload.wait_metric, statistic) for statistic in (in_time(promise_s), HIGH, SAMPLES)),
    ]


def _learn(
    workload: Workload,
    stored: StoredState | Unknown | None,
    series: Mapping[str, Series | Unknown],
    end: datetime,
    ports: Ports,
    report: Report,
) -> None:
    deadline = workload.deadline
    if deadline is None or ports.states is None:
        return
    if isinstance(stored, Unknown):
        if stored.defect:
            raise stored.defect
        raise TransientError(f"what was learned before is unknown: {stored.reason}")
    if stored and stored.problem:
        raise TransientError(f"what was learned before is {stored.problem}; the next tick replaces it")
    before = stored.learned if stored else None
    if before is not None and before.at_s >= end.timestamp():
        return  # this hour counts already
    measured = _measured(workload, series, end)
    decision, learned = learn(workload, deadline, before, measured, end.timestamp())
    if stored is not None and stored.state is not None:
        decision = replace(decision, boots=measured_boots(stored.state.boots))
    ports.states.learn(workload.name, learned)
    outcome = Outcome.HELD if decision.margin_s is None else Outcome.ACTED
    report.decided(decision, outcome, workload.fleet)
    unknown = [one for one in (measured.mean, measured.median, measured.hour) if isinstance(one, Unknown)]
    for one in unknown:
        if one.defect:
            raise one.defect
    if unknown:
        raise TransientError(f"no measurement of {workload.name}: {unknown[0].reason}")


def _measured(workload: Workload, series: Mapping[str, Series | Unknown], end: datetime) -> Measured:
    def of(metric: Metric, statistic: str) -> Series | Unknown:
        return series[f"{workload.name} {metric.name} {statistic}"]

    duration, wait = workload.duration_metric, workload.wait_metric
    promise_s = workload.deadline.promise_s if workload.deadline else math.inf
    waits = [of(wait, statistic) for statistic in (in_time(promise_s), HIGH, SAMPLES)]
    samples = of(duration, SAMPLES)
    return Measured(
        mean=_weighted(of(duration, AVERAGE), samples),
        median=_weighted(of(duration, MEDIAN), samples),
        hour=_waits(waits, since=end - HOUR),
        day=_waits(waits, since=end - DAY),
    )


def _weighted(statistic: Series | Unknown, samples: Series | Unknown) -> Durations | Unknown:
    if isinstance(statistic, Unknown):
        return statistic
    if isinstance(samples, Unknown):
        return samples
    return read_isolated(partial(weighted, statistic, samples, int(DAY.total_seconds())))


def _waits(series: Sequence[Series | Unknown], since: datetime) -> Waits | Unknown | None:
    """From the percentage in time, the high percentile and the number of each hour; None without messages."""
    known = []
    for one in series:
        if isinstance(one, Unknown):
            return one
        known.append(one)
    percent_in_time, high_s, messages = known
    hours = [
        hour
        for hour, count in messages.items()
        if hour >= since and count > 0 and hour in percent_in_time and hour in high_s
    ]
    if not hours:
        return None
    for hour in hours:
        percent, count, seconds = percent_in_time[hour], messages[hour], high_s[hour]
        if not (0 <= percent <= 100 and count < math.inf and 0 <= seconds < math.inf):
            reason = f"{percent:g} % of {count:g} messages in time, and 99.5 % within {seconds:g} s"
            return Unknown(reason=f"no plausible waits: {reason}")
    total = math.fsum(messages[hour] for hour in hours)
    late = math.fsum(messages[hour] * (1 - percent_in_time[hour] / 100) for hour in hours)
    return Waits(messages=total, late_share=late / total, high_s=max(high_s[hour] for hour in hours))
