"""Auto Scaling groups: moto's group objects follow an embedded fleet, within the group's bounds.

Without this, moto puts instances InService at once, ignores the bounds, and has no activities, no instance
refreshes and no alarms of a policy.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import (
    AutoScalingBackend,
    FakeAutoScalingGroup,
    FakeScalingPolicy,
    InstanceState,
    autoscaling_backends,
)
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.aws_rules.monitoring import Monitoring
from sluice_sim.aws_rules.policy_runner import Size
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.activities import BY_REQUEST, GroupActivities, end
from sluice_sim.embedded.alarms import named_alarms
from sluice_sim.embedded.fleet import EmbeddedFleet, Instance, Lifecycle
from sluice_sim.embedded.operations import Parameters, answered, page
from sluice_sim.embedded.worker_protocol import Worker

LIFECYCLE_STATES = {
    Lifecycle.BOOTING: "Pending",
    Lifecycle.RUNNING: "InService",
    Lifecycle.DRAINING: "Terminating:Wait",  # the lifecycle hook of the example fleet
}


METRICS = (
    "GroupDesiredCapacity",
    "GroupInServiceInstances",
    "GroupMaxSize",
    "GroupMinSize",
    "GroupPendingInstances",
    "GroupStandbyInstances",
    "GroupTerminatingInstances",
    "GroupTotalInstances",
)
"""What a group publishes if its metrics are enabled without a list (documented)."""
MAX_RECORDS = 100
"""The most that one call describes."""
_original_put_policy = AutoScalingResponse.put_scaling_policy


class InstanceRefreshInProgressError(AutoscalingClientError):
    """An instance refresh of the group is under way already."""

    code = "InstanceRefreshInProgress"


class AutoScalingGroups:
    """Every Auto Scaling group of the account."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._fleets: dict[str, EmbeddedFleet] = {}
        self._apis: dict[str, _GroupApi] = {}

    @contextmanager
    def patched_moto(self, monitoring: Monitoring) -> Iterator[None]:
        """Within the context, moto's groups follow their fleets, and policies show their alarms."""
        groups, describe = self, AutoScalingBackend.describe_auto_scaling_groups
        policies, resize = AutoScalingBackend.describe_policies, FakeAutoScalingGroup.set_desired_capacity
        update = FakeAutoScalingGroup.update

        def described(
            backend: AutoScalingBackend, names: list[str], filters: list[dict[str, str]] | None = None
        ) -> list[FakeAutoScalingGroup]:
            for api in self._apis.values():
                api.show_protection()
            return describe(backend, names, filters)

        def set_desired(_: AutoScalingBackend, group_name: str, desired_capacity: int | None) -> None:
            groups.set_desired(group_name, desired_capacity or 0)

        def updated(group: FakeAutoScalingGroup, desired: int | None) -> None:
            if group.name not in groups._apis:  # the group is being created
                resize(group, desired)
                return
            bounds = f"min: {group.min_size}, max: {group.max_size}, desired: {desired}"
            cause = f"a user request update of AutoScalingGroup constraints to {bounds}"
            groups.set_desired(group.name, desired or 0, cause)

        def moved_into_bounds(group: FakeAutoScalingGroup, **asked: Any) -> None:
            # moto would compare the new bounds with the instances that exist, not with the desired capacity.
            if asked["desired_capacity"] is None:
                asked["desired_capacity"] = _within(
                    group.desired_capacity or 0,
                    _given(asked["min_size"], group.min_size),
                    _given(asked["max_size"], group.max_size),
                )
            update(group, **asked)

        def with_alarms(backend: AutoScalingBackend, *args: Any, **named: Any) -> list[FakeScalingPolicy]:
            found = policies(backend, *args, **named)
            for policy in found:
                statuses = monitoring.policy_alarms(policy.auto_scaling_group_name, policy.arn)
                vars(policy)["alarms"] = named_alarms(statuses)
                vars(policy).setdefault("enabled", True)
            return found

        with (
            mock.patch.object(AutoScalingBackend, "set_desired_capacity", set_desired),
            mock.patch.object(AutoScalingBackend, "describe_auto_scaling_groups", described),
            mock.patch.object(AutoScalingBackend, "describe_policies", with_alarms),
            mock.patch.object(FakeAutoScalingGroup, "set_desired_capacity", updated),
            mock.patch.object(FakeAutoScalingGroup, "update", moved_into_bounds),
            mock.patch.object(AutoScalingResponse, "put_scaling_policy", _put_policy),
            answered(
                AutoScalingResponse,
                describe_scaling_activities=self._describe_activities,
                start_instance_refresh=self._start_refresh,
                describe_instance_refreshes=self._describe_refreshes,
                enable_metrics_collection=self._enable_metrics,
                disable_metrics_collection=self._disable_metrics,
            ),
        ):
            yield

    def _describe_activities(self, asked: Parameters) -> object:
        if name := asked.get("AutoScalingGroupName"):
            found = self._apis[name].activities.newest_first() if name in self._apis else []
        else:
            found = [activity for api in self._apis.values() for activity in api.activities.newest_first()]
        some, token = page(found, int(asked.get("MaxRecords", MAX_RECORDS)), asked.get("NextToken"))
        return {"Activities": some, **token}

    def _enable_metrics(self, asked: Parameters) -> object:
        group = _group(asked["AutoScalingGroupName"])
        group.metrics = sorted({*group.metrics, *asked.get("Metrics", METRICS)})
        return {}

    def _disable_metrics(self, asked: Parameters) -> object:
        group = _group(asked["AutoScalingGroupName"])
        off = asked.get("Metrics", group.metrics)
        group.metrics = [metric for metric in group.metrics if metric not in off]
        return {}

    def _start_refresh(self, asked: Parameters) -> object:
        name = asked["AutoScalingGroupName"]
        api, fleet = self._apis[_group(name).name], self._fleets[name]
        if fleet.deploying:
            raise InstanceRefreshInProgressError(
                "An Instance Refresh is already in progress and blocks the execution of this one."
            )
        refresh = {
            "InstanceRefreshId": str(uuid.uuid4()),
            "AutoScalingGroupName": name,
            "StartTime": datetime.fromtimestamp(self._clock.now, UTC),
        }
        fleet.start_deployment()
        api.refreshes.append(refresh)
        return {"InstanceRefreshId": refresh["InstanceRefreshId"]}

    def _describe_refreshes(self, asked: Parameters) -> object:
        name = asked["AutoScalingGroupName"]
        _group(name)
        found = [
            dict(refresh, Status="Successful", PercentageComplete=100, InstancesToUpdate=0)
            for refresh in self._apis[name].refreshes
        ]
        if found and (left := self._fleets[name].replacing):
            found[-1] |= {"Status": "InProgress", "PercentageComplete": 0, "InstancesToUpdate": left}
        some, token = page(found[::-1], int(asked.get("MaxRecords", MAX_RECORDS)), asked.get("NextToken"))
        return {"InstanceRefreshes": some, **token}

    def run(
        self, group_name: str, *, minimum: int, boot_s: float, start: Callable[[], Worker]
    ) -> EmbeddedFleet:
        """Attach a fleet to a group that was created empty, and scale it to its minimum."""
        _group(group_name).min_size = minimum
        activities = GroupActivities(group_name=group_name)
        api = self._apis[group_name] = _GroupApi(group=_group(group_name), activities=activities)
        self._fleets[group_name] = EmbeddedFleet(self._clock, api, boot_s=boot_s, start=start)
        self.set_desired(group_name, minimum, "a user request created an AutoScalingGroup")
        return self._fleets[group_name]

    def fleet(self, group_name: str) -> EmbeddedFleet:
        """The fleet of the group."""
        return self._fleets[group_name]

    def fail_launches(self, group_name: str, message: str | None) -> None:
        """Make every launch fail with this StatusMessage; None lets launches succeed again."""
        self._fleets[group_name].launch_failure = message

    def run_scheduled_action(
        self, group_name: str, name: str, *, minimum: int | None, maximum: int | None, desired: int | None
    ) -> None:
        """Update the sizes that a scheduled action gives; the desired capacity moves into the new bounds.

        Sizes that contradict those of the group change nothing (assumption).
        """
        group = _group(group_name)
        low, high = _given(minimum, group.min_size), _given(maximum, group.max_size)
        wanted = _within(_given(desired, group.desired_capacity), low, high)
        if low > high or desired not in (None, wanted):
            return
        group.min_size, group.max_size = low, high
        bounds = f"min: {low}, max: {high}, desired: {wanted}"
        cause = f"a scheduled action update of AutoScalingGroup constraints to {bounds}"
        self.set_desired(group_name, wanted, cause, f"the scheduled action {name} executed. Setting")

    def exists(self, group_name: str) -> bool:
        """Whether there is a group with this name."""
        return group_name in _backend().autoscaling_groups

    def set_desired(
        self, group_name: str, desired: int, cause: str = BY_REQUEST, detail: str | None = None
    ) -> None:
        """As the API: ValidationError outside the bounds, and nothing changes.

        Activities name `cause`, and `detail` before the sizes in a second sentence.
        """
        minimum, maximum = self.bounds(group_name)
        if not minimum <= desired <= maximum:
            side, bound = ("below min", minimum) if desired < minimum else ("above max", maximum)
            raise ValidationError(
                f"New SetDesiredCapacity value {desired} is {side} value {bound} "
                f"for the AutoScalingGroup {group_name}."
            )
        group, now = _group(group_name), self._clock.now
        if desired != group.desired_capacity:
            self._apis[group_name].activities.desired_changed(
                now, cause, group.desired_capacity or 0, desired, detail
            )
        group.desired_capacity = desired
        self._fleets[group_name].set_desired(desired)

    def bounds(self, group_name: str) -> tuple[int, int]:
        """The group's minimum and maximum."""
        group = _group(group_name)
        return group.min_size or 0, group.max_size or 0

    def metrics(self, group_name: str) -> list[str]:
        """The metrics that the group publishes."""
        return _group(group_name).metrics

    def suspended(self, group_name: str, process: str) -> bool:
        """Whether this process of the group is suspended."""
        return _suspended(_group(group_name), process)


