"""Target-tracking policies of EC2 Auto Scaling and of Application Auto Scaling.

Owns the describe and put calls. A put replaces the whole policy, so everything AWS described goes back with
it and the target alone changes. Refuses to pick "the first" policy: the document's ARN names the one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from sluice.aws.answers import MalformedAnswer, field, listed, positive
from sluice.aws.ecs import DIMENSION, resource_id
from sluice.aws.errors import calling
from sluice.aws.fanout import batches, begin, each, in_time, one_of_many
from sluice.core.model import AutoScalingGroup, EcsService, Unknown, Workload
from sluice.errors import ConfigError
from sluice.ports import Policy, RemainingS

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from botocore.model import StructureShape
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_autoscaling import AutoScalingClient

ASG_CONFIGURATION = "TargetTrackingConfiguration"
TARGET_TRACKING = "TargetTrackingScaling"
POLICIES_PER_CALL = 50
_POLICY_NAME = re.compile(r":policyName/(.{1,255})$")
ECS_CONFIGURATION = "TargetTrackingScalingPolicyConfiguration"


class TargetTrackingPolicies:
    """Keeps `ports.Policies` for every kind of fleet."""

    def __init__(
        self,
        asg_client: Callable[[], AutoScalingClient],
        ecs_client: Callable[[], ApplicationAutoScalingClient],
        pool: ThreadPoolExecutor,
    ) -> None:
        self._asg_client, self._ecs_client, self._pool = asg_client, ecs_client, pool

    def read(self, workload: Workload, remaining_s: RemainingS) -> Policy:
        """The policy that the workload's document names by its ARN."""
        # The client is made here, in one thread: making it is not thread-safe, using it is.
        fleet = workload.fleet
        if isinstance(fleet, AutoScalingGroup):
            what, described = f"DescribePolicies of {fleet}", partial(_of_group, self._asg_client(), fleet)
            configuration = ASG_CONFIGURATION
        else:
            what, described = (
                f"DescribeScalingPolicies of {fleet}",
                partial(_of_service, self._ecs_client(), fleet),
            )
            configuration = ECS_CONFIGURATION

        def read() -> tuple[Mapping[str, Any], float] | None:
            with calling(what):
                return _found(workload, described(), configuration)

        found = in_time(self._pool, read, what, remaining_s)
        if found:
            definition, target = found
            return Policy(fleet=fleet, target=target, definition=definition)
        raise _is_missing(workload)

    def targets(
        self, workloads: Mapping[str, Workload], remaining_s: RemainingS
    ) -> Mapping[str, float | Unknown]:
        """The policies by their names, fifty a call; the calls run concurrently."""
        of_groups = [
            name for name, workload in workloads.items() if isinstance(workload.fleet, AutoScalingGroup)
        ]
        of_services = [name for name, workload in workloads.items() if isinstance(workload.fleet, EcsService)]
        readings = []
        if of_groups:
            named = partial(_groups_named, self._asg_client())
            read = partial(_targets, workloads, named, ASG_CONFIGURATION, _read_groups)
            readings.append(begin(self._pool, read, batches(of_groups, POLICIES_PER_CALL), _read_groups))
        if of_services:
            named = partial(_services_named, self._ecs_client())
            read = partial(_targets, workloads, named, ECS_CONFIGURATION, _read_services)
            readings.append(begin(self._pool, read, batches(of_services, POLICIES_PER_CALL), _read_services))
        return {name: target for finish in readings for name, target in each(finish(remaining_s)).items()}

    def put_target(self, policy: Policy, target: float) -> None:
        """PutScalingPolicy with every field that was described and the put takes, and the new target."""
        client: BaseClient
        if isinstance(policy.fleet, AutoScalingGroup):
            client, configuration = self._asg_client(), ASG_CONFIGURATION
        else:
            client, configuration = self._ecs_client(), ECS_CONFIGURATION
        with calling(f"PutScalingPolicy of {policy.fleet}"):
            request = _as_request(client, policy.definition)
            request[configuration]["TargetValue"] = target
            cast("Any", client).put_scaling_policy(**request)


def _of_group(client: AutoScalingClient, fleet: AutoScalingGroup) -> list[Mapping[str, Any]]:
    pages = client.get_paginator("describe_policies").paginate(AutoScalingGroupName=fleet.name)
    return [cast("Mapping[str, Any]", policy) for page in pages for policy in listed(page, "ScalingPolicies")]


