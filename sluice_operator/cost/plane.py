"""Reads what the control plane itself has deployed, and what it has used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sluice.core.model import Metric, Unknown, Workload
from sluice.ports import SeriesQuery
from sluice_operator.aws import billed_resources as aws
from sluice_operator.aws.billed_resources import FunctionSize, Resources, Stack
from sluice_operator.core.account_usage import (
    Amounts,
    FunctionUsage,
    PlaneUsage,
    Window,
    invocations_a_month,
)
from sluice_operator.cost.reads import (
    AllSeries,
    Reads,
    hourly,
    hours_with_values,
    metric_queries,
    total,
)

POLLED_QUEUES = frozenset({"ShardQueue", "TickQueue"})
"""Logical ids of template.yaml: Lambda polls these all the time, so that CloudWatch always has values."""
REQUESTS = (
    "NumberOfMessagesSent",
    "NumberOfMessagesReceived",
    "NumberOfMessagesDeleted",
    "NumberOfEmptyReceives",
)
UNITS = ("ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits")
FUNCTION_ENDING, LOGS_ENDING = "Function", "Logs"
"""A function and its log group have one logical id but for these."""
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneReadings:
    """What is deployed; what it used is in the metrics."""

    resources: Resources | Unknown
    alarms: Sequence[Mapping[str, Any]] | Unknown
    sizes: Mapping[str, FunctionSize | Unknown]
    """By the function's name."""
    schedules: Mapping[str, str | Unknown | None]
    """Logical id -> expression; None for one that is disabled."""
    metrics: Sequence[Metric] | Unknown
    """Its own, as CloudWatch lists them."""
    parameters: Mapping[str, str]
    """Of the stack."""


def begin(reads: Reads, deployed: Stack) -> Callable[[], PlaneReadings]:
    """Start reading what is deployed; the returned function waits for it."""
    clients, plane = reads.account.clients, reads.account.plane
    own_metrics = reads.begin(
        "ListMetrics", lambda: aws.metrics(clients("cloudwatch"), f"{plane.namespace}/ControlPlane")
    )
    listed = reads.begin("ListStackResources", lambda: aws.resources(clients("cloudformation"), plane.stack))

    def finish() -> PlaneReadings:
        resources = listed()
        if isinstance(resources, Unknown):
            return PlaneReadings(
                resources=resources,
                alarms=resources,
                sizes={},
                schedules={},
                metrics=own_metrics(),
                parameters=deployed.parameters,
            )
        names = _names(resources, aws.ALARM)
        alarms = reads.begin("DescribeAlarms", lambda: aws.named_alarms(clients("cloudwatch"), names))
        functions, schedules = _names(resources, aws.FUNCTION), resources.get(aws.SCHEDULE, {})
        return PlaneReadings(
            resources=resources,
            sizes=reads.each(
                lambda name: aws.function_size(clients("lambda"), name),
                functions,
                "GetFunctionConfiguration of {}".format,
            ),
            schedules=reads.each(
                lambda logical_id: aws.schedule_expression(clients("scheduler"), schedules[logical_id]),
                schedules,
                "GetSchedule of {}".format,
            ),
            alarms=alarms(),
            metrics=own_metrics(),
            parameters=deployed.parameters,
        )

    return finish


def queries(readings: PlaneReadings) -> dict[str, SeriesQuery]:
    """The metrics that say what it used."""
    resources = readings.resources
    if isinstance(resources, Unknown):
        return metric_queries(readings.metrics)
    wanted = metric_queries(readings.metrics)
    for name in _names(resources, aws.FUNCTION):
        for metric in ("Invocations", "Duration"):
            wanted[f"{metric} {name}"] = hourly("AWS/Lambda", metric, "Sum", FunctionName=name)
    for name in _names(resources, aws.LOG_GROUP):
        wanted[f"logs {name}"] = hourly("AWS/Logs", "IncomingBytes", "Sum", LogGroupName=name)
    for url in _names(resources, aws.QUEUE):
        for metric in REQUESTS:
            wanted[f"{metric} {url}"] = hourly("AWS/SQS", metric, "Sum", QueueName=_queue_name(url))
    for table in _names(resources, aws.TABLE):
        for metric in UNITS:
            wanted[f"{metric} {table}"] = hourly("AWS/DynamoDB", metric, "Sum", TableName=table)
    return wanted


