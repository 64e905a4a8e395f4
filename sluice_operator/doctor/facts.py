"""Reads what the checks of `sluice doctor` rest on, batched over the workloads."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, TypedDict

from sluice.core.guard import AlarmState
from sluice.core.model import (
    DYNAMIC_SCALING_IN_SUSPENDED,
    AutoScalingGroup,
    Capacity,
    Fleet,
    Metric,
    Unknown,
    Workload,
)
from sluice.ports import Ports, RemainingS, Series, SeriesQuery
from sluice.usecases.guard_readings import FAILED, SUCCESS
from sluice.usecases.isolation import EVERY_WORKLOAD
from sluice.usecases.pauses import holds_in_force
from sluice.usecases.published_backlog import published_metric
from sluice.wiring import READERS
from sluice_operator.account import Account
from sluice_operator.aws.alarm_settings import read_alarms, read_mute_rules
from sluice_operator.aws.fleet_settings import read_fleets, read_refreshes
from sluice_operator.aws.queue_settings import read_key_policies, read_keys, read_queues, read_tags
from sluice_operator.aws.scaling_policies import read_policies, read_scheduled_actions
from sluice_operator.aws.worker_permissions import Simulation, read_worker_roles, simulate
from sluice_operator.core.checks.facts import (
    AlarmSettings,
    Facts,
    KmsKey,
    Permission,
    QueueSettings,
    ScalingPolicy,
)
from sluice_operator.core.checks.key_policy import KeyPolicy
from sluice_operator.core.checks.metrics import published_name
from sluice_operator.core.checks.permissions import DECRYPT, NEEDED, OURS, PUT_METRICS
from sluice_operator.core.checks.queue import url_of
from sluice_operator.core.events import Deployment
from sluice_operator.core.readings import Point
from sluice_operator.core.workload_alarms import alarm_names, optional_alarm_names
from sluice_operator.doctor.colors import read_colors
from sluice_operator.status import newest_point

MINUTE_S, FIVE_MINUTES_S, HOUR_S = 60, 300, 3600
RECENT, HOUR, DAY = timedelta(minutes=10), timedelta(hours=1), timedelta(days=1)
FAILURES_SINCE = timedelta(minutes=15)
"""Logs Insights bills by the bytes it scans."""


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
        both = {fleet for workload in workloads for fleet in workload.fleets}
        settings = read_fleets(clients, pool, both, remaining_s)
        active = {fleet: settings[fleet] for fleet in fleets}
        roles = read_worker_roles(clients, pool, active, remaining_s)
        permissions = _permissions(clients("iam"), pool, workloads, roles, queues, remaining_s)
        refreshes = read_refreshes(clients, pool, groups, remaining_s)
        policies = read_policies(clients, pool, fleets, remaining_s)
        actions = read_scheduled_actions(clients, pool, fleets, remaining_s)
        alarms = _alarms(clients("cloudwatch"), pool, workloads, policies, remaining_s)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    mute_rules = read_mute_rules(clients("cloudwatch"))
    capacities = ports.fleets.read(fleets, remaining_s)
    lacking = [fleet for fleet, capacity in capacities.items() if _lacks_instances(capacity)]
    launches = ports.launches.read(lacking, remaining_s) if ports.launches else {}
    names = [*(workload.name for workload in workloads), EVERY_WORKLOAD]
    holds = holds_in_force(ports, [workload.name for workload in workloads], remaining_s)
    colors = read_colors(account, workloads, holds, remaining_s)
    guard_alarms = _guard_alarms(ports, workloads, remaining_s)
    failures = account.decisions.failures(names, now - FAILURES_SINCE, now, remaining_s)
    series = _series(ports, workloads, queues, now, remaining_s)
    return {
        workload.name: Facts(
            now=now,
            workload=workload,
            pause=held if isinstance(held := holds[workload.name], Unknown) else held.pause,
            **queues[workload.queue_url],
            fleet=settings[fleet],
            idle_fleet=settings[workload.idle.fleet] if workload.idle is not None else None,
            worker_role=roles[fleet],
            worker_permissions=permissions[workload.name],
            capacity=capacities[fleet],
            deployment=refreshes[fleet]
            if isinstance(fleet, AutoScalingGroup)
            else _deployment(capacities[fleet]),
            launches=launches.get(fleet, ()),
            policies=policies[fleet],
            scheduled_actions=actions[fleet],
            alarms=alarms[workload.name],
            mute_rules=mute_rules,
            functions=account.plane.alarm_functions,
            namespace=ports.namespace,
            published=newest_point(of["published"]),
            longest_processing_s=_highest(of["processing"]),
            waits=_sum(of["waits"]),
            received=of["received"],
            deleted=of["deleted"],
            dead_letters=of.get("dead", {}),
            groups_in_flight=_highest(of.get("groups", {})),
            oldest_age_s=_value(newest_point(of["age"])),
            failures=_both(failures[workload.name], failures[EVERY_WORKLOAD]),
            guard=held if isinstance(held, Unknown) else held.guard,
            has_guard_function=account.plane.has_guard,
            guard_alarm=guard_alarms.get(workload.name),
            **colors[workload.name],
            ended_messages=_total([of.get(outcome, {}) for outcome in (SUCCESS, *FAILED)]),
        )
        for workload in workloads
        for fleet, of in ((workload.fleet, series[workload.name]),)
    }


def _guard_alarms(
    ports: Ports, workloads: Collection[Workload], remaining_s: RemainingS
) -> Mapping[str, AlarmState | Unknown]:
    """The state of the alarm that each guard watches, by the workload."""
    watched = {
        workload.name: workload.guard.alarm_name
        for workload in workloads
        if workload.guard is not None and workload.guard.alarm_name is not None
    }
    if not watched or ports.alarms is None:
        return {}
    states = ports.alarms.read(sorted(set(watched.values())), remaining_s)
    return {name: states[alarm] for name, alarm in watched.items()}


def _total(counts: Collection[Series | Unknown]) -> float | Unknown:
    """The sum over several series; Unknown if one of them is."""
    total = 0.0
    for one in counts:
        if isinstance(one, Unknown):
            return one
        total += sum(one.values())
    return total


class _QueueFacts(TypedDict):
    queue: QueueSettings | Unknown | None
    queue_tags: Mapping[str, str] | Unknown | None
    queue_key: KmsKey | Unknown | None
    queue_key_policy: KeyPolicy | Unknown | None
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
    keys = read_keys(clients("kms"), pool, set(key_ids.values()), remaining_s)
    own = {url: keys[key_ids[url]] for url, queue in found.items() if queue.own_key_id}
    arns = {key.arn for key in own.values() if isinstance(key, KmsKey)}
    key_policies = read_key_policies(clients("kms"), pool, arns, remaining_s)
    return {
        url: _QueueFacts(
            queue=queue,
            queue_tags=tags[url],
            queue_key=keys[key_ids[url]] if url in key_ids else None,
            queue_key_policy=key_policies[key.arn] if isinstance(key := own.get(url), KmsKey) else key,
            dead_letter_queue=dead[dead_urls[url]] if url in dead_urls else None,
        )
        for url, queue in queues.items()
    }


def _permissions(
    iam: Any,
    pool: ThreadPoolExecutor,
    workloads: Sequence[Workload],
    roles: Mapping[Fleet, str | Unknown | None],
    queues: Mapping[str, _QueueFacts],
    remaining_s: RemainingS,
) -> Mapping[str, Mapping[str, Permission | Unknown] | Unknown]:
    """What each workload's workers may do, by its name; roles and queues that they share are asked once."""
    simulations = {
        workload.name: tuple(_simulations(role, workload, queues[workload.queue_url]))
        for workload in workloads
        if isinstance(role := roles[workload.fleet], str)
    }
    found = simulate(iam, pool, set(chain.from_iterable(simulations.values())), remaining_s)
    return {
        workload.name: role
        if isinstance(role, Unknown)
        else dict(_by_action(simulations.get(workload.name, ()), found))
        for workload in workloads
        for role in (roles[workload.fleet],)
    }


