"""ECS services: what they run, and how many they should run.

UpdateService enforces no bounds, so the scalable target's bounds and suspensions are read together with the
service.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from sluice.aws.concurrent_reads import (
    batches,
    not_found,
    parse_item,
    per_item,
    start_reads,
)
from sluice.aws.errors import aws_errors
from sluice.aws.responses import count, field, list_field
from sluice.core.model import (
    DYNAMIC_SCALING_IN_SUSPENDED,
    DYNAMIC_SCALING_OUT_SUSPENDED,
    Bounds,
    Capacity,
    EcsService,
    Unknown,
)
from sluice.ports import RemainingS

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_application_autoscaling.type_defs import ScalableTargetTypeDef
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.type_defs import ServiceTypeDef

SERVICES_PER_CALL = 10
RESPONSE_FIELDS: Mapping[str, Any] = {
    "DescribeServices": {
        "services": {
            "serviceName": {},
            "status": {},
            "desiredCount": {},
            "runningCount": {},
            "deployments": {"rolloutState": {}, "createdAt": {}},
            "taskSets": {"stabilityStatus": {}, "createdAt": {}, "updatedAt": {}},
        }
    },
    "UpdateService": {},
}
"""Operation -> the fields of its response that are needed; an updated service comes with its last events."""
ENDED_STATES = ("COMPLETED", "FAILED")
"""Rollout states of a deployment that has ended; any other state counts as still running."""
SCALABLE_TARGETS_PER_CALL = 50
DIMENSION: Literal["ecs:service:DesiredCount"] = "ecs:service:DesiredCount"


class EcsServices:
    """Implements `ports.Fleets` for ECS services."""

    def __init__(
        self,
        client: Callable[[], ECSClient],
        scaling_client: Callable[[], ApplicationAutoScalingClient],
        pool: ThreadPoolExecutor,
    ) -> None:
        self._client, self._scaling_client, self._pool = client, scaling_client, pool

    def read(
        self, fleets: Collection[EcsService], remaining_s: RemainingS
    ) -> Mapping[EcsService, Capacity | Unknown]:
        """One reading per service: ten services of one cluster a call, fifty scalable targets a call."""
        return self.start_reads(fleets)(remaining_s)

    def start_reads(
        self, fleets: Collection[EcsService]
    ) -> Callable[[RemainingS], Mapping[EcsService, Capacity | Unknown]]:
        """Start reading services and scalable targets together; the returned function waits for both."""
        # The clients are created here, in one thread: creating them is not thread-safe, using them is.
        services_of = partial(_services, self._client())
        targets_of = partial(_targets, self._scaling_client())
        services = start_reads(self._pool, services_of, by_cluster(fleets), _read_services)
        targets = start_reads(
            self._pool, targets_of, batches(fleets, SCALABLE_TARGETS_PER_CALL), _read_targets
        )

        def finish_reads(remaining_s: RemainingS) -> Mapping[EcsService, Capacity | Unknown]:
            service, target = per_item(services(remaining_s)), per_item(targets(remaining_s))
            return {fleet: _joined(service[fleet], target[fleet]) for fleet in fleets}

        return finish_reads

    def set_desired(self, fleet: EcsService, instances: int) -> None:
        """UpdateService with only a desired count, which starts no deployment."""
        with aws_errors(f"UpdateService of {fleet} to {instances}"):
            self._client().update_service(
                cluster=fleet.cluster, service=fleet.service, desiredCount=instances
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deployment:
    """A deployment that runs, or cannot be ruled out; `since` is None if AWS does not say."""

    description: str = "a deployment is rolling"
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    desired: int
    running: int
    deployment: _Deployment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScalableTarget:
    """Bounds and suspensions; the defaults are those of a service without a scalable target."""

    bounds: Bounds | None = None
    out_suspended: bool = False
    in_suspended: bool = False
    schedules_suspended: bool = False


def resource_id(fleet: EcsService) -> str:
    """The service's resource ID in Application Auto Scaling."""
    return f"service/{fleet.cluster}/{fleet.service}"


def _read_services(batch: tuple[EcsService, ...]) -> str:
    return f"DescribeServices of {len(batch)} services in cluster {batch[0].cluster}"


def _read_targets(batch: tuple[EcsService, ...]) -> str:
    return f"DescribeScalableTargets of {len(batch)} services"


