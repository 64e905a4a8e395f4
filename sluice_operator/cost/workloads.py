"""Reads what workloads' stacks have deployed, and what they, their workers and their fleets have used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any

from sluice.core.model import (
    BACKLOG_PER_INSTANCE,
    EFFECTIVE_BACKLOG_PER_INSTANCE,
    AutoScalingGroup,
    EcsService,
    Fleet,
    Metric,
    Unknown,
    Workload,
)
from sluice.ports import SeriesQuery
from sluice.usecases.published_backlog import published_metric
from sluice_operator.aws import billed_resources as aws
from sluice_operator.aws.billed_resources import Stack
from sluice_operator.aws.fleet_hardware import read_hardware
from sluice_operator.core.account_usage import (
    FleetHours,
    Window,
    WorkloadUsage,
    fleet_hours,
)
from sluice_operator.core.hardware import Ec2Instances, Hardware, Unpriced
from sluice_operator.cost.reads import (
    HOURS_WITH_VALUES,
    AllSeries,
    Reads,
    hours_with_values,
    metric_queries,
    of_metric,
    within,
)

PUBLISHED = (BACKLOG_PER_INSTANCE, EFFECTIVE_BACKLOG_PER_INSTANCE)
PREFIX, TRACKING_PREFIX = "sluice-", "TargetTracking-"
"""Of the alarms of workload.yaml, and of those that AWS makes for a target-tracking policy."""
CREATED_BY = ":createdBy/"
"""Application Auto Scaling appends it, and a UUID, to the policy's ARN in an alarm's actions."""
MEASURABLE = timedelta(minutes=15)
"""CloudWatch may take so long to list a new metric."""
TOTAL_INSTANCES = "GroupTotalInstances"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadCost:
    """What one workload uses, the hours of its fleet, and what is wrong with its stack."""

    name: str
    usage: WorkloadUsage | None
    """None if its document is refused."""
    fleet: FleetHours | Unknown
    hardware: Hardware | Unknown
    """What its instances are."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadReadings:
    """What is deployed for all chosen workloads together."""

    stacks: Mapping[str, Stack | None] | Unknown
    """By id; None for one that is known to be gone."""
    alarms: Sequence[Mapping[str, Any]] | Unknown
    tracking_alarms: Sequence[Mapping[str, Any]] | Unknown
    dashboards: Collection[str] | Unknown
    metrics: Mapping[str, Sequence[Metric] | Unknown]
    """By namespace."""
    hardware: Mapping[Fleet, Hardware | Unknown]


def begin(
    reads: Reads, workloads: Sequence[Workload], *, with_hardware: bool
) -> Callable[[], WorkloadReadings]:
    """Start reading what is deployed; the returned function waits for it.

    Without `with_hardware`, what the instances are is not read: the user gives their price.
    """
    clients, namespace = reads.account.clients, reads.account.ports.namespace
    one = workloads[0] if len(workloads) == 1 else None
    prefix = f"{PREFIX}{one.name}-" if one else PREFIX

    def read_stacks() -> Mapping[str, Stack | None]:
        client = clients("cloudformation")
        return {one.stack_id: aws.stack(client, one.stack_id)} if one else aws.stacks(client)

    cloudwatch = clients("cloudwatch")
    namespaces = {namespace, *(workload.duration_metric.namespace for workload in workloads)}
    stacks = reads.begin("DescribeStacks", read_stacks)
    alarms = reads.begin("DescribeAlarms", lambda: aws.alarms(cloudwatch, prefix))
    policies = reads.begin("DescribeAlarms", lambda: tracking_alarms(cloudwatch, one.fleets if one else None))
    dashboards = reads.begin("ListDashboards", lambda: aws.dashboards(cloudwatch, prefix))
    metrics = {
        each: reads.begin("ListMetrics", lambda each=each: aws.metrics(cloudwatch, each))  # type: ignore[misc]
        for each in sorted(namespaces)
    }
    return lambda: WorkloadReadings(
        stacks=stacks(),
        alarms=alarms(),
        tracking_alarms=policies(),
        dashboards=dashboards(),
        metrics={each: finish() for each, finish in metrics.items()},
        hardware=read_hardware(
            clients,
            reads.pool,
            {fleet for workload in workloads for fleet in workload.fleets} if with_hardware else (),
            reads.remaining_s,
        ),
    )


