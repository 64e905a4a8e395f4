"""What a queue and its workers did in the last days, from CloudWatch, as the arrivals of a plan.

SQS reports a queue while it is active, and for six hours after that. So a period without a count of messages
had none if SQS reported anything else of the queue, or nothing has happened there for so long; otherwise it
is a gap, which is left out and never counted as zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sluice.aws.cloudwatch import CloudWatchMetrics
from sluice.core.model import Metric, Workload
from sluice.ports import Series
from sluice_cli.usage_errors import UsageError
from sluice_operator.core.demand import Arrivals
from sluice_operator.history import (
    CONCURRENT_CALLS,
    HOUR_S,
    INGESTION_DELAY,
    PERIOD_S_BY_RETENTION_DAYS,
    read_series,
    start_of_period,
)
from sluice_operator.session import AwsSession
from sluice_report.quantities import duration

FEWEST_DAYS = 2
"""A plan has to see each hour of the day twice."""
ACTIVE_S = 6 * 3600
"""SQS reports a queue for so long after its last activity."""
MAX_GAPS = 0.1
"""Share of the time that CloudWatch may lack."""
MEDIAN, UPPER = "p50", "p84.13"
"""A lognormal's spread: sigma = ln(p84.13 / p50)."""
KEPT_UP = 0.9
"""A fleet that deleted at least this share of the messages has kept up with them."""
IMPLAUSIBLE_LOAD = 3
"""Times the fleet's maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingTimes:
    """What messages took, by the workers' metric."""

    mean_s: float
    cv: float | None
    """None where CloudWatch has no percentiles."""
    longest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHistory:
    """What was read."""

    arrivals: Arrivals
    since: datetime
    until: datetime
    kept_up: bool
    """Whether nearly all messages were deleted."""
    notes: Sequence[str]


class HistoryReader:
    """Reads one account with the caller's credentials; failures are UsageErrors."""

    def __init__(self, days: int, *, profile: str | None, region: str | None) -> None:
        client = AwsSession(profile=profile, region=region).client("cloudwatch")
        self._metrics = CloudWatchMetrics(lambda: client, ThreadPoolExecutor(CONCURRENT_CALLS))
        self._period_s = next(period for kept, period in PERIOD_S_BY_RETENTION_DAYS.items() if days <= kept)
        self._days = days
        self._until = start_of_period(datetime.now(UTC) - INGESTION_DELAY, self._period_s)
        self._since = self._until - timedelta(days=days)

    def queue(self, name: str) -> QueueHistory:
        """The arrivals of a queue; UsageError for one that is too young, has gaps, or is not known."""
        metrics = ("NumberOfMessagesSent", "NumberOfMessagesDeleted", "ApproximateNumberOfMessagesVisible")
        sent, deleted, visible = (self._read(name, metric) for metric in metrics)
        if not any(sent.values()):
            raise UsageError(
                f"CloudWatch has no message sent to queue {name} in the last {self._days} days: check the "
                "queue's name, the region and the account of your credentials; or give --arrivals or --trace"
            )
        first = min([*sent, *visible])
        known_s = (self._until - first).total_seconds()
        if known_s < timedelta(days=FEWEST_DAYS).total_seconds():
            raise UsageError(
                f"the history of queue {name} begins {duration(known_s)} ago: a plan needs two days, so that "
                "it sees each hour of the day twice; until then give --arrivals or --trace"
            )
        counts, gaps = _counted(sent, visible, first, self._until, self._period_s)
        notes = []
        if gaps:
            share = gaps / (len(counts) + gaps)
            lacking = f"CloudWatch lacks {duration(gaps * self._period_s)} of the history of queue {name}"
            if share > MAX_GAPS:
                raise UsageError(
                    f"{lacking}, {100 * share:.0f} % of it: that is too much to plan from; choose other "
                    " --days, or give --arrivals or --trace"
                )
            notes.append(f"{lacking}: left out, and not counted as time without messages")
        if first > self._since + timedelta(seconds=HOUR_S):
            notes.append(f"The history begins on {first:%Y-%m-%d %H:%M} UTC: what was before is not known")
        return QueueHistory(
            arrivals=Arrivals.counted(counts, self._period_s),
            since=max(first, self._since),
            until=self._until,
            kept_up=sum(deleted.values()) >= KEPT_UP * sum(counts),
            notes=notes,
        )

    def processing_times(self, workload: Workload) -> ProcessingTimes:
        """What its workers measured, hour by hour; UsageError if they publish nothing."""
        metric = workload.duration_metric
        statistics = ("SampleCount", "Average", "Maximum", MEDIAN, UPPER)
        wanted = {statistic: (metric, statistic) for statistic in statistics}
        since, until = start_of_period(self._since, HOUR_S), self._until
        read = read_series(self._metrics, wanted, HOUR_S, since, until)
        samples, averages = read["SampleCount"], read["Average"]
        messages = sum(samples[at] for at in averages if at in samples)
        if not messages:
            raise UsageError(
                f"the workers of {workload.name} have published no {metric.name} with "
                f"{dict(metric.dimensions)} in {metric.namespace} in the last {self._days} days: give "
                "--processing, the time that a message takes"
            )
        mean_s = sum(average * samples.get(at, 0) for at, average in averages.items()) / messages
        if mean_s <= 0:
            raise UsageError(
                f"the workers of {workload.name} have published a mean {metric.name} of {mean_s:g} s: "
                "give --processing, the time that a message takes"
            )
        return ProcessingTimes(
            mean_s=mean_s,
            cv=_cv(samples, read[MEDIAN], read[UPPER]),
            longest_s=max(read["Maximum"].values(), default=mean_s),
        )

    def _read(self, queue: str, name: str) -> Series:
        metric = Metric(namespace="AWS/SQS", name=name, dimensions={"QueueName": queue})
        wanted = {name: (metric, "Sum")}
        return read_series(self._metrics, wanted, self._period_s, self._since, self._until)[name]


