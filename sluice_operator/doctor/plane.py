"""Examines the control plane with the checks of `sluice doctor`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sluice.aws.concurrent_reads import fan_out
from sluice.core.model import Metric, Unknown
from sluice.errors import SluiceError
from sluice.ports import Ports, RemainingS, SeriesQuery
from sluice.wiring import READERS
from sluice_operator.account import Account
from sluice_operator.aws import plane_settings
from sluice_operator.aws.plane_settings import PlaneResources, resources
from sluice_operator.core.checks.finding import Finding
from sluice_operator.core.checks.plane import Invocations, PlaneFacts, Schedule, plane_findings

HOUR, PERIOD_S = timedelta(hours=1), 300
TRIAL = "SendTestMessagesFunction"
"""Logical id of template.yaml; a schedule's begins with that of its function."""
TICKS = "publish_backlog"
COUNTS = ("Invocations", "Errors", "Throttles")
Found = TypeVar("Found")


def examine_plane(account: Account, remaining_s: RemainingS) -> tuple[Finding, ...]:
    """What every check finds of the control plane."""
    return plane_findings(read_plane(account, remaining_s))


def read_plane(account: Account, remaining_s: RemainingS) -> PlaneFacts:
    """The facts; what could not be read is Unknown."""
    clients, now = account.clients, account.ports.now()
    deployed = _attempted(lambda: resources(clients("cloudformation"), account.plane.stack))

    def of_stack(read: Callable[[PlaneResources], Found]) -> Found | Unknown:
        return deployed if isinstance(deployed, Unknown) else read(deployed)

    reads: dict[str, Callable[[], Any]] = {
        "GetAccountSettings": lambda: plane_settings.account_concurrency(clients("lambda")),
        "DescribeAlarms": lambda: plane_settings.alarms(clients("cloudwatch")),
        "GetServiceQuota": lambda: plane_settings.alarm_quota(clients("service-quotas")),
        "DescribeParameters": lambda: plane_settings.standard_parameters(clients("ssm")),
        "the log": lambda: account.decisions.newest_line(TICKS, now - HOUR, now, remaining_s),
    }
    pool = ThreadPoolExecutor(READERS)
    try:
        read: Mapping[str, Any] = fan_out(pool, lambda what: reads[what](), reads, str, remaining_s)
        return PlaneFacts(
            now=now,
            schedules=of_stack(lambda found: _schedules(clients("scheduler"), pool, found, remaining_s)),
            last_tick=read["the log"],
            invocations=of_stack(lambda found: _invocations(account.ports, found, now, remaining_s)),
            reserved=of_stack(
                lambda found: fan_out(
                    pool,
                    lambda name: plane_settings.reserved_concurrency(clients("lambda"), name),
                    found.functions.values(),
                    lambda name: f"GetFunctionConcurrency of {name}",
                    remaining_s,
                )
            ),
            concurrency=read["GetAccountSettings"],
            used_concurrency=_used_concurrency(account.ports, now, remaining_s),
            failure_queue=of_stack(
                lambda found: _attempted(
                    lambda: plane_settings.failure_queue(clients("sqs"), found.failure_queue_url)
                )
            ),
            alarms=read["DescribeAlarms"],
            alarm_quota=read["GetServiceQuota"],
            standard_parameters=read["DescribeParameters"],
        )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _attempted(read: Callable[[], Found]) -> Found | Unknown:
    try:
        return read()
    except SluiceError as failure:
        return Unknown(reason=str(failure))


def _schedules(
    scheduler: Any, pool: ThreadPoolExecutor, deployed: PlaneResources, remaining_s: RemainingS
) -> list[Schedule | Unknown]:
    def read(logical_id: str) -> Schedule:
        name = deployed.schedules[logical_id]
        return Schedule(
            name=name,
            state=plane_settings.schedule_state(scheduler, name),
            is_trial=logical_id.startswith(TRIAL),
        )

    what = "GetSchedule of {}".format
    return list(fan_out(pool, read, deployed.schedules, what, remaining_s).values())


def _invocations(
    ports: Ports, deployed: PlaneResources, now: datetime, remaining_s: RemainingS
) -> dict[str, Invocations | Unknown]:
    queries = {
        f"{name} {count}": _query(count, "Sum", {"FunctionName": name})
        for name in deployed.functions.values()
        for count in COUNTS
    }
    series = ports.metrics.read(queries, now - HOUR, now, remaining_s)

    def of(name: str) -> Invocations | Unknown:
        sums = []
        for count in COUNTS:
            found = series[f"{name} {count}"]
            if isinstance(found, Unknown):
                return found
            sums.append(math.fsum(found.values()))
        started, errors, throttles = sums
        return Invocations(started=started, errors=errors, throttles=throttles)

    return {name: of(name) for name in deployed.functions.values()}


def _used_concurrency(ports: Ports, now: datetime, remaining_s: RemainingS) -> float | Unknown:
    """Lambda publishes it only while something runs."""
    query = _query("ConcurrentExecutions", "Maximum", {})
    found = ports.metrics.read({"account": query}, now - HOUR, now, remaining_s)["account"]
    return found if isinstance(found, Unknown) else max(found.values(), default=0.0)


def _query(name: str, statistic: str, dimensions: Mapping[str, str]) -> SeriesQuery:
    metric = Metric(namespace="AWS/Lambda", name=name, dimensions=dimensions)
    return SeriesQuery(metric=metric, statistic=statistic, period_s=PERIOD_S)
