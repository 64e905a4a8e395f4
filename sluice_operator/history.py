"""The past of a workload's queue, workers and fleet, from CloudWatch; reads alone.

CloudWatch keeps one-minute values for 15 days, five-minute values for 63 and hourly values for 455.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sluice.core.model import AutoScalingGroup, Fleet, Metric, Unknown, Workload
from sluice.errors import ConfigError, TransientError
from sluice.ports import Metrics, Series, SeriesQuery
from sluice.usecases.learn import SAMPLES, in_time
from sluice_operator.core.queue_history import (
    PERCENTILES,
    Arrivals,
    ProcessingTime,
    arrivals,
    mean_boot_s,
    processing_times,
    share_in_time,
)

PERIOD_S_BY_RETENTION_DAYS = {15: 60, 63: 300, 455: 3600}
"""Days that CloudWatch keeps values -> the period of these values, in seconds."""
CONCURRENT_CALLS = 4
READ_LIMIT_S = 600.0
"""With boto3's own limits a call that fails in every attempt takes some minutes."""
MINUTE_S, HOUR_S = 60, 3600
INGESTION_DELAY = timedelta(minutes=5)
"""SQS may not have published the newest minutes in full yet."""
SENT, VISIBLE = "NumberOfMessagesSent", "ApproximateNumberOfMessagesVisible"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHistory:
    """What really happened, minute by minute, within the stretch of the arrivals."""

    arrivals: Arrivals
    desired: Series
    running: Series
    processing_times: Sequence[ProcessingTime]
    boot_s: float | None
    """Mean seconds from a launch to running; None if no instance was launched."""