def _by_action(
    simulations: Sequence[Simulation], found: Mapping[Simulation, Mapping[str, Permission] | Unknown]
) -> Iterator[tuple[str, Permission | Unknown]]:
    for simulation in simulations:
        answer = found[simulation]
        for action in simulation.actions:
            yield action, answer if isinstance(answer, Unknown) else answer[action]


def _simulations(role: str, workload: Workload, facts: _QueueFacts) -> Iterator[Simulation]:
    namespace = ("cloudwatch:namespace", workload.duration_metric.namespace)
    yield Simulation(role=role, actions=(PUT_METRICS,), resource="*", context=(namespace,))
    queue, key = facts["queue"], facts["queue_key"]
    if isinstance(queue, QueueSettings):
        yield Simulation(role=role, actions=(*NEEDED, *OURS), resource=queue.arn)
        if queue.own_key_id and isinstance(key, KmsKey):
            via = f"sqs.{queue.arn.split(':')[3]}.amazonaws.com"
            context = (("kms:ViaService", via), ("kms:EncryptionContext:aws:sqs:arn", queue.arn))
            yield Simulation(role=role, actions=(DECRYPT,), resource=key.arn, context=context)


def _both(one: tuple[str, ...] | Unknown, other: tuple[str, ...] | Unknown) -> tuple[str, ...] | Unknown:
    """Failures of the workload and of every workload."""
    if isinstance(one, Unknown):
        return one
    return other if isinstance(other, Unknown) else one + other


def _lacks_instances(capacity: Capacity | Unknown) -> bool:
    return isinstance(capacity, Capacity) and capacity.running < capacity.desired


def _deployment(capacity: Capacity | Unknown) -> Deployment | Unknown | None:
    """The deployment of a service, which is read with its counts."""
    if isinstance(capacity, Unknown):
        return capacity
    rolling = [block for block in capacity.scale_in_blocked_by if block != DYNAMIC_SCALING_IN_SUSPENDED]
    return Deployment(started_at=capacity.deploying_since, description=rolling[0]) if rolling else None


