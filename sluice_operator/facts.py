"""Reads what the checks of `sluice doctor` rest on, batched over the workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from sluice.core.model import BACKLOG_PER_INSTANCE, Unknown, Workload
from sluice.ports import Ports, RemainingS, Series, SeriesQuery
from sluice.usecases.published_backlog import published_metric
from sluice.wiring import READERS
from sluice_operator.account import Account
from sluice_operator.aws.queue_settings import read_key_states, read_queues, read_tags
from sluice_operator.aws.tracking_policies import read_policies
from sluice_operator.core.checks.facts import Facts, QueueSettings
from sluice_operator.core.checks.queue import url_of
from sluice_operator.status import newest_point

MINUTE_S, HOUR_S = 60, 3600
RECENT, DAY = timedelta(minutes=10), timedelta(days=1)


def read_facts(
    account: Account, workloads: Sequence[Workload], remaining_s: RemainingS
) -> Mapping[str, Facts]:
    """The facts by the workload's name; what could not be read is Unknown."""
    now = account.ports.now()
    pool = ThreadPoolExecutor(READERS)
    try:
        sqs, urls = account.clients("sqs"), {workload.queue_url for workload in workloads}
        queues = read_queues(sqs, pool, urls, remaining_s)
        tags = read_tags(sqs, pool, urls, remaining_s)
        dead_urls = {
            url: url_of(queue.dead_letter_queue_arn, url)
            for url, queue in queues.items()
            if isinstance(queue, QueueSettings) and queue.dead_letter_queue_arn
        }
        dead = read_queues(sqs, pool, set(dead_urls.values()), remaining_s)
        key_ids = {
            url: queue.key_id
            for url, queue in queues.items()
            if isinstance(queue, QueueSettings) and queue.key_id
        }
        states = read_key_states(account.clients("kms"), pool, set(key_ids.values()), remaining_s)
        policies = read_policies(account.clients, pool, workloads, remaining_s)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    published, longest = _metrics(account.ports, workloads, now, remaining_s)
    return {
        workload.name: Facts(
            now=now,
            workload=workload,
            queue=queues[url],
            queue_tags=tags[url],
            queue_key_state=states[key_ids[url]] if url in key_ids else None,
            dead_letter_queue=dead[dead_urls[url]] if url in dead_urls else None,
            policy=policies.get(workload.name),
            backlog_per_instance=newest_point(published[workload.name]),
            longest_processing_s=_highest(longest[workload.name]),
        )
        for workload in workloads
        for url in (workload.queue_url,)
    }


def _metrics(
    ports: Ports, workloads: Sequence[Workload], now: datetime, remaining_s: RemainingS
) -> tuple[Mapping[str, Series | Unknown], Mapping[str, Series | Unknown]]:
    """BacklogPerInstance by the minute, and the longest processing time by the hour."""
    if not workloads:
        return {}, {}

    def read(queries: Mapping[str, SeriesQuery], since: timedelta) -> Mapping[str, Series | Unknown]:
        end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        return ports.metrics.read(queries, end - since, end, remaining_s)

    backlog = {
        workload.name: SeriesQuery(
            metric=published_metric(ports, workload, BACKLOG_PER_INSTANCE),
            statistic="Maximum",
            period_s=MINUTE_S,
        )
        for workload in workloads
    }
    durations = {
        workload.name: SeriesQuery(metric=workload.duration_metric, statistic="Maximum", period_s=HOUR_S)
        for workload in workloads
    }
    return read(backlog, RECENT), read(durations, DAY)


def _highest(series: Series | Unknown) -> float | Unknown | None:
    if isinstance(series, Unknown):
        return series
    return max(series.values(), default=None)
