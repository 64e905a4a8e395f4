"""EC2 Auto Scaling groups: what they run, and how many they should run.

An instance counts as running once it is InService.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from sluice.aws.concurrent_reads import (
    batches,
    not_found,
    parse_item,
    per_item,
    start_reads,
)
from sluice.aws.errors import aws_errors
from sluice.aws.responses import count, field, list_field, optional_list_field
from sluice.core.model import AutoScalingGroup, Bounds, Capacity, Unknown
from sluice.ports import RemainingS

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef

GROUPS_PER_CALL = 100
RESPONSE_FIELDS: Mapping[str, Any] = {
    "DescribeAutoScalingGroups": {
        "AutoScalingGroups": {
            "AutoScalingGroupName": {},
            "DesiredCapacity": {},
            "MinSize": {},
            "MaxSize": {},
            "Status": {},
            "DesiredCapacityType": {},
            "Instances": {"LifecycleState": {}, "ProtectedFromScaleIn": {}, "WeightedCapacity": {}},
            "MixedInstancesPolicy": {"LaunchTemplate": {"Overrides": {"WeightedCapacity": {}}}},
            "SuspendedProcesses": {"ProcessName": {}},
            "WarmPoolConfiguration": {"PoolState": {}},
        },
        "NextToken": {},
    },
    "DescribeScheduledActions": {
        "ScheduledUpdateGroupActions": {
            "ScheduledActionName": {},
            "StartTime": {},
            "Recurrence": {},
            "MinSize": {},
        },
        "NextToken": {},
    },
    "DescribeWarmPool": {"Instances": {"LifecycleState": {}}, "NextToken": {}},
    "DescribeScalingActivities": {
        "Activities": {"Description": {}, "StartTime": {}, "StatusCode": {}, "StatusMessage": {}}
    },
}
"""Operation -> the fields of its response that `_capacity`, the paginator and `launch_failures` need."""
CAN_BE_STARTED = frozenset({"Warmed:Stopped", "Warmed:Hibernated", "Warmed:Running"})
"""Of the others, Warmed:Pending still initialises, and Warmed:Terminating goes."""
NEEDED_TO_SCALE_OUT = frozenset({"Launch"})
# A deployment tool suspends AlarmNotification so that the group keeps the instances it has.
NEEDED_TO_SCALE_IN = frozenset({"Terminate", "AlarmNotification"})
NEEDED_FOR_SCHEDULES = "ScheduledActions"


class AutoScalingGroups:
    """Implements `ports.Fleets` for Auto Scaling groups."""

    def __init__(self, client: Callable[[], AutoScalingClient], pool: ThreadPoolExecutor) -> None:
        self._client, self._pool = client, pool

    def read(
        self, fleets: Collection[AutoScalingGroup], remaining_s: RemainingS
    ) -> Mapping[AutoScalingGroup, Capacity | Unknown]:
        """One reading per group, a hundred groups a call."""
        return self.start_reads(fleets)(remaining_s)

    def start_reads(
        self, fleets: Collection[AutoScalingGroup]
    ) -> Callable[[RemainingS], Mapping[AutoScalingGroup, Capacity | Unknown]]:
        """Start the reads; the returned function waits for them."""
        client = self._client()

        def capacities(batch: tuple[AutoScalingGroup, ...]) -> dict[AutoScalingGroup, Capacity | Unknown]:
            names = [fleet.name for fleet in batch]
            pages = client.get_paginator("describe_auto_scaling_groups").paginate(
                AutoScalingGroupNames=names, PaginationConfig={"PageSize": GROUPS_PER_CALL}
            )
            with aws_errors(_read(batch)):
                described = {
                    field(group, "AutoScalingGroupName"): group
                    for page in pages
                    for group in list_field(page, "AutoScalingGroups")
                }
            found = {
                name: parse_item(f"DescribeAutoScalingGroups of {name}", partial(_capacity, group))
                for name, group in described.items()
            }
            return {fleet: found.get(fleet.name, Unknown(reason=not_found(str(fleet)))) for fleet in batch}

        finish_reads = start_reads(self._pool, capacities, batches(fleets, GROUPS_PER_CALL), _read)
        return lambda remaining_s: per_item(finish_reads(remaining_s))

    def ready(
        self, groups: Collection[AutoScalingGroup], remaining_s: RemainingS
    ) -> Mapping[AutoScalingGroup, int | Unknown]:
        """Implements `ports.WarmPools`."""
        client = self._client()

        def started_soon(group: AutoScalingGroup) -> int:
            pages = client.get_paginator("describe_warm_pool").paginate(AutoScalingGroupName=group.name)
            with aws_errors(_read_pool(group)):
                states = [
                    field(instance, "LifecycleState")
                    for page in pages
                    for instance in list_field(page, "Instances")
                ]
            return sum(state in CAN_BE_STARTED for state in states)

        return start_reads(self._pool, started_soon, groups, _read_pool)(remaining_s)

    def set_desired(self, fleet: AutoScalingGroup, instances: int) -> None:
        """SetDesiredCapacity regardless of cooldowns: a scale-out must not wait for a scale-in's cooldown."""
        with aws_errors(f"SetDesiredCapacity of {fleet} to {instances}"):
            self._client().set_desired_capacity(
                AutoScalingGroupName=fleet.name, DesiredCapacity=instances, HonorCooldown=False
            )