def usage(
    readings: PlaneReadings, series: AllSeries, window: Window, workloads: Sequence[Workload], documents: int
) -> PlaneUsage:
    """All that the bill needs; `documents` counts those that are refused too."""
    resources = readings.resources
    points = sum(2 if workload.publishes_effective else 1 for workload in workloads)

    def of(read: Callable[[Resources], Found]) -> Found | Unknown:
        return resources if isinstance(resources, Unknown) else read(resources)

    is_used = any(workload.deadline is not None for workload in workloads)

    def units(metric: str) -> float | Unknown:
        """DynamoDB publishes nothing for a table that is not used; the deadline engine uses it every tick."""
        if isinstance(resources, Unknown):
            return resources
        found = [(table, series[f"{metric} {table}"]) for table in _names(resources, aws.TABLE)]
        for table, values in found:
            if is_used and not values:
                return Unknown(
                    reason=f"CloudWatch has no {metric} of {table}, which each tick of a deadline uses"
                )
        return _added([total(values) for _, values in found])

    return PlaneUsage(
        window=window,
        alarms=readings.alarms,
        deleted_alarms=_deleted_alarms(resources, readings.alarms),
        dashboards=of(lambda found: len(found.get(aws.DASHBOARD, {}))),
        schedules=of(lambda _: _schedules(readings)),
        functions=of(lambda found: _functions(found, readings, series)),
        logged_bytes=of(lambda found: _logged(found, readings, series)),
        metric_hours=hours_with_values(readings.metrics, series, window),
        queue_requests=of(lambda found: _requests(found, series)),
        read_units=units(UNITS[0]),
        write_units=units(UNITS[1]),
        points_a_minute=points,
        workloads=documents,
        sends_events=bool(readings.parameters.get("EventBusArn")),
    )


def _deleted_alarms(resources: Resources | Unknown, alarms: Sequence[Mapping[str, Any]] | Unknown) -> int:
    if isinstance(resources, Unknown) or isinstance(alarms, Unknown):
        return 0
    return len(_names(resources, aws.ALARM)) - len(alarms)


def _schedules(readings: PlaneReadings) -> Amounts:
    return {
        name: found if isinstance(found, Unknown) else invocations_a_month(found)
        for name, found in readings.schedules.items()
        if found is not None
    }


def _functions(resources: Resources, readings: PlaneReadings, series: AllSeries) -> list[FunctionUsage]:
    found = []
    for logical_id, name in resources.get(aws.FUNCTION, {}).items():
        size = readings.sizes[name]
        known = not isinstance(size, Unknown)
        invocations = _invocations(logical_id, name, readings, series)
        duration = total(series[f"Duration {name}"])
        if not series[f"Duration {name}"] and not isinstance(invocations, Unknown) and invocations:
            duration = Unknown(reason=f"CloudWatch has no Duration of {name}, which was invoked")
        found.append(
            FunctionUsage(
                name=_function(logical_id),
                invocations=invocations,
                duration_ms=invocations if isinstance(invocations, Unknown) else duration,
                memory_mb=size.memory_mb if not isinstance(size, Unknown) else size,
                architecture=size.architecture if known and not isinstance(size, Unknown) else "arm64",
            )
        )
    return found


def _invocations(logical_id: str, name: str, readings: PlaneReadings, series: AllSeries) -> float | Unknown:
    """Lambda publishes none for a function that was not invoked; a scheduled one always has some."""
    found = series[f"Invocations {name}"]
    scheduled = any(
        schedule.startswith(logical_id) and expression is not None
        for schedule, expression in readings.schedules.items()
    )
    if not isinstance(found, Unknown) and not found and scheduled:
        return Unknown(
            reason=f"CloudWatch has no Invocations of {name}, although its schedule is enabled; "
            "`sluice doctor` checks it"
        )
    return total(found)


def _logged(resources: Resources, readings: PlaneReadings, series: AllSeries) -> Amounts:
    """CloudWatch Logs publishes nothing for a group into which nothing was written."""
    functions = resources.get(aws.FUNCTION, {})
    found: dict[str, float | Unknown] = {}
    for logical_id, group in resources.get(aws.LOG_GROUP, {}).items():
        own = logical_id.removesuffix(LOGS_ENDING) + FUNCTION_ENDING
        written = series[f"logs {group}"]
        ran = _invocations(own, functions[own], readings, series) if own in functions else 0.0
        if isinstance(written, Unknown) or written:
            found[group] = total(written)
        elif isinstance(ran, Unknown):
            found[group] = ran
        elif ran:
            found[group] = Unknown(
                reason=f"CloudWatch has no IncomingBytes of {group}, although its function ran"
            )
        else:
            found[group] = 0.0
    return found


def _requests(resources: Resources, series: AllSeries) -> Amounts:
    """SQS publishes nothing for a queue without activity."""
    found: dict[str, float | Unknown] = {}
    for logical_id, url in resources.get(aws.QUEUE, {}).items():
        counts = [series[f"{metric} {url}"] for metric in REQUESTS]
        if logical_id in POLLED_QUEUES and not any(counts):
            found[url] = Unknown(
                reason=f"CloudWatch has no requests of {_queue_name(url)}, which Lambda polls all the time"
            )
        else:
            found[url] = _added([total(each) for each in counts])
    return found


def _added(amounts: Sequence[float | Unknown]) -> float | Unknown:
    total_amount = 0.0
    for amount in amounts:
        if isinstance(amount, Unknown):
            return amount
        total_amount += amount
    return total_amount


def _names(resources: Resources, kind: str) -> list[str]:
    return list(resources.get(kind, {}).values())


def _queue_name(url: str) -> str:
    return url.rsplit("/", 1)[-1]


def _function(logical_id: str) -> str:
    """The function's name in the docs: `publish_backlog` of PublishBacklogFunction."""
    words = logical_id.removesuffix(FUNCTION_ENDING)
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in words).lstrip("_")
