"""ECS services and their scalable targets: tasks take time to start, and deployments replace them.

Without this, moto sets the running count to the desired count at once and ignores a scalable target's bounds.
As at AWS, UpdateService is not bounded by the scalable target, but registering a target moves the count into
its bounds.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from moto.applicationautoscaling.models import (
    ApplicationAutoscalingBackend,
    FakeApplicationAutoscalingPolicy,
    FakeScalableTarget,
    applicationautoscaling_backends,
)
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse, _build_policy
from moto.core.exceptions import ServiceException
from moto.ecs.models import EC2ContainerServiceBackend, Service, TaskSet, ecs_backends

from sluice.aws.ecs import DIMENSION
from sluice_sim.account import ACCOUNT_ID, REGION, service_policy_arn
from sluice_sim.aws_rules.ecs_target_tracking import NotScaled
from sluice_sim.aws_rules.monitoring import Monitoring
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.activities import TargetActivities
from sluice_sim.embedded.alarms import named_alarms
from sluice_sim.embedded.fleet import EmbeddedFleet, Instance, Lifecycle
from sluice_sim.embedded.operations import Parameters, answered, page
from sluice_sim.embedded.worker_protocol import Worker

MAX_RESULTS = 50
"""The most policies or activities that one call describes."""
MAX_EVENTS = 100
"""DescribeServices returns the latest 100 events (documented)."""


class ResourceNotFoundError(ServiceException):
    """A scalable target that does not exist."""

    code = "ResourceNotFoundException"


class EcsServices:
    """Every ECS service of the account, by its resource id `service/CLUSTER/NAME`."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._fleets: dict[str, EmbeddedFleet] = {}
        self._apis: dict[str, _ServiceApi] = {}
        self._target_tags: dict[str, dict[str, str]] = {}
        """By the ARN of a scalable target."""

    @contextmanager
    def patched_moto(self, monitoring: Monitoring) -> Iterator[None]:
        """Within the context, UpdateService, scalable targets, policies and activities are handled here."""
        services, register = self, ApplicationAutoscalingBackend.register_scalable_target
        put_policy = ApplicationAutoscalingBackend.put_scaling_policy

        def update(_: EC2ContainerServiceBackend, properties: dict[str, Any]) -> Service:
            resource_id = f"service/{properties['cluster']}/{properties['service']}"
            if properties.get("desired_count") is not None:
                services.set_desired(resource_id, int(properties["desired_count"]))
            if properties.get("force_new_deployment"):
                services.start_deployment(resource_id)
            return _service(resource_id)

        def registered(
            backend: ApplicationAutoscalingBackend, *args: Any, **named: Any
        ) -> FakeScalableTarget:
            target = register(backend, *args, **named)
            services.pull_into_bounds(target.resource_id)
            return target

        def policies(asked: Parameters) -> object:
            """By exact resource and by name, with the alarms that they have; moto does otherwise."""
            backend = applicationautoscaling_backends[ACCOUNT_ID][REGION]
            found = [
                _build_policy(policy)
                | {"Alarms": named_alarms(monitoring.policy_alarms(policy.resource_id, policy.policy_arn))}
                for policy in backend.policies.values()
                if asked.get("ResourceId", policy.resource_id) == policy.resource_id
                and policy.policy_name in asked.get("PolicyNames", [policy.policy_name])
            ]
            some, token = page(found, asked.get("MaxResults", MAX_RESULTS), asked.get("NextToken"))
            return {"ScalingPolicies": some, **token}

        def put(
            backend: ApplicationAutoscalingBackend, *args: Any, **named: Any
        ) -> FakeApplicationAutoscalingPolicy:
            policy = put_policy(backend, *args, **named)
            policy.policy_arn = service_policy_arn(policy.resource_id, policy.policy_name)
            policy.alarms = []
            return policy

        with (
            mock.patch.object(EC2ContainerServiceBackend, "update_service", update),
            mock.patch.object(ApplicationAutoscalingBackend, "register_scalable_target", registered),
            mock.patch.object(ApplicationAutoscalingBackend, "put_scaling_policy", put),
            answered(
                ApplicationAutoScalingResponse,
                describe_scaling_policies=policies,
                describe_scaling_activities=self._describe_activities,
                tag_resource=lambda asked: self._tags(asked).update(asked["Tags"]),
                untag_resource=lambda asked: [self._tags(asked).pop(key, None) for key in asked["TagKeys"]],
                list_tags_for_resource=lambda asked: {"Tags": self._tags(asked)},
            ),
        ):
            yield

    def _tags(self, asked: Parameters) -> dict[str, str]:
        """The tags of a scalable target: its own, not those of its service."""
        arn = asked["ResourceARN"]
        if arn not in {target.arn for target in _targets().values()}:
            raise ResourceNotFoundError(f"No scalable target found for resource ARN: {arn}")
        return self._target_tags.setdefault(arn, {})

    def _describe_activities(self, asked: Parameters) -> object:
        found = [
            activity
            for resource_id, api in self._apis.items()
            if asked.get("ResourceId", resource_id) == resource_id
            for activity in reversed(api.activities.every)
            if asked.get("IncludeNotScaledActivities") or "NotScaledReasons" not in activity
        ]
        found.sort(key=lambda activity: activity["StartTime"], reverse=True)
        some, token = page(found, asked.get("MaxResults", MAX_RESULTS), asked.get("NextToken"))
        return {"ScalingActivities": some, **token}

    def run(self, resource_id: str, *, boot_s: float, start: Callable[[], Worker]) -> EmbeddedFleet:
        """Attach a fleet to a service that was created without tasks."""
        activities = TargetActivities(resource_id=resource_id, dimension=DIMENSION)
        api = self._apis[resource_id] = _ServiceApi(service=_service(resource_id), activities=activities)
        api.deploy(self._clock.now)
        self._fleets[resource_id] = EmbeddedFleet(self._clock, api, boot_s=boot_s, start=start)
        return self._fleets[resource_id]

    def start_deployment(self, resource_id: str) -> None:
        """Start a deployment; for another controller than ECS, as that controller would start it."""
        self._apis[resource_id].deploy(self._clock.now)
        self._fleets[resource_id].start_deployment()

    def fleets(self) -> dict[str, EmbeddedFleet]:
        """Every fleet by the resource id of its service."""
        return self._fleets

    def fleet(self, resource_id: str) -> EmbeddedFleet:
        """The fleet of the service."""
        return self._fleets[resource_id]

    def fail_launches(self, resource_id: str, words: str | None) -> None:
        """Make every launch fail with this service event; None lets launches succeed again."""
        self._fleets[resource_id].launch_failure = words

    def set_desired(self, resource_id: str, desired: int, cause: str | None = None) -> None:
        """As UpdateService: sets the desired count without bounds and without a deployment.

        With a cause it is Application Auto Scaling that does so, and records an activity.
        """
        if cause:
            self._apis[resource_id].activities.scaling(self._clock.now, desired, cause)
        _service(resource_id).desired_count = desired
        self._fleets[resource_id].set_desired(desired)

    def pull_into_bounds(self, resource_id: str) -> None:
        """Move the desired count into the bounds, as registering a scalable target does."""
        minimum, maximum = self.bounds(resource_id)
        desired = self._fleets[resource_id].size().desired
        if not minimum <= desired <= maximum:
            within = min(max(desired, minimum), maximum)
            side = "minimum" if within == minimum else "maximum"
            self.set_desired(resource_id, within, f"{side} capacity was set to {within}")

    def run_scheduled_action(
        self, resource_id: str, name: str, *, minimum: int | None, maximum: int | None
    ) -> None:
        """Set the bounds that a scheduled action gives, and move the desired count into them.

        A minimum above the maximum changes nothing, and its activity failed (assumption).
        """
        low, high = self.bounds(resource_id)
        low, high = low if minimum is None else minimum, high if maximum is None else maximum
        activities, now = self._apis[resource_id].activities, self._clock.now
        if low > high:
            activities.bounds_changed(now, name, low, high, "Maximum capacity is below minimum capacity")
            return
        target = _targets()[resource_id]
        target.min_capacity, target.max_capacity = low, high
        activities.bounds_changed(now, name, low, high)
        self.pull_into_bounds(resource_id)

    def not_scaled(self, resource_id: str, reason: NotScaled, cause: str) -> None:
        """Record that an alarm of the service's policy changed nothing."""
        minimum, maximum = self.bounds(resource_id)
        limits: Mapping[NotScaled, dict[str, int]] = {
            NotScaled.AT_MAXIMUM: {"MaxCapacity": maximum},
            NotScaled.AT_MINIMUM: {"MinCapacity": minimum},
            NotScaled.AT_DESIRED: {"CurrentCapacity": self._fleets[resource_id].size().desired},
        }
        code = {"Code": reason.value, **limits.get(reason, {})}
        self._apis[resource_id].activities.not_scaled(self._clock.now, cause, code)

    def bounds(self, resource_id: str) -> tuple[int, int]:
        """The scalable target's minimum and maximum."""
        target = _targets()[resource_id]
        return int(target.min_capacity or 0), int(target.max_capacity or 0)

    def is_target(self, resource_id: str) -> bool:
        """Whether the service is registered as a scalable target."""
        return resource_id in _targets()

    def suspended(self, resource_id: str, direction: str) -> bool:
        """Whether dynamic scaling in this direction, "Out" or "In", is suspended."""
        return _suspended(resource_id, f"DynamicScaling{direction}Suspended")

    def scheduled_scaling_suspended(self, resource_id: str) -> bool:
        """Whether the target's scheduled actions are suspended."""
        return _suspended(resource_id, "ScheduledScalingSuspended")


