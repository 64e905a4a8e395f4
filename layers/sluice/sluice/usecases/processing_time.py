"""Step of the tick and of the retune: how long a message takes, as the workers measured it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sluice.core.backlog import measured_processing_s
from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import Durations, Metric, Unknown, Workload
from sluice.core.target import weighted
from sluice.ports import Ports, RemainingS, SeriesQuery
from sluice.usecases.isolation import read_isolated
from sluice.usecases.last_known import Quantity
from sluice.usecases.tick_context import TickContext, Workloads

# (window, period): an hour in periods of a minute, then a day in longer ones, which keep the response small.
WINDOWS_S = ((3600, 60), (86_400, 300))
SAMPLES = "SampleCount"
MIN_SAMPLES = 30
"""Samples needed for the processing time, unless the workload's dynamic target has its own `min_samples`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationQuery:
    """Which processing time to read, and how many samples it needs."""

    metric: Metric
    statistic: str
    min_samples: int


def processing_quantity(
    name: str, statistic: str, min_samples: Callable[[Workload], int]
) -> Quantity[Durations]:
    """That statistic of the processing time, read every hour; a read is billed as two or four metrics."""

    def read(workloads: Workloads, tick: TickContext) -> Mapping[str, Durations | Unknown]:
        queries = {
            workload_name: DurationQuery(
                metric=workload.duration_metric, statistic=statistic, min_samples=min_samples(workload)
            )
            for workload_name, workload in workloads.items()
        }
        return processing_times(queries, tick.ports, tick.remaining_s)

    def value(workload: Workload, measured: Durations, tick: TickContext) -> float | Unknown:  # noqa: ARG001
        return measured_processing_s(measured, min_samples(workload))

    return Quantity(
        name=name,
        source=lambda workload: f"{workload.name} {workload.duration_metric}",
        read=read,
        value=value,
        refresh_interval=60 * MINUTE,
        retry_interval=10 * MINUTE,
        max_age=24 * 60 * MINUTE,
    )


def processing_times(
    queries: Mapping[str, DurationQuery], ports: Ports, remaining_s: RemainingS
) -> dict[str, Durations | Unknown]:
    """Each query's processing time over the shortest window with enough samples.

    If neither window has enough, it is that of the longer one, with as many samples as there are.
    """
    now = minute_of(ports.now())
    durations: dict[str, Durations | Unknown] = {}
    waiting = dict(queries)
    for window_s, period_s in WINDOWS_S:
        if not waiting:
            break
        # Periods are aligned: the window ends with the last complete one.
        end = now - timedelta(seconds=now.timestamp() % period_s)
        durations |= _over(waiting, ports, end, window_s, period_s, remaining_s)
        waiting = {name: query for name, query in waiting.items() if _sparse(query, durations[name])}
    return durations


def _over(
    queries: Mapping[str, DurationQuery],
    ports: Ports,
    end: datetime,
    window_s: int,
    period_s: int,
    remaining_s: RemainingS,
) -> dict[str, Durations | Unknown]:
    series = ports.metrics.read(
        {
            f"{name} {statistic}": SeriesQuery(metric=query.metric, statistic=statistic, period_s=period_s)
            for name, query in queries.items()
            for statistic in (query.statistic, SAMPLES)
        },
        end - timedelta(seconds=window_s),
        end,
        remaining_s,
    )
    durations: dict[str, Durations | Unknown] = {}
    for name, query in queries.items():
        values, counts = series[f"{name} {query.statistic}"], series[f"{name} {SAMPLES}"]
        if isinstance(values, Unknown):
            durations[name] = values
        elif isinstance(counts, Unknown):
            durations[name] = counts
        else:
            durations[name] = read_isolated(partial(weighted, values, counts, window_s))
    return durations


def _sparse(query: DurationQuery, reading: Durations | Unknown) -> bool:
    return isinstance(reading, Durations) and reading.samples < query.min_samples