def _services(client: ECSClient, batch: tuple[EcsService, ...]) -> dict[EcsService, _Service | Unknown]:
    cluster = batch[0].cluster
    with aws_errors(_read_services(batch)):
        response = client.describe_services(cluster=cluster, services=[fleet.service for fleet in batch])
        described = {field(service, "serviceName"): service for service in list_field(response, "services")}
    readings = {
        name: parse_item(f"DescribeServices of {cluster}/{name}", partial(_service, service))
        for name, service in described.items()
    }
    found = {name: reading for name, reading in readings.items() if reading is not None}
    return {fleet: found.get(fleet.service, Unknown(reason=not_found(f"active {fleet}"))) for fleet in batch}


def _targets(
    client: ApplicationAutoScalingClient, batch: tuple[EcsService, ...]
) -> dict[EcsService, _ScalableTarget | Unknown]:
    pages = client.get_paginator("describe_scalable_targets").paginate(
        ServiceNamespace="ecs",
        ScalableDimension=DIMENSION,
        ResourceIds=[resource_id(fleet) for fleet in batch],
    )
    with aws_errors(_read_targets(batch)):
        described = {
            field(target, "ResourceId"): target
            for page in pages
            for target in list_field(page, "ScalableTargets")
        }
    found = {
        name: parse_item(f"DescribeScalableTargets of {name}", partial(_scalable_target, target))
        for name, target in described.items()
    }
    return {fleet: found.get(resource_id(fleet), _ScalableTarget()) for fleet in batch}


def by_cluster(fleets: Iterable[EcsService]) -> Iterator[tuple[EcsService, ...]]:
    """The services in batches of one cluster each, as many as one DescribeServices call takes."""
    clusters: dict[str, list[EcsService]] = defaultdict(list)
    for fleet in fleets:
        clusters[fleet.cluster].append(fleet)
    for members in clusters.values():
        yield from batches(members, SERVICES_PER_CALL)


def _service(described: ServiceTypeDef) -> _Service | None:
    """None for a service that is deleted or draining: AWS still describes it for a while."""
    if field(described, "status") != "ACTIVE":
        return None
    return _Service(
        desired=count(field(described, "desiredCount")),
        running=count(field(described, "runningCount")),
        deployment=_deployment(described),
    )


def _deployment(described: ServiceTypeDef) -> _Deployment | None:
    """The running deployment: ECS lists deployments, CODE_DEPLOY and EXTERNAL list task sets."""
    if deployments := list_field(described, "deployments"):
        rolling = len(deployments) > 1 or deployments[0].get("rolloutState", "COMPLETED") not in ENDED_STATES
        began = [deployment.get("createdAt") for deployment in deployments]
        return _Deployment(since=_newest(began)) if rolling else None
    task_sets = described.get("taskSets")
    if task_sets is None:
        return _Deployment(description="AWS shows neither deployments nor task sets, so one may be rolling")
    if len(task_sets) > 1:
        return _Deployment(since=_newest([task_set.get("createdAt") for task_set in task_sets]))
    for task_set in task_sets:
        if task_set.get("stabilityStatus") != "STEADY_STATE":
            # Not stabilityStatusAt, when AWS last checked: a change of the desired count updates it too.
            return _Deployment(since=_newest([task_set.get("createdAt"), task_set.get("updatedAt")]))
    return None


def _newest(times: Iterable[datetime | None]) -> datetime | None:
    """A deployment began with its newest part; the older parts are the ones that it replaces."""
    return max((time.astimezone(UTC) for time in times if time is not None), default=None)


def _scalable_target(described: ScalableTargetTypeDef) -> _ScalableTarget:
    suspended = described.get("SuspendedState", {})
    return _ScalableTarget(
        bounds=Bounds(min=count(field(described, "MinCapacity")), max=count(field(described, "MaxCapacity"))),
        out_suspended=suspended.get("DynamicScalingOutSuspended", False),
        in_suspended=suspended.get("DynamicScalingInSuspended", False),
        schedules_suspended=suspended.get("ScheduledScalingSuspended", False),
    )


def _joined(service: _Service | Unknown, target: _ScalableTarget | Unknown) -> Capacity | Unknown:
    if isinstance(service, Unknown):
        return service
    if isinstance(target, Unknown):
        return target
    deployment = service.deployment
    return Capacity(
        desired=service.desired,
        running=service.running,
        bounds=target.bounds,
        scale_out_blocked_by=(DYNAMIC_SCALING_OUT_SUSPENDED,) if target.out_suspended else (),
        scale_in_blocked_by=(
            *((DYNAMIC_SCALING_IN_SUSPENDED,) if target.in_suspended else ()),
            *((deployment.description,) if deployment else ()),
        ),
        deploying_since=deployment.since if deployment else None,
        schedules_suspended=target.schedules_suspended,
    )
