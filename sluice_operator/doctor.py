"""Reads what the checks of `sluice doctor` rest on, batched over the workloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluice.core.model import BACKLOG_PER_INSTANCE, Unknown, Workload
from sluice.ports import Ports, RemainingS, Series, SeriesQuery
from sluice.usecases.published_backlog import published_metric
from sluice.wiring import READERS
from sluice_operator.account import Account
from sluice_operator.aws.queue_settings import read_queues
from sluice_operator.aws.tracking_policies import read_policies
from sluice_operator.core.checks import findings
from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Finding, Outcome
from sluice_operator.core.checks.registration import refused
from sluice_operator.status import chosen_names, newest_point

MINUTE_S, HOUR_S = 60, 3600
RECENT, DAY = timedelta(minutes=10), timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadFindings:
    """What every check has found of one workload."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passes."""
        return all(finding.outcome is Outcome.PASS for finding in self.findings)


def examine(
    account: Account,
    names: Sequence[str],
    remaining_s: RemainingS,
    on_step: Callable[[str], None] = lambda _: None,
) -> list[WorkloadFindings]:
    """These workloads, or all without names; raises ConfigError for a name that is not registered."""
    on_step("reading the registry")
    registered = account.ports.registry.all(remaining_s, fresh=True)
    chosen = chosen_names(registered, names)
    served = {workload.name: workload for workload in registered.workloads if workload.name in chosen}
    on_step(f"reading the queues, policies and metrics of {len(served)} workloads")
    now = account.ports.now()
    facts = _facts(account, list(served.values()), now, remaining_s)
    return [
        WorkloadFindings(
            name=name,
            findings=tuple(findings(facts[name], now))
            if name in served
            else (refused(registered.refused[name]),),
        )
        for name in chosen
    ]


def _facts(
    account: Account, workloads: Sequence[Workload], now: datetime, remaining_s: RemainingS
) -> Mapping[str, Facts]:
    pool = ThreadPoolExecutor(READERS)
    try:
        urls = {workload.queue_url for workload in workloads}
        queues = read_queues(account.clients("sqs"), pool, urls, remaining_s)
        policies = read_policies(account.clients, pool, workloads, remaining_s)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    published, longest = _metrics(account.ports, workloads, now, remaining_s)
    return {
        workload.name: Facts(
            workload=workload,
            queue=queues[workload.queue_url],
            policy=policies.get(workload.name),
            backlog_per_instance=newest_point(published[workload.name]),
            longest_processing_s=_highest(longest[workload.name]),
        )
        for workload in workloads
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