def _alarms(
    client: Any,
    pool: ThreadPoolExecutor,
    workloads: Sequence[Workload],
    policies: Mapping[Fleet, Collection[ScalingPolicy] | Unknown],
    remaining_s: RemainingS,
) -> Mapping[str, Mapping[str, AlarmSettings | None] | Unknown]:
    """The alarms of each workload's stack and of the policy that its document names."""
    names: dict[str, tuple[str, ...]] = {}
    for workload in workloads:
        of_fleet = policies[workload.fleet]
        known = () if isinstance(of_fleet, Unknown) else of_fleet
        of_policy = (policy.alarms for policy in known if policy.arn == workload.policy_arn)
        names[workload.name] = (*alarm_names(workload), *chain.from_iterable(of_policy))
    optional = {workload.name: optional_alarm_names(workload) for workload in workloads}
    every = chain.from_iterable((*names.values(), *optional.values()))
    read = read_alarms(client, pool, set(every), remaining_s)
    return {
        workload: _all_known(
            {name: read[name] for name in its}
            | {name: read[name] for name in optional[workload] if read[name] is not None}
        )
        for workload, its in names.items()
    }


def _all_known(
    alarms: Mapping[str, AlarmSettings | Unknown | None],
) -> Mapping[str, AlarmSettings | None] | Unknown:
    """Unknown if one of them is."""
    found = {}
    for name, alarm in alarms.items():
        if isinstance(alarm, Unknown):
            return alarm
        found[name] = alarm
    return found


def _series(
    ports: Ports,
    workloads: Sequence[Workload],
    queues: Mapping[str, _QueueFacts],
    now: datetime,
    remaining_s: RemainingS,
) -> Mapping[str, Mapping[str, Series | Unknown]]:
    """Every metric that a check reads, by the workload's name and its own; GetMetricData bills each."""
    end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    found: dict[str, dict[str, Series | Unknown]] = {workload.name: {} for workload in workloads}
    for since, period_s, queries in (
        (RECENT, MINUTE_S, _recent_queries),
        (HOUR, FIVE_MINUTES_S, _hour_queries),
        (DAY, HOUR_S, _day_queries),
    ):
        asked = {
            f"{workload.name} {what}": SeriesQuery(metric=metric, statistic=statistic, period_s=period_s)
            for workload in workloads
            for what, (metric, statistic) in queries(ports, workload, queues[workload.queue_url]).items()
        }
        read = ports.metrics.read(asked, end - since, end, remaining_s) if asked else {}
        for key, series in read.items():
            name, what = key.rsplit(" ", 1)
            found[name][what] = series
    return found


Queries = Mapping[str, tuple[Metric, str]]
"""Name in `_series` -> the metric and its statistic."""


def _recent_queries(ports: Ports, workload: Workload, _: _QueueFacts) -> Queries:
    queries = {
        "published": (published_metric(ports, workload, published_name(workload)), "Maximum"),
        "age": (workload.queue_metric("ApproximateAgeOfOldestMessage"), "Maximum"),
    }
    if workload.is_fifo:
        queries["groups"] = (
            workload.queue_metric("ApproximateNumberOfGroupsWithInflightMessages"),
            "Maximum",
        )
    return queries


def _hour_queries(_: Ports, workload: Workload, queue: _QueueFacts) -> Queries:
    queries = {
        "received": (workload.queue_metric("NumberOfMessagesReceived"), "Sum"),
        "deleted": (workload.queue_metric("NumberOfMessagesDeleted"), "Sum"),
    }
    settings = queue["queue"]
    if isinstance(settings, QueueSettings) and settings.dead_letter_queue_arn:
        dimensions = {"QueueName": settings.dead_letter_queue_arn.rsplit(":", 1)[-1]}
        dead = Metric(namespace="AWS/SQS", name="ApproximateNumberOfMessagesVisible", dimensions=dimensions)
        queries["dead"] = (dead, "Maximum")
    return queries


def _day_queries(_: Ports, workload: Workload, __: _QueueFacts) -> Queries:
    guard = workload.guard
    outcomes = (SUCCESS, *FAILED) if guard is not None and guard.failed_percent is not None else ()
    return {
        **{outcome: (workload.ended_metric(outcome), "SampleCount") for outcome in outcomes},
        "processing": (workload.duration_metric, "Maximum"),
        "waits": (workload.wait_metric, "SampleCount"),
    }


def _highest(series: Series | Unknown) -> float | Unknown | None:
    return series if isinstance(series, Unknown) else max(series.values(), default=None)


def _sum(series: Series | Unknown) -> float | Unknown:
    return series if isinstance(series, Unknown) else math.fsum(series.values())


def _value(newest: Point | Unknown | None) -> float | Unknown | None:
    return newest.value if isinstance(newest, Point) else newest
