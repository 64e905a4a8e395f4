"""What the parts of `sluice cost` share: the account, the window, and reads of which one may fail alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sluice.aws.concurrent_reads import LATE, fan_out
from sluice.core.model import Metric, Unknown
from sluice.errors import SluiceError
from sluice.ports import RemainingS, Series, SeriesQuery
from sluice_operator.account import Account
from sluice_operator.core.account_usage import Amounts, Window

HOUR_S = 3600
MONTH = timedelta(days=30)
HOURS_WITH_VALUES = "SampleCount"
Found = TypeVar("Found")
Queries = Mapping[str, SeriesQuery]
AllSeries = Mapping[str, Series | Unknown]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """One account, read once."""

    account: Account
    pool: ThreadPoolExecutor
    remaining_s: RemainingS

    def begin(self, what: str, read: Callable[[], Found]) -> Callable[[], Found | Unknown]:
        """Start a read; the returned function waits for it. A failure is Unknown with its reason."""
        future: Future[Found | Unknown] = self.pool.submit(_attempted, read)

        def finish() -> Found | Unknown:
            try:
                return future.result(timeout=max(self.remaining_s(), 0))
            except TimeoutError:
                return Unknown(reason=f"{what}: {LATE}")

        return finish

    def each(
        self, read: Callable[[str], Found], items: Iterable[str], what: Callable[[str], str]
    ) -> Mapping[str, Found | Unknown]:
        """One read of each item, beside each other."""
        return fan_out(self.pool, read, items, what, self.remaining_s)

    def series(self, queries: Queries, window: Window) -> AllSeries:
        """Hour by hour; the first hour may begin before the window."""
        start = _hour(window.start)
        return self.account.ports.metrics.read(queries, start, window.end, self.remaining_s)


def window_of(now: datetime, created_at: datetime | None) -> Window:
    """The last 30 days in whole hours; from the stack's creation until now if that is later."""
    end = _hour(now)
    start = end - MONTH
    if created_at is None or created_at <= start:
        return Window(start=start, end=end)
    return Window(start=created_at, end=max(now, created_at + timedelta(minutes=1)))


def within(series: Series, window: Window) -> Series:
    """The values of the hours of this window."""
    first = _hour(window.start)
    return {at: value for at, value in series.items() if first <= at < window.end}


def hourly(namespace: str, name: str, statistic: str, **dimensions: str) -> SeriesQuery:
    """One statistic of one metric by hours."""
    return of_metric(Metric(namespace=namespace, name=name, dimensions=dimensions), statistic)


def of_metric(metric: Metric, statistic: str) -> SeriesQuery:
    """One statistic of this metric by hours."""
    return SeriesQuery(metric=metric, statistic=statistic, period_s=HOUR_S)


def total(series: Series | Unknown) -> float | Unknown:
    """The sum of the hours; 0 without values, which is for the caller to judge."""
    return series if isinstance(series, Unknown) else math.fsum(series.values())


def label(metric: Metric) -> str:
    """The metric's name and dimensions, for people."""
    return f"{metric.name} {' '.join(f'{name}={value}' for name, value in sorted(metric.dimensions.items()))}"


def hours_with_values(
    metrics: Iterable[Metric] | Unknown, series: AllSeries, window: Window
) -> Amounts | Unknown:
    """Of each metric, by its label; `series` has it by the same."""
    if isinstance(metrics, Unknown):
        return metrics
    found = {label(metric): series[metric_key(metric)] for metric in metrics}
    return {
        name: each if isinstance(each, Unknown) else float(len(within(each, window)))
        for name, each in found.items()
    }


def metric_key(metric: Metric) -> str:
    """Where `metric_queries` puts it."""
    return f"{metric.namespace} {label(metric)}"


def metric_queries(metrics: Iterable[Metric] | Unknown) -> dict[str, SeriesQuery]:
    """A query of each custom metric for the hours in which it has values."""
    if isinstance(metrics, Unknown):
        return {}
    return {metric_key(metric): of_metric(metric, HOURS_WITH_VALUES) for metric in metrics}


def _attempted(read: Callable[[], Found]) -> Found | Unknown:
    try:
        return read()
    except SluiceError as failure:
        return Unknown(reason=str(failure))


def _hour(moment: datetime) -> datetime:
    return datetime.fromtimestamp(moment.timestamp() // HOUR_S * HOUR_S, UTC)
