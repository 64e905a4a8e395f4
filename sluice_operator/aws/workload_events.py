"""One workload's alarms, scaling activities and deployments: a call or two each, for the detail view only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sluice.aws.concurrent_reads import unknown_reading
from sluice.aws.ecs import DIMENSION, ENDED_STATES, resource_id
from sluice.aws.errors import aws_errors
from sluice.aws.responses import field, list_field, optional_list_field
from sluice.core.model import AutoScalingGroup, EcsService, Fleet, Unknown, Workload
from sluice.errors import attempt
from sluice_operator.core.events import Activity, AlarmState, Deployment
from sluice_operator.core.workload_alarms import alarm_names, optional_alarm_names

ENDED_ACTIVITIES = frozenset({"Successful", "Failed", "Cancelled", "Overridden", "Unfulfilled"})
NOT_SCALED = "NotScaled"
"""Our status of an activity in which an alarm changed nothing; AWS's own says Failed."""
NOT_SCALED_REASONS = {
    "AlreadyAtMaxCapacity": "already at its maximum of {MaxCapacity}",
    "AlreadyAtMinCapacity": "already at its minimum of {MinCapacity}",
    "AlreadyAtDesiredCapacity": "the desired count is {CurrentCapacity} already",
    "AutoScalingAnticipatedFlapping": "scaling in would soon be followed by scaling out",
    "TargetServicePutResourceAsUnscalable": "ECS does not let the service be scaled at present",
}
REFRESH_ENDED = frozenset({"Successful", "Failed", "Cancelled", "RollbackSuccessful", "RollbackFailed"})
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadEvents:
    """What happens around one workload; what could not be read is Unknown."""

    alarms: tuple[AlarmState, ...] | Unknown
    """The workload's own, then those of its target-tracking policy."""
    activities: tuple[Activity, ...] | Unknown
    """Newest first."""
    deployments: tuple[Deployment, ...] | Unknown


def read_events(clients: Callable[[str], Any], workload: Workload, since: datetime) -> WorkloadEvents:
    """The alarms and deployments of now, and the activities since that moment."""
    fleet = workload.fleet
    return WorkloadEvents(
        alarms=read_or_unknown("DescribeAlarms", lambda: _alarms(clients("cloudwatch"), workload)),
        activities=read_or_unknown(
            f"DescribeScalingActivities of {fleet}", lambda: tuple(activities(clients, fleet, since))
        ),
        deployments=read_or_unknown(
            f"the deployments of {fleet}", lambda: tuple(_deployments(clients, fleet))
        ),
    )


def read_or_unknown(what: str, read: Callable[[], Found]) -> Found | Unknown:
    """What `read` answers, or why it could not."""

    def called() -> Found:
        with aws_errors(what):
            return read()

    outcome = attempt(called)
    return unknown_reading(outcome, what) if isinstance(outcome, Exception) else outcome


def _alarms(cloudwatch: Any, workload: Workload) -> tuple[AlarmState, ...]:
    names = [*alarm_names(workload), *optional_alarm_names(workload)]
    found = list_field(cloudwatch.describe_alarms(AlarmNames=names), "MetricAlarms")
    # By position: the call answers in its own order.
    own = sorted(found, key=lambda alarm: names.index(field(alarm, "AlarmName")))
    return tuple(map(_alarm, [*own, *tracking_alarms(cloudwatch, workload)]))


def tracking_alarms(cloudwatch: Any, workload: Workload) -> list[Mapping[str, Any]]:
    """The alarms of its target-tracking policy, as CloudWatch describes them."""
    fleet = workload.fleet
    scaled = fleet.name if isinstance(fleet, AutoScalingGroup) else resource_id(fleet)
    pages = cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=f"TargetTracking-{scaled}-Alarm"
    )
    return [alarm for page in pages for alarm in list_field(page, "MetricAlarms")]