def _read_pool(group: AutoScalingGroup) -> str:
    return f"DescribeWarmPool of {group.name}"


def _read(batch: tuple[AutoScalingGroup, ...]) -> str:
    return f"DescribeAutoScalingGroups of {len(batch)} groups"


def _capacity(group: AutoScalingGroupTypeDef) -> Capacity:
    suspended = {
        field(process, "ProcessName") for process in optional_list_field(group, "SuspendedProcesses")
    }
    deletion = (group["Status"],) if group.get("Status") else ()
    instances = list_field(group, "Instances")
    states = [field(instance, "LifecycleState") for instance in instances]
    in_service = [instance for instance, state in zip(instances, states, strict=True) if state == "InService"]
    return Capacity(
        desired=count(field(group, "DesiredCapacity")),
        running=len(in_service),
        bounds=Bounds(min=count(field(group, "MinSize")), max=count(field(group, "MaxSize"))),
        scale_out_blocked_by=(*_suspensions(suspended & NEEDED_TO_SCALE_OUT), *deletion),
        scale_in_blocked_by=(*_suspensions(suspended & NEEDED_TO_SCALE_IN), *deletion),
        unsupported_units=_unsupported_units(group),
        schedules_suspended=NEEDED_FOR_SCHEDULES in suspended,
        # Those of a warm pool, such as Warmed:Pending, wait for a launch: they do not boot for work.
        booting=sum(str(state).startswith("Pending") for state in states),
        ending=sum(str(state).startswith("Terminating") for state in states),
        has_warm_pool=group.get("WarmPoolConfiguration") is not None,
        protected=sum(instance.get("ProtectedFromScaleIn") is True for instance in in_service),
    )


def _unsupported_units(group: AutoScalingGroupTypeDef) -> tuple[str, ...]:
    """The instance weights or the unit in which the group's sizes are counted; empty if they are instances.

    If every weight is 1, a capacity unit is an instance. An instance keeps the weight that it was launched
    with, even after the policy loses its weights.
    """
    mixed = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("Overrides", [])
    weights = {
        counted.get("WeightedCapacity", "1") for counted in (*mixed, *list_field(group, "Instances"))
    } - {"1"}
    unit = group.get("DesiredCapacityType", "units")
    return (
        *(f"WeightedCapacity {weight}" for weight in sorted(weights)),
        *((f"DesiredCapacityType {unit}",) if unit != "units" else ()),
    )


def _suspensions(processes: set[str]) -> list[str]:
    return [f"{process} is suspended" for process in sorted(processes)]
