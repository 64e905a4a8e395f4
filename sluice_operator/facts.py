"""Reads what the checks of `sluice doctor` rest on, batched over the workloads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypedDict

from sluice.core.model import (
    BACKLOG_PER_INSTANCE,
    DYNAMIC_SCALING_IN_SUSPENDED,
    AutoScalingGroup,
    Capacity,
    Unknown,
    Workload,
)
from sluice.ports import Ports, RemainingS, Series, SeriesQuery
from sluice.usecases.published_backlog import published_metric
from sluice.wiring import READERS
from sluice_operator.account import Account
from sluice_operator.aws.fleet_settings import read_fleets, read_refreshes
from sluice_operator.aws.queue_settings import read_key_states, read_queues, read_tags
from sluice_operator.aws.scaling_policies import read_policies, read_scheduled_actions
from sluice_operator.core.checks.facts import Facts, QueueSettings
from sluice_operator.core.checks.queue import url_of
from sluice_operator.core.events import Deployment
from sluice_operator.status import newest_point

MINUTE_S, HOUR_S = 60, 3600
RECENT, DAY = timedelta(minutes=10), timedelta(days=1)


def read_facts(
    account: Account, workloads: Sequence[Workload], remaining_s: RemainingS
) -> Mapping[str, Facts]:
    """The facts by the workload's name; what could not be read is Unknown."""
    ports, clients, now = account.ports, account.clients, account.ports.now()
    fleets = {workload.fleet for workload in workloads}
    groups = {fleet for fleet in fleets if isinstance(fleet, AutoScalingGroup)}
    pool = ThreadPoolExecutor(READERS)
    try:
        queues = _queues(clients, pool, {workload.queue_url for workload in workloads}, remaining_s)
        settings = read_fleets(clients, pool, fleets, remaining_s)
        refreshes = read_refreshes(clients, pool, groups, remaining_s)
        policies = read_policies(clients, pool, fleets, remaining_s)
        actions = read_scheduled_actions(clients, pool, fleets, remaining_s)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    capacities = ports.fleets.read(fleets, remaining_s)
    lacking = [fleet for fleet, capacity in capacities.items() if _lacks_instances(capacity)]
    launches = ports.launches.read(lacking, remaining_s) if ports.launches else {}
    published, longest = _metrics(ports, workloads, now, remaining_s)
    return {
        workload.name: Facts(
            now=now,
            workload=workload,
            **queues[workload.queue_url],
            fleet=settings[fleet],
            capacity=capacities[fleet],
            deployment=refreshes[fleet]
            if isinstance(fleet, AutoScalingGroup)
            else _deployment(capacities[fleet]),
            launches=launches.get(fleet, ()),
            policies=policies[fleet],
            scheduled_actions=actions[fleet],
            namespace=ports.namespace,
            backlog_per_instance=newest_point(published[workload.name]),
            longest_processing_s=_highest(longest[workload.name]),
        )
        for workload in workloads
        for fleet in (workload.fleet,)
    }


class _QueueFacts(TypedDict):
    queue: QueueSettings | Unknown | None
    queue_tags: Mapping[str, str] | Unknown | None
    queue_key_state: str | Unknown | None
    dead_letter_queue: QueueSettings | Unknown | None


def _queues(
    clients: Callable[[str], Any], pool: ThreadPoolExecutor, urls: Collection[str], remaining_s: RemainingS
) -> Mapping[str, _QueueFacts]:
    """What is read of each queue, by its URL: its key and its dead-letter queue are read after it."""
    sqs = clients("sqs")
    queues, tags = read_queues(sqs, pool, urls, remaining_s), read_tags(sqs, pool, urls, remaining_s)
    found = {url: queue for url, queue in queues.items() if isinstance(queue, QueueSettings)}
    dead_urls = {
        url: url_of(queue.dead_letter_queue_arn, url)
        for url, queue in found.items()
        if queue.dead_letter_queue_arn
    }
    dead = read_queues(sqs, pool, set(dead_urls.values()), remaining_s)
    key_ids = {url: queue.key_id for url, queue in found.items() if queue.key_id}
    states = read_key_states(clients("kms"), pool, set(key_ids.values()), remaining_s)
    return {
        url: _QueueFacts(
            queue=queue,
            queue_tags=tags[url],
            queue_key_state=states[key_ids[url]] if url in key_ids else None,
            dead_letter_queue=dead[dead_urls[url]] if url in dead_urls else None,
        )
        for url, queue in queues.items()
    }


def _lacks_instances(capacity: Capacity | Unknown) -> bool:
    return isinstance(capacity, Capacity) and capacity.running < capacity.desired


def _deployment(capacity: Capacity | Unknown) -> Deployment | Unknown | None:
    """The deployment of a service, which is read with its counts."""
    if isinstance(capacity, Unknown):
        return capacity
    rolling = [block for block in capacity.scale_in_blocked_by if block != DYNAMIC_SCALING_IN_SUSPENDED]
    return Deployment(started_at=capacity.deploying_since, description=rolling[0]) if rolling else None


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