def _alarm(described: Mapping[str, Any]) -> AlarmState:
    return AlarmState(
        name=field(described, "AlarmName"),
        state=field(described, "StateValue"),
        reason=described.get("StateReason", ""),
        since=field(described, "StateUpdatedTimestamp"),
        actions_enabled=described.get("ActionsEnabled", True) is True,
    )


def activities(clients: Callable[[str], Any], fleet: Fleet, since: datetime) -> Iterable[Activity]:
    """The scaling activities since that moment, newest first; what an alarm left unchanged is NOT_SCALED."""
    if isinstance(fleet, AutoScalingGroup):
        pages, key = _group_pages(clients("autoscaling"), fleet), "Activities"
    else:
        pages, key = _service_pages(clients("application-autoscaling"), fleet), "ScalingActivities"
    for page in pages:
        for activity in list_field(page, key):
            if field(activity, "StartTime") >= since:
                yield _activity(activity)
            # AWS lists those in progress first, however old they are, and then the newest first.
            elif field(activity, "StatusCode") in ENDED_ACTIVITIES:
                return


def _activity(described: Mapping[str, Any]) -> Activity:
    reasons = optional_list_field(described, "NotScaledReasons")
    return Activity(
        at=field(described, "StartTime"),
        description=field(described, "Description"),
        cause=described.get("Cause", ""),
        status=NOT_SCALED if reasons else field(described, "StatusCode"),
        status_message="; ".join(map(_not_scaled_reason, reasons)) or described.get("StatusMessage", ""),
    )


def _not_scaled_reason(reason: Mapping[str, Any]) -> str:
    code: str = field(reason, "Code")
    return NOT_SCALED_REASONS.get(code, code).format_map(defaultdict(lambda: "?", reason))


def _group_pages(client: Any, group: AutoScalingGroup) -> Iterable[Mapping[str, Any]]:
    pages: Iterable[Mapping[str, Any]] = client.get_paginator("describe_scaling_activities").paginate(
        AutoScalingGroupName=group.name
    )
    return pages


def _service_pages(client: Any, service: EcsService) -> Iterable[Mapping[str, Any]]:
    pages: Iterable[Mapping[str, Any]] = client.get_paginator("describe_scaling_activities").paginate(
        ServiceNamespace="ecs",
        ResourceId=resource_id(service),
        ScalableDimension=DIMENSION,
        IncludeNotScaledActivities=True,
    )
    return pages


def _deployments(clients: Callable[[str], Any], fleet: Fleet) -> Iterable[Deployment]:
    if isinstance(fleet, AutoScalingGroup):
        if refresh := instance_refresh(clients("autoscaling"), fleet):
            yield refresh
        return
    answer = clients("ecs").describe_services(cluster=fleet.cluster, services=[fleet.service])
    for service in list_field(answer, "services"):
        deployments = optional_list_field(service, "deployments")
        for deployment in deployments:
            if len(deployments) > 1 or deployment.get("rolloutState", "COMPLETED") not in ENDED_STATES:
                yield Deployment(
                    started_at=deployment.get("createdAt"),
                    description=f"{deployment.get('status', '?')} deployment "
                    f"{deployment.get('rolloutState', '')}: {deployment.get('runningCount', 0)} of "
                    f"{deployment.get('desiredCount', 0)} tasks run",
                )


def instance_refresh(autoscaling: Any, group: AutoScalingGroup) -> Deployment | None:
    """The group's instance refresh that is under way; AWS allows one."""
    answer = autoscaling.describe_instance_refreshes(AutoScalingGroupName=group.name)
    for refresh in list_field(answer, "InstanceRefreshes"):
        if field(refresh, "Status") not in REFRESH_ENDED:
            return Deployment(
                started_at=refresh.get("StartTime"),
                description=f"instance refresh {refresh['Status']}, "
                f"{refresh.get('PercentageComplete', 0)} % of the instances",
            )
    return None