@dataclass(slots=True, kw_only=True)
class _GroupApi:
    """Implements `fleet.FleetApi`: every instance of the fleet is one of moto's instances."""

    group: FakeAutoScalingGroup
    states: dict[Instance, InstanceState] = field(default_factory=dict)
    activities: GroupActivities
    under_way: dict[Instance, dict[str, Any]] = field(default_factory=dict)
    """The launch or the termination of each instance that is between two states."""
    refreshes: list[dict[str, Any]] = field(default_factory=list)

    def update(self, fleet: EmbeddedFleet, instance: Instance) -> None:
        if instance not in self.states:
            self.group.replace_autoscaling_group_instances(1, self.group.get_propagated_tags())
            self.states[instance] = self.group.instance_states[-1]
        self._record_activity(fleet.size(), instance)
        if instance.state is Lifecycle.TERMINATED:
            state = self.states.pop(instance)
            _backend().ec2_backend.terminate_instances([state.instance.id])
            self.group.instance_states = [other for other in self.group.instance_states if other is not state]
            return
        self.states[instance].lifecycle_state = LIFECYCLE_STATES[instance.state]

    def show_protection(self) -> None:
        for instance, state in self.states.items():
            state.protected_from_scale_in = instance.protected

    def record_launch_failure(self, message: str, at: float) -> None:
        alive = sum(state.lifecycle_state in ("Pending", "InService") for state in self.states.values())
        self.activities.launch_failed(at, message, alive=alive, desired=self.group.desired_capacity or 0)

    def _record_activity(self, size: Size, instance: Instance) -> None:
        at, alive = instance.since, size.running + size.booting
        instance_id = self.states[instance].instance.id
        if before := self.under_way.pop(instance, None):
            end(before, at, "Cancelled" if instance.state is Lifecycle.DRAINING else "Successful")
        elif instance.state is Lifecycle.TERMINATED:
            end(self.activities.unhealthy(at, instance_id=instance_id), at, "Successful")
        if instance.state is Lifecycle.BOOTING:
            self.under_way[instance] = self.activities.launching(
                at, alive=alive - 1, desired=size.desired, instance_id=instance_id
            )
        elif instance.state is Lifecycle.DRAINING:
            self.under_way[instance] = self.activities.terminating(
                at, alive=alive + 1, desired=size.desired, instance_id=instance_id
            )

    def may_launch(self) -> bool:
        return not _suspended(self.group, "Launch")

    def may_terminate(self) -> bool:
        return not _suspended(self.group, "Terminate")


