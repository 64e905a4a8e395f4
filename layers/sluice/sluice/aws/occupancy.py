"""Which instances work on messages, and whether AWS replaces them.

A worker protects its instance or task from scale-in while it works. An instance that is being ended counts as
long as it is protected. A task whose protection AWS does not tell makes the number unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sluice.aws.concurrent_reads import batches, not_found, start_reads
from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, field, list_field, optional_list_field
from sluice.core.model import AutoScalingGroup, EcsService, Fleet, Unknown
from sluice.errors import ConfigError
from sluice.ports import RemainingS

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_ecs import ECSClient

TASKS_PER_CALL = 100
ENDED = "MISSING"
"""The reason that AWS gives for a task that has ended since it was listed."""

TERMINATION = "autoscaling:EC2_INSTANCE_TERMINATING"
ENDED_REFRESHES = ("Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful")
"""Any other status, such as Baking, is of a refresh that still replaces instances, or may."""


class AwsOccupancy:
    """Implements `ports.Occupancy` for both kinds of fleet."""

    def __init__(
        self,
        groups: Callable[[], AutoScalingClient],
        services: Callable[[], ECSClient],
        pool: ThreadPoolExecutor,
    ) -> None:
        self._groups, self._services, self._pool = groups, services, pool

    def busy(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, int | Unknown]:
        """DescribeAutoScalingGroups, or ListTasks and GetTaskProtection, of each fleet concurrently."""
        # The clients are created here, in one thread: creating them is not thread-safe, using them is.
        groups = self._groups() if any(isinstance(one, AutoScalingGroup) for one in fleets) else None
        services = self._services() if any(isinstance(one, EcsService) for one in fleets) else None

        def protected(fleet: Fleet) -> int:
            with aws_errors(_read(fleet)):
                if isinstance(fleet, AutoScalingGroup):
                    assert groups is not None
                    return _instances(groups, fleet)
                assert services is not None
                return _tasks(services, fleet)

        return start_reads(self._pool, protected, fleets, _read)(remaining_s)

    def refreshed(
        self, groups: Collection[AutoScalingGroup], remaining_s: RemainingS
    ) -> Mapping[AutoScalingGroup, bool | Unknown]:
        """DescribeInstanceRefreshes of each group: the newest one comes first."""
        client = self._groups() if groups else None

        def is_refreshed(group: AutoScalingGroup) -> bool:
            assert client is not None
            with aws_errors(_read_refreshes(group)):
                newest = client.describe_instance_refreshes(AutoScalingGroupName=group.name, MaxRecords=1)
                return any(
                    field(refresh, "Status") not in ENDED_REFRESHES
                    for refresh in list_field(newest, "InstanceRefreshes")
                )

        return start_reads(self._pool, is_refreshed, groups, _read_refreshes)(remaining_s)

    def finishes(self, fleet: Fleet, remaining_s: RemainingS) -> bool | Unknown:
        """DescribeLifecycleHooks of a group: one on termination."""
        if not isinstance(fleet, AutoScalingGroup):
            return False
        client = self._groups()

        def has_hook(group: AutoScalingGroup) -> bool:
            with aws_errors(_read_hooks(group)):
                described = client.describe_lifecycle_hooks(AutoScalingGroupName=group.name)
                hooks = list_field(described, "LifecycleHooks")
                return any(field(hook, "LifecycleTransition") == TERMINATION for hook in hooks)

        return start_reads(self._pool, has_hook, [fleet], _read_hooks)(remaining_s)[fleet]


def _read_hooks(group: AutoScalingGroup) -> str:
    return f"DescribeLifecycleHooks of {group}"


def _read_refreshes(group: AutoScalingGroup) -> str:
    return f"DescribeInstanceRefreshes of {group}"


def _read(fleet: Fleet) -> str:
    return f"the protection from scale-in of {fleet}"


def _instances(client: AutoScalingClient, group: AutoScalingGroup) -> int:
    described = client.describe_auto_scaling_groups(AutoScalingGroupNames=[group.name])
    for found in list_field(described, "AutoScalingGroups"):
        if found.get("NewInstancesProtectedFromScaleIn") is True:
            raise ConfigError(
                f"{group} protects each instance from its launch on (NewInstancesProtectedFromScaleIn), so "
                "protection does not show that it works: turn that off, as Sluice's worker protects itself"
            )
        instances = list_field(found, "Instances")
        return sum(field(instance, "ProtectedFromScaleIn") is True for instance in instances)
    raise ConfigError(not_found(str(group)))


def _tasks(client: ECSClient, service: EcsService) -> int:
    pages = client.get_paginator("list_tasks").paginate(cluster=service.cluster, serviceName=service.service)
    tasks = [task for page in pages for task in list_field(page, "taskArns")]
    return protected_tasks(client, service.cluster, tasks)


def protected_tasks(client: ECSClient, cluster: str, tasks: Sequence[str]) -> int:
    """How many of these tasks, by ARN, are protected; one that has ended meanwhile is not.

    Raises MalformedResponse if AWS does not tell it of another one.
    """
    busy = 0
    for some in batches(tasks, TASKS_PER_CALL):
        told = client.get_task_protection(cluster=cluster, tasks=list(some))
        protected = list_field(told, "protectedTasks")
        busy += sum(field(task, "protectionEnabled") is True for task in protected)
        failures = [
            failure for failure in optional_list_field(told, "failures") if failure.get("reason") != ENDED
        ]
        if failures:
            raise MalformedResponse(f"the protection of {len(failures)} tasks is not told: {failures[0]}")
    return busy