@dataclass(slots=True, kw_only=True)
class _ServiceApi:
    """Implements `fleet.FleetApi`: a service shows counts, events and its deployment's state."""

    service: Service
    activities: TargetActivities

    def update(self, fleet: EmbeddedFleet, instance: Instance) -> None:
        size = fleet.size()
        if size.running == size.desired and not size.booting:
            self.activities.finished(instance.since)
        if instance.state is Lifecycle.BOOTING:
            self._add_service_event(instance.since, f"has started 1 tasks: (task {uuid.uuid4().hex}).")
        elif instance.state is Lifecycle.RUNNING and size.running == size.desired:
            self._add_service_event(instance.since, "has reached a steady state.")
        self.service.running_count, self.service.pending_count = size.running, size.booting
        if not self.service.deployments:
            self._show_task_sets(fleet)
            return
        (primary,) = self.service.deployments
        primary["rolloutState"] = "IN_PROGRESS" if fleet.deploying else "COMPLETED"
        primary["runningCount"], primary["desiredCount"] = size.running, size.desired

    def deploy(self, now: float) -> None:
        """Record that a deployment began: ECS dates its deployment, other controllers add a task set."""
        began = datetime.fromtimestamp(now, UTC)
        for deployment in self.service.deployments:
            deployment["createdAt"] = deployment["updatedAt"] = began
        if not self.service.deployments:
            name, cluster = self.service.name, self.service.cluster_name
            task_set = TaskSet(name, cluster, self.service.task_definition or "", ACCOUNT_ID, REGION)
            task_set.createdAt = task_set.updatedAt = task_set.stabilityStatusAt = began
            self.service.task_sets.append(task_set)

    def _show_task_sets(self, fleet: EmbeddedFleet) -> None:
        if not fleet.deploying:
            del self.service.task_sets[:-1]
        size = fleet.size()
        steady = size.running == size.desired and not size.booting
        for task_set in self.service.task_sets:
            task_set.stabilityStatus = "STEADY_STATE" if steady else "STABILIZING"

    def may_launch(self) -> bool:
        return True

    def record_launch_failure(self, words: str, at: float) -> None:
        """Add an event unless it repeats the latest: ECS omits those until the cause is resolved."""
        if not self.service.events or self.service.events[0]["message"] != words:
            self._add_event(at, words)

    def _add_service_event(self, at: float, what: str) -> None:
        self._add_event(at, f"(service {self.service.name}) {what}")

    def _add_event(self, at: float, message: str) -> None:
        event = {"id": str(uuid.uuid4()), "createdAt": datetime.fromtimestamp(at, UTC), "message": message}
        self.service.events[:] = [event, *self.service.events][:MAX_EVENTS]

    def may_terminate(self) -> bool:
        return True


def _service(resource_id: str) -> Service:
    _, cluster, name = resource_id.split("/")
    backend: EC2ContainerServiceBackend = ecs_backends[ACCOUNT_ID][REGION]
    return backend.services[f"{cluster}:{name}"]


def _suspended(resource_id: str, what: str) -> bool:
    state: Any = _targets()[resource_id].suspended_state or {}
    return bool(state.get(what, False))


def _targets() -> dict[str, FakeScalableTarget]:
    backend: ApplicationAutoscalingBackend = applicationautoscaling_backends[ACCOUNT_ID][REGION]
    return backend.targets.get(DIMENSION, {})