def tracking_alarms(cloudwatch: Any, fleets: Collection[Fleet] | None) -> list[Mapping[str, Any]]:
    """The alarms of AWS for the target-tracking policies of these fleets; None for those of every fleet."""
    prefixes = (
        [TRACKING_PREFIX] if fleets is None else [f"{TRACKING_PREFIX}{_tracked(fleet)}-" for fleet in fleets]
    )
    # The name of one fleet may begin with that of the other.
    found = {alarm["AlarmName"]: alarm for prefix in prefixes for alarm in aws.alarms(cloudwatch, prefix)}
    return list(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed:
    """What of the readings is one workload's."""

    workload: Workload
    alarms: Sequence[Mapping[str, Any]] | Unknown
    published: Sequence[Metric] | Unknown
    workers: Sequence[Metric] | Unknown


def attributed(
    reads: Reads, readings: WorkloadReadings, workloads: Sequence[Workload], known: Collection[str]
) -> list[Attributed]:
    """Each workload with its alarms and metrics; `known` are the names of all that are registered."""
    by_name = _by_workload(readings.alarms, known)
    by_policy = _by_policy(readings.tracking_alarms)
    by_dimensions = {
        namespace: found if isinstance(found, Unknown) else _by_dimension(found)
        for namespace, found in readings.metrics.items()
    }
    result = []
    for workload in workloads:
        own = by_name if isinstance(by_name, Unknown) else by_name.get(workload.name, [])
        tracking = by_policy if isinstance(by_policy, Unknown) else _tracking(workload, by_policy)
        alarms: Sequence[Mapping[str, Any]] | Unknown
        if isinstance(own, Unknown):
            alarms = own
        elif isinstance(tracking, Unknown):
            alarms = tracking if any(of.policy_arn for of in _by_color(workload)) else own
        else:
            alarms = [*own, *tracking]
        colors = _by_color(workload)
        expected = [published_metric(reads.account.ports, of, name) for of in colors for name in PUBLISHED]
        durations = [of.duration_metric for of in colors]
        result.append(
            Attributed(
                workload=workload,
                alarms=alarms,
                published=_published(workload, expected, by_dimensions[expected[0].namespace]),
                workers=_workers(durations, expected, by_dimensions[durations[0].namespace]),
            )
        )
    return result


def queries(found: Sequence[Attributed]) -> dict[str, SeriesQuery]:
    """The metrics that say what the workloads, their workers and their fleets used."""
    wanted: dict[str, SeriesQuery] = {}
    for each in found:
        wanted |= metric_queries(each.published) | metric_queries(each.workers)
        for metric in (size for fleet in each.workload.fleets for size in _sizes(fleet)):
            for statistic in ("Average", HOURS_WITH_VALUES):
                wanted[_size_key(metric, statistic)] = of_metric(metric, statistic)
    return wanted


def costs(
    readings: WorkloadReadings, found: Sequence[Attributed], series: AllSeries, window: Window, region: str
) -> list[WorkloadCost]:
    """What each workload has used since its stack was created, within the window."""
    result = []
    for each in found:
        workload, notes = each.workload, list[str]()
        stacks = readings.stacks
        own, stack = window, None
        if isinstance(stacks, Unknown):
            notes.append(f"whether its stack exists, and since when, is unknown: {stacks.reason}")
        else:
            stack = stacks.get(workload.stack_id)
        young: Unknown | None = None
        if stack is not None:
            own, young = _narrower(window, stack)
            notes += _brief(own, window) if young is None else ()
        elif not isinstance(stacks, Unknown):
            notes.append(
                f"its stack {workload.stack_id} does not exist any more, but its document is still "
                "registered: the control plane serves it, and what is left of it is billed; delete the SSM "
                "parameter"
            )
        fleet = young or _fleet(workload, series, own)
        dashboards = readings.dashboards
        result.append(
            WorkloadCost(
                name=workload.name,
                usage=WorkloadUsage(
                    workload=workload,
                    window=own,
                    alarms=each.alarms,
                    dashboards=dashboards
                    if isinstance(dashboards, Unknown)
                    else int(f"{PREFIX}{workload.name}-{region}" in dashboards),
                    metric_hours=young or hours_with_values(each.published, series, own),
                    worker_metric_hours=young or hours_with_values(each.workers, series, own),
                    fleet=fleet,
                ),
                fleet=fleet,
                hardware=_hardware(readings, workload),
                notes=tuple(notes),
            )
        )
    return result


def _narrower(window: Window, stack: Stack) -> tuple[Window, Unknown | None]:
    """The part of the window since the stack was created; Unknown if that is too short to measure anything.

    The window may end up to an hour ago, at the full hour: a stack may be younger than that.
    """
    created_at = stack.created_at
    if created_at <= window.start:
        return window, None
    if window.end - created_at < MEASURABLE:
        reason = f"too young: deployed at {created_at.astimezone(UTC):%H:%M} UTC, come back in an hour"
        return window, Unknown(reason=reason)
    return Window(start=created_at, end=window.end), None


def _brief(own: Window, window: Window) -> list[str]:
    """Says that a month is inferred from minutes, where it is not the window that the footer shows."""
    if own.hours >= 1 or own == window:
        return []
    return [f"measured for {own.hours * 60:.0f} minutes alone, since its stack was created, and scaled"]


def _by_workload(
    alarms: Sequence[Mapping[str, Any]] | Unknown, known: Collection[str]
) -> Mapping[str, list[Mapping[str, Any]]] | Unknown:
    """By the longest registered name that its name continues: `sluice-a-b-age` is of a-b, not of a."""
    if isinstance(alarms, Unknown):
        return alarms
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for alarm in alarms:
        parts = str(alarm["AlarmName"]).removeprefix(PREFIX).split("-")
        for length in range(len(parts) - 1, 0, -1):
            if (name := "-".join(parts[:length])) in known:
                found[name].append(alarm)
                break
    return found


def _by_policy(
    alarms: Sequence[Mapping[str, Any]] | Unknown,
) -> Mapping[str, list[Mapping[str, Any]]] | Unknown:
    """By the ARN of the scaling policy that the alarm starts, without the suffix that ECS policies get."""
    if isinstance(alarms, Unknown):
        return alarms
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for alarm in alarms:
        for action in alarm.get("AlarmActions", ()):
            found[action.partition(CREATED_BY)[0]].append(alarm)
    return found


def _tracking(
    workload: Workload, by_policy: Mapping[str, list[Mapping[str, Any]]]
) -> Sequence[Mapping[str, Any]] | Unknown:
    """AWS makes a policy's alarms while it is put: to find none is no proof that none are billed."""
    found: list[Mapping[str, Any]] = []
    for of in _by_color(workload):
        if of.policy_arn is None:
            continue
        if of.policy_arn not in by_policy:
            return Unknown(
                reason=f"no alarm {TRACKING_PREFIX}{_tracked(of.fleet)}-... starts the policy "
                f"{of.policy_arn}, for which AWS makes one or two; `sluice doctor` says whether it exists"
            )
        found += by_policy[of.policy_arn]
    return found


def _by_dimension(metrics: Sequence[Metric]) -> Mapping[tuple[str, str], list[Metric]]:
    """By each of its dimensions: a workload is found by one of its own, not by reading all metrics anew."""
    found: dict[tuple[str, str], list[Metric]] = defaultdict(list)
    for metric in metrics:
        for dimension in metric.dimensions.items():
            found[dimension].append(metric)
    return found


def _published(
    workload: Workload,
    expected: Sequence[Metric],
    listed: Mapping[tuple[str, str], list[Metric]] | Unknown,
) -> Sequence[Metric] | Unknown:
    """What the control plane publishes for it, which it does every minute."""
    if isinstance(listed, Unknown):
        return listed
    found = [metric for like in expected for metric in _with(like, listed) if metric == like]
    if not found:
        return Unknown(
            reason=f"CloudWatch lists no {BACKLOG_PER_INSTANCE} of {workload.fleet} in "
            f"{expected[0].namespace} in the last two weeks; `sluice status {workload.name}` says why"
        )
    return found


def _workers(
    durations: Sequence[Metric],
    published: Sequence[Metric],
    listed: Mapping[tuple[str, str], list[Metric]] | Unknown,
) -> Sequence[Metric] | Unknown:
    """What has the dimensions of MsgProcessingDuration, and perhaps more."""
    if isinstance(listed, Unknown):
        return listed
    found: list[Metric] = []
    for duration in durations:
        found += [each for each in _with(duration, listed) if each not in published and each not in found]
    return found


def _with(like: Metric, listed: Mapping[tuple[str, str], list[Metric]]) -> list[Metric]:
    """The metrics with at least its dimensions."""
    wanted = like.dimensions.items()
    narrow = min((listed.get(each, []) for each in wanted), key=len, default=[])
    return [metric for metric in narrow if wanted <= metric.dimensions.items()]


def _tracked(fleet: Fleet) -> str:
    """How AWS names a fleet in the names of a policy's alarms."""
    match fleet:
        case AutoScalingGroup():
            return fleet.name
        case EcsService():
            return f"service/{fleet.cluster}/{fleet.service}"


def _sizes(fleet: Fleet) -> list[Metric]:
    """Metrics of the fleet's size, the best one first: a group is billed for those that boot and end too."""
    running = fleet.running_metric
    if isinstance(fleet, AutoScalingGroup):
        return [
            Metric(namespace=running.namespace, name=TOTAL_INSTANCES, dimensions=running.dimensions),
            running,
        ]
    return [running]


def _size_key(metric: Metric, statistic: str) -> str:
    return f"{metric} {statistic}"


def _by_color(workload: Workload) -> list[Workload]:
    """The workload with each of its fleets as the active one: both are billed, whichever was active when."""
    if workload.idle is None:
        return [workload]
    return [workload, workload.with_active(workload.idle.color)]


def _hardware(readings: WorkloadReadings, workload: Workload) -> Hardware | Unknown:
    """What the instances of its fleets are; without one price if those of two colors are not alike."""
    found = [readings.hardware.get(fleet, Unknown(reason="it was not read")) for fleet in workload.fleets]
    groups = [each for each in found if isinstance(each, Ec2Instances)]
    if len(groups) == len(found):
        return Ec2Instances(types=[kind for each in groups for kind in each.types])
    if unread := [each for each in found if isinstance(each, Unknown)]:
        return unread[0]
    if all(each == found[0] for each in found):
        return found[0]
    return Unpriced(reason=f"its colors have different instances ({', '.join(map(str, found))})")


def _fleet(workload: Workload, series: AllSeries, window: Window) -> FleetHours | Unknown:
    """Of all its fleets together; hours of which the size of one is not known are missing."""
    found: list[FleetHours] = []
    for fleet in workload.fleets:
        hours = _hours(fleet, series, window)
        if isinstance(hours, Unknown):
            return hours
        found.append(hours)
    return FleetHours(
        instance_hours=sum(each.instance_hours for each in found),
        known_h=min(each.known_h for each in found),
        window_h=window.hours,
    )


def _hours(fleet: Fleet, series: AllSeries, window: Window) -> FleetHours | Unknown:
    """By the metric with the most known hours, the first of equals."""
    found: list[FleetHours] = []
    for metric in _sizes(fleet):
        sizes, samples = (
            series[_size_key(metric, statistic)] for statistic in ("Average", HOURS_WITH_VALUES)
        )
        if isinstance(sizes, Unknown):
            return sizes
        if isinstance(samples, Unknown):
            return samples
        found.append(fleet_hours(within(sizes, window), within(samples, window), window))
    best = max(found, key=lambda each: each.known_h)
    if best.known_h:
        return best
    way_out = (
        "turn the group's metrics on"
        if isinstance(fleet, AutoScalingGroup)
        else "turn Container Insights on for the cluster"
    )
    return Unknown(reason=f"CloudWatch has no {fleet.running_metric.name} of {fleet}: {way_out}")