def _of_service(client: ApplicationAutoScalingClient, fleet: EcsService) -> list[Mapping[str, Any]]:
    pages = client.get_paginator("describe_scaling_policies").paginate(
        ServiceNamespace="ecs", ResourceId=resource_id(fleet), ScalableDimension=DIMENSION
    )
    return [cast("Mapping[str, Any]", policy) for page in pages for policy in listed(page, "ScalingPolicies")]


def _read_groups(names: tuple[str, ...]) -> str:
    return f"DescribePolicies of {len(names)} policies"


def _read_services(names: tuple[str, ...]) -> str:
    return f"DescribeScalingPolicies of {len(names)} policies"


def _groups_named(client: AutoScalingClient, names: list[str]) -> list[Mapping[str, Any]]:
    pages = client.get_paginator("describe_policies").paginate(PolicyNames=names)
    return [cast("Mapping[str, Any]", policy) for page in pages for policy in listed(page, "ScalingPolicies")]


def _services_named(client: ApplicationAutoScalingClient, names: list[str]) -> list[Mapping[str, Any]]:
    pages = client.get_paginator("describe_scaling_policies").paginate(
        ServiceNamespace="ecs", PolicyNames=names
    )
    return [cast("Mapping[str, Any]", policy) for page in pages for policy in listed(page, "ScalingPolicies")]


def _targets(
    workloads: Mapping[str, Workload],
    described: Callable[[list[str]], list[Mapping[str, Any]]],
    configuration: str,
    what: Callable[[tuple[str, ...]], str],
    names: tuple[str, ...],
) -> dict[str, float | Unknown]:
    """Each workload's target from one call; a policy of the same name on another fleet has another ARN."""
    # One name that AWS refuses would leave the others of the call unread.
    wanted = sorted(
        {found[1] for name in names if (found := _POLICY_NAME.search(str(workloads[name].policy_arn)))}
    )
    policies: list[Mapping[str, Any]] = []
    if wanted:
        with calling(what(names)):
            policies = described(wanted)
    return {
        name: one_of_many(
            f"the policy of workload {name}", partial(_target, workloads[name], policies, configuration)
        )
        for name in names
    }


def _target(workload: Workload, policies: list[Mapping[str, Any]], configuration: str) -> float:
    found = _found(workload, policies, configuration)
    if found is None:
        raise _is_missing(workload)
    return found[1]


def _is_missing(workload: Workload) -> ConfigError:
    return ConfigError(
        f"workload {workload.name}: {workload.fleet} has no scaling policy {workload.policy_arn}: it was "
        "deleted by hand; update the workload's stack with any change to create it again"
    )


def _found(
    workload: Workload, described: list[Mapping[str, Any]], configuration: str
) -> tuple[Mapping[str, Any], float] | None:
    """The policy by its ARN, and its target; of another kind of policy a put would make nonsense."""
    for policy in described:
        if field(policy, "PolicyARN") != workload.policy_arn:
            continue
        if (kind := str(field(policy, "PolicyType") or "")) not in ("", TARGET_TRACKING):
            raise ConfigError(
                f"workload {workload.name}: the scaling policy {workload.policy_arn} of {workload.fleet} "
                f"is of type {kind}, and only {TARGET_TRACKING} has a target to retune: delete that policy "
                "and update the workload's stack with any change to create its own again"
            )
        if not kind:
            raise MalformedAnswer("PolicyType is empty")
        return policy, positive(field(field(policy, configuration), "TargetValue"))
    return None


def _as_request(client: BaseClient, described: Mapping[str, object]) -> dict[str, Any]:
    """The described fields that a put accepts.

    The service model knows which those are, so a field AWS adds later is kept too. What is described as
    empty, like the step adjustments that a target-tracking policy may not have, stays out at any depth;
    False, 0 and "" are values, such as that of a policy which a person disabled (`Enabled`). What the put
    requires must have been described: under any other name it would make a second policy.
    """
    put = cast("StructureShape", client.meta.service_model.operation_model("PutScalingPolicy").input_shape)
    if undescribed := [name for name in put.required_members if name not in described]:
        raise MalformedAnswer(f"the policy was described without {', '.join(undescribed)}")
    request = _without_empty({name: value for name, value in described.items() if name in put.members})
    return cast("dict[str, Any]", request)


def _without_empty(described: object) -> object:
    """A copy without the empty lists and structures in it, those that become empty included."""
    if isinstance(described, Mapping):
        inner = {name: _without_empty(value) for name, value in described.items()}
        return {name: value for name, value in inner.items() if not _is_empty(value)}
    if isinstance(described, list):
        return [value for value in map(_without_empty, described) if not _is_empty(value)]
    return described


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, (dict, list)) and not value)
