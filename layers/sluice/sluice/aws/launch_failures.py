"""AWS's attempts to start instances: the scaling activities of groups, the events of services.

ECS's events have no code: patterns distinguish a failed start from a successful one. Which attempt matters is
decided in `core/launch_failures.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sluice.aws.clients import UNPARSED
from sluice.aws.concurrent_reads import (
    parse_item,
    per_item,
    start_reads,
)
from sluice.aws.ecs import by_cluster
from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, field, list_field
from sluice.core.model import AutoScalingGroup, EcsService, Fleet, LaunchAttempt, Unknown
from sluice.ports import RemainingS

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling.type_defs import ActivityTypeDef
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.type_defs import ServiceTypeDef

MAX_ACTIVITIES = 20
"""AWS returns activities in progress first, then the newest by start time."""
EVENT_FIELDS: Mapping[str, Any] = {"DescribeServices": {"services": {"serviceName": {}, "events": UNPARSED}}}
"""For a separate client: the tick's other client does not parse the hundred events of a service."""
NO_INSTANCE = frozenset({"Failed", "Cancelled"})
LAUNCH = "Launching"
"""The beginning of the description of an activity that launches an instance."""
START_FAILED = re.compile(
    r"unable to (?:place|start|stop or start|consistently start|assume)"
    r"|failed to (?:launch|start)|operations are being throttled",
    re.IGNORECASE,
)
KEEPS_FAILING = re.compile(r"unable to consistently start", re.IGNORECASE)
"""Tasks that start and exit at once (an image for another architecture): here a start does not count as
success."""
STARTED = re.compile(r"has started \d+ task", re.IGNORECASE)
STEADY = re.compile(r"has reached a steady state", re.IGNORECASE)
UNKNOWN_SERVICE: ServiceTypeDef = {"events": []}
"""A service that AWS does not describe has no events; the read of its capacity reports it as missing."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AwsLaunches:
    """Implements `ports.Launches` for every kind of fleet."""

    def __init__(
        self,
        autoscaling: Callable[[], AutoScalingClient],
        ecs_with_events: Callable[[], ECSClient],
        pool: ThreadPoolExecutor,
    ) -> None:
        self._autoscaling, self._ecs, self._pool = autoscaling, ecs_with_events, pool

    def read(
        self, fleets: Collection[Fleet], remaining_s: RemainingS
    ) -> Mapping[Fleet, Collection[LaunchAttempt] | Unknown]:
        """One call per group, one per ten services of a cluster; both kinds are read concurrently."""
        groups = [fleet for fleet in fleets if isinstance(fleet, AutoScalingGroup)]
        services = [fleet for fleet in fleets if isinstance(fleet, EcsService)]
        of_groups = self._start_groups(groups) if groups else None
        of_services = self._start_services(services) if services else None
        attempts: dict[Fleet, Collection[LaunchAttempt] | Unknown] = {}
        if of_groups:
            attempts |= dict(of_groups(remaining_s).items())
        if of_services:
            attempts |= dict(per_item(of_services(remaining_s)).items())
        return attempts

    def _start_groups(
        self, groups: Collection[AutoScalingGroup]
    ) -> Callable[[RemainingS], Mapping[AutoScalingGroup, list[LaunchAttempt] | Unknown]]:
        client = self._autoscaling()

        def attempts(group: AutoScalingGroup) -> list[LaunchAttempt]:
            with aws_errors(_activities_of(group)):
                response = client.describe_scaling_activities(
                    AutoScalingGroupName=group.name, MaxRecords=MAX_ACTIVITIES
                )
                found = [_attempt(activity) for activity in list_field(response, "Activities")]
            return [attempt for attempt in found if attempt]

        return start_reads(self._pool, attempts, groups, _activities_of)

    def _start_services(
        self, services: Collection[EcsService]
    ) -> Callable[
        [RemainingS],
        Mapping[tuple[EcsService, ...], Mapping[EcsService, list[LaunchAttempt] | Unknown] | Unknown],
    ]:
        client = self._ecs()

        def attempts(batch: tuple[EcsService, ...]) -> dict[EcsService, list[LaunchAttempt] | Unknown]:
            with aws_errors(_events_of(batch)):
                response = client.describe_services(
                    cluster=batch[0].cluster, services=[fleet.service for fleet in batch]
                )
                described = {
                    field(service, "serviceName"): service for service in list_field(response, "services")
                }
            return {
                fleet: parse_item(
                    f"events of {fleet}", partial(_attempts, described.get(fleet.service, UNKNOWN_SERVICE))
                )
                for fleet in batch
            }

        return start_reads(self._pool, attempts, by_cluster(services), _events_of)


def _activities_of(group: AutoScalingGroup) -> str:
    return f"DescribeScalingActivities of {group}"


def _events_of(batch: tuple[EcsService, ...]) -> str:
    return f"DescribeServices of {len(batch)} services in cluster {batch[0].cluster}, for their events"


def _attempt(activity: ActivityTypeDef) -> LaunchAttempt | None:
    """None for an activity that is not a launch, and for a cancelled launch without a message."""
    if not field(activity, "Description").startswith(LAUNCH):
        return None
    at = field(activity, "StartTime")
    if field(activity, "StatusCode") not in NO_INSTANCE:
        return LaunchAttempt(at=at)
    message = activity.get("StatusMessage")
    return LaunchAttempt(at=at, failure=message) if message else None


def _attempts(service: ServiceTypeDef) -> list[LaunchAttempt]:
    attempts, keeps_failing = [], False
    for at, message in sorted(
        (_moment(field(event, "createdAt")), field(event, "message"))
        for event in list_field(service, "events")
    ):
        if STEADY.search(message):
            keeps_failing = False
            attempts.append(LaunchAttempt(at=at))
        elif START_FAILED.search(message):
            keeps_failing = keeps_failing or KEEPS_FAILING.search(message) is not None
            attempts.append(LaunchAttempt(at=at, failure=message))
        elif STARTED.search(message) and not keeps_failing:
            attempts.append(LaunchAttempt(at=at))
    return attempts


def _moment(created_at: float | datetime) -> datetime:
    """Seconds since 1970 as in the JSON, or a datetime if the client could not be trimmed."""
    if isinstance(created_at, datetime):
        return created_at
    try:
        return EPOCH + timedelta(seconds=created_at)
    except (OverflowError, TypeError, ValueError):
        raise MalformedResponse(f"{created_at!r} is not a time") from None