def _put_policy(response: AutoScalingResponse) -> ActionResult:
    """As moto's, with the policy's ARN and alarms in the response, and with Enabled."""
    backend, asked = response.autoscaling_backend, response._get_params()  # noqa: SLF001 - as moto's own responses do
    _original_put_policy(response)
    (policy,) = backend.describe_policies(asked["AutoScalingGroupName"], [asked["PolicyName"]])
    vars(policy)["enabled"] = asked.get("Enabled", True)
    return ActionResult({"PolicyARN": policy.arn, "Alarms": vars(policy)["alarms"]})


def _suspended(group: FakeAutoScalingGroup, process: str) -> bool:
    return any(suspended["ProcessName"] == process for suspended in group.suspended_processes)


def _given(size: int | None, otherwise: int | None) -> int:
    return size if size is not None else otherwise or 0


def _within(desired: int, minimum: int, maximum: int) -> int:
    return min(max(desired, minimum), maximum)


def _group(group_name: str) -> FakeAutoScalingGroup:
    groups = _backend().autoscaling_groups
    if group_name not in groups:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup {group_name} not found")
    return groups[group_name]


def _backend() -> AutoScalingBackend:
    backend: AutoScalingBackend = autoscaling_backends[ACCOUNT_ID][REGION]
    return backend