def require_plausible(
    workload: Workload, history: QueueHistory, times: ProcessingTimes, concurrency: int
) -> None:
    """UsageError if the fleet kept up with a load that it cannot have carried: the unit is wrong."""
    load = history.arrivals.per_s * times.mean_s / concurrency
    if history.kept_up and load > IMPLAUSIBLE_LOAD * workload.bounds.max:
        raise UsageError(
            f"the workers of {workload.name} publish a mean {workload.duration_metric.name} of "
            f"{times.mean_s:,.4g} s, which would keep {load:,.0f} instances busy, and at most "
            f"{workload.bounds.max} have kept up: do they publish milliseconds? The metric is in seconds; "
            "give --processing meanwhile"
        )


def _counted(
    sent: Series, visible: Series, first: datetime, until: datetime, period_s: int
) -> tuple[list[int], int]:
    """(counts, periods of which nothing is known)."""
    counts: list[int] = []
    gaps, active_until = 0, first
    for number in range(int((until - first).total_seconds()) // period_s):
        at = first + timedelta(seconds=number * period_s)
        if at not in sent and at not in visible and at < active_until:
            gaps += 1
            continue
        counts.append(round(sent.get(at, 0)))
        if sent.get(at) or visible.get(at):
            active_until = at + timedelta(seconds=ACTIVE_S)
    return counts, gaps


def _cv(samples: Series, medians: Series, uppers: Mapping[datetime, float]) -> float | None:
    """The coefficient of variation of a lognormal with these percentiles, averaged by messages."""
    weights = {at: samples[at] for at in medians if at in samples and at in uppers and medians[at] > 0}
    if not weights:
        return None
    sigma = sum(
        weight * math.log(max(uppers[at] / medians[at], 1.0)) for at, weight in weights.items()
    ) / sum(weights.values())
    return math.sqrt(math.expm1(sigma**2))