def start_of_period(moment: datetime, period_s: int) -> datetime:
    """The beginning of the period that contains the moment."""
    return datetime.fromtimestamp(moment.timestamp() // period_s * period_s, UTC)


def read_series(
    metrics: Metrics,
    wanted: Mapping[str, tuple[Metric, str]],
    period_s: int,
    since: datetime,
    until: datetime,
) -> dict[str, Series]:
    """These statistics of metrics, by their names; TransientError with CloudWatch's reason without one."""
    queries = {
        name: SeriesQuery(metric=metric, statistic=statistic, period_s=period_s)
        for name, (metric, statistic) in wanted.items()
    }
    found = {}
    for name, series in metrics.read(queries, since, until, lambda: READ_LIMIT_S).items():
        if isinstance(series, Unknown):
            raise TransientError(
                f"{series.reason}; check the network, the region, and that your credentials (AWS_PROFILE) "
                "allow cloudwatch:GetMetricData"
            )
        found[name] = series
    return found


def read_processing_times(
    metrics: Metrics, workload: Workload, since: datetime, until: datetime
) -> list[ProcessingTime]:
    """The workers' processing times, hour by hour, one color after the other; none if they publish none."""
    since = start_of_period(since, HOUR_S)
    until = start_of_period(until, HOUR_S) + timedelta(hours=1)
    found: list[ProcessingTime] = []
    for metric in _distinct([each.duration_metric for each in _by_color(workload)]):
        wanted = {statistic: (metric, statistic) for statistic in ("SampleCount", "Average", *PERCENTILES)}
        found += processing_times(read_series(metrics, wanted, HOUR_S, since, until))
    return found


def read_arrivals(
    metrics: Metrics, workload: Workload, period_s: int, since: datetime, until: datetime
) -> Arrivals | None:
    """The messages sent, in periods of 60, 300 or 3600 s; None if CloudWatch has no value."""
    wanted = _of_queue(workload)
    found = read_series(metrics, wanted, period_s, since, until)
    active = [series for name, series in found.items() if name != "sent"]
    return arrivals(found["sent"], active, since, until, timedelta(seconds=period_s))


def read_history(metrics: Metrics, workload: Workload, since: datetime, until: datetime) -> QueueHistory:
    """One-minute history of the workload; ConfigError says which metric is missing, and what publishes it."""
    duration, period = workload.duration_metric, timedelta(seconds=MINUTE_S)
    of_queue = _of_queue(workload)
    sizes = {
        f"{name} {fleet}": (metric, "Average")
        for fleet in workload.fleets
        for name, metric in (("desired", _desired_metric(fleet)), ("running", fleet.running_metric))
    }
    found = read_series(metrics, of_queue | sizes, MINUTE_S, since, until)
    active = [found[name] for name in of_queue if name != "sent"]
    came = arrivals(found["sent"], active, since, until, period)
    if came is None or not any(came.counts):
        raise ConfigError(
            f"CloudWatch has no message sent to queue {workload.queue_name} from {since:%Y-%m-%d %H:%M} to "
            f"{until:%Y-%m-%d %H:%M} UTC: check the queue's name, the region and the account of your "
            "credentials"
        )
    summed = {
        name: _summed([found[f"{name} {fleet}"] for fleet in workload.fleets])
        for name in ("desired", "running")
    }
    within = {
        name: {at: value for at, value in series.items() if came.start <= at < came.end}
        for name, series in summed.items()
    }
    for name, series in within.items():
        if not series:
            published = (
                "turn the group's metrics on"
                if isinstance(workload.fleet, AutoScalingGroup)
                else "turn Container Insights on for the cluster"
            )
            raise ConfigError(
                f"CloudWatch has no {name} instances of {workload.fleet} in this time, so what happened is "
                f"unknown: {published}, and come back in two days"
            )
    times = read_processing_times(metrics, workload, came.start, came.end)
    if not times:
        raise ConfigError(
            f"CloudWatch has no {duration.name} with {dict(duration.dimensions)} in {duration.namespace}, so "
            "how long a message takes is unknown: let the workers publish it, and come back in two days"
        )
    return QueueHistory(
        arrivals=came,
        desired=within["desired"],
        running=within["running"],
        processing_times=times,
        boot_s=mean_boot_s(within["desired"], within["running"], period),
    )


def read_share_in_time(
    metrics: Metrics, workload: Workload, promise_s: float, since: datetime, until: datetime
) -> float:
    """The share of the messages that waited `promise_s` at most, 0 to 1; ConfigError if none is published.

    From the whole hours within the time.
    """
    first = start_of_period(since, HOUR_S) + timedelta(hours=since != start_of_period(since, HOUR_S))
    last = start_of_period(until, HOUR_S)
    metric = workload.wait_metric
    published = []
    for each in _distinct([of.wait_metric for of in _by_color(workload)]):
        wanted = {"percent": (each, in_time(promise_s)), "messages": (each, SAMPLES)}
        found = read_series(metrics, wanted, HOUR_S, first, last)
        published.append((found["percent"], found["messages"]))
    share = share_in_time(*published)
    if share is None:
        raise ConfigError(
            f"CloudWatch has no {metric.name} with {dict(metric.dimensions)} in {metric.namespace}, so the "
            "share of messages that started in time is unknown: start the workers with --publish-wait, and "
            "come back in two days"
        )
    return share


def _by_color(workload: Workload) -> list[Workload]:
    """The workload with each of its fleets as the active one: what one has published, the other has not."""
    if workload.idle is None:
        return [workload]
    return [workload, workload.with_active(workload.idle.color)]


def _distinct(metrics: Sequence[Metric]) -> list[Metric]:
    """Two colors may publish one metric, if their document names its dimensions."""
    return [metric for number, metric in enumerate(metrics) if metric not in metrics[:number]]


def _of_queue(workload: Workload) -> dict[str, tuple[Metric, str]]:
    """What says how many messages came, as `sent`, and whether any were there."""
    durations = _distinct([each.duration_metric for each in _by_color(workload)])
    return {
        "sent": (workload.queue_metric(SENT), "Sum"),
        "visible": (workload.queue_metric(VISIBLE), "Maximum"),
        **{f"processed {number}": (metric, SAMPLES) for number, metric in enumerate(durations)},
    }


def _summed(series: Sequence[Series]) -> dict[datetime, float]:
    """Minute by minute, of those that have a value: a color that is new has no past."""
    return {
        at: sum(each[at] for each in series if at in each) for at in sorted(set[datetime]().union(*series))
    }


def _desired_metric(fleet: Fleet) -> Metric:
    name = "GroupDesiredCapacity" if isinstance(fleet, AutoScalingGroup) else "DesiredTaskCount"
    return replace(fleet.running_metric, name=name)
