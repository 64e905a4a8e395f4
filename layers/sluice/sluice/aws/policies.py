"""Target-tracking policies of EC2 Auto Scaling and of Application Auto Scaling.

A put replaces the whole policy, so it sends back every field that AWS described, and only the target changes.
The document's ARN identifies the policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from sluice.aws.concurrent_reads import (
    batches,
    parse_item,
    per_item,
    read_in_time,
    start_reads,
)
from sluice.aws.ecs import DIMENSION, resource_id
from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, field, list_field, positive
from sluice.core.model import AutoScalingGroup, Unknown, Workload
from sluice.core.pause import ENABLED
from sluice.errors import ConfigError
from sluice.ports import Policy, RemainingS

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from botocore.model import StructureShape
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_autoscaling import AutoScalingClient

ASG_CONFIGURATION = "TargetTrackingConfiguration"
TARGET_TRACKING = "TargetTrackingScaling"
ECS_CONFIGURATION = "TargetTrackingScalingPolicyConfiguration"
POLICIES_PER_CALL = 50
_POLICY_NAME = re.compile(r":policyName/(.{1,255})$")


class TargetTrackingPolicies:
    """Implements `ports.Policies` for every kind of fleet."""

    def __init__(
        self,
        asg_client: Callable[[], AutoScalingClient],
        ecs_client: Callable[[], ApplicationAutoScalingClient],
        pool: ThreadPoolExecutor,
    ) -> None:
        self._asg_client, self._ecs_client, self._pool = asg_client, ecs_client, pool

    def read(self, workload: Workload, remaining_s: RemainingS) -> Policy:
        """The policy that the workload's document names by its ARN."""
        # The client is created here, in one thread: creating it is not thread-safe, using it is.
        fleet = workload.fleet
        if isinstance(fleet, AutoScalingGroup):
            what, configuration = f"DescribePolicies of {fleet}", ASG_CONFIGURATION
            described = partial(_groups_policies, self._asg_client(), AutoScalingGroupName=fleet.name)
        else:
            what, configuration = f"DescribeScalingPolicies of {fleet}", ECS_CONFIGURATION
            described = partial(
                _services_policies,
                self._ecs_client(),
                ResourceId=resource_id(fleet),
                ScalableDimension=DIMENSION,
            )

        def read() -> tuple[Mapping[str, Any], float] | None:
            with aws_errors(what):
                return _found(workload, described(), configuration)

        found = read_in_time(self._pool, read, what, remaining_s)
        if found:
            definition, target = found
            return Policy(fleet=fleet, target=target, definition=definition)
        raise _is_missing(workload)

    def targets(
        self, workloads: Mapping[str, Workload], remaining_s: RemainingS
    ) -> Mapping[str, float | Unknown]:
        """The policies by their names, fifty a call; the calls run concurrently."""
        groups = [
            name for name, workload in workloads.items() if isinstance(workload.fleet, AutoScalingGroup)
        ]
        services = [name for name in workloads if name not in set(groups)]
        pending_reads = []
        if groups:
            described = partial(_groups_policies, self._asg_client())
            read = partial(_targets, workloads, described, ASG_CONFIGURATION, _read_groups)
            pending_reads.append(
                start_reads(self._pool, read, batches(groups, POLICIES_PER_CALL), _read_groups)
            )
        if services:
            described = partial(_services_policies, self._ecs_client())
            read = partial(_targets, workloads, described, ECS_CONFIGURATION, _read_services)
            pending_reads.append(
                start_reads(self._pool, read, batches(services, POLICIES_PER_CALL), _read_services)
            )
        return {
            name: target
            for finish_reads in pending_reads
            for name, target in per_item(finish_reads(remaining_s)).items()
        }

    def put_target(self, policy: Policy, target: float, held: Mapping[str, bool] | None = None) -> None:
        """PutScalingPolicy with the new target, and every other described field that the put accepts."""
        client: BaseClient
        if isinstance(policy.fleet, AutoScalingGroup):
            client, configuration = self._asg_client(), ASG_CONFIGURATION
        else:
            client, configuration = self._ecs_client(), ECS_CONFIGURATION
        with aws_errors(f"PutScalingPolicy of {policy.fleet}"):
            request = as_request(client, policy.definition)
            request[configuration]["TargetValue"] = target
            for name, value in (held or {}).items():
                (request if name == ENABLED else request[configuration])[name] = value
            cast("Any", client).put_scaling_policy(**request)


def _groups_policies(client: AutoScalingClient, **parameters: Any) -> list[Mapping[str, Any]]:
    """DescribePolicies, all pages."""
    return _listed(client.get_paginator("describe_policies").paginate(**parameters))


def _services_policies(client: ApplicationAutoScalingClient, **parameters: Any) -> list[Mapping[str, Any]]:
    """DescribeScalingPolicies of ECS, all pages."""
    return _listed(
        client.get_paginator("describe_scaling_policies").paginate(ServiceNamespace="ecs", **parameters)
    )


def _listed(pages: Iterable[object]) -> list[Mapping[str, Any]]:
    return [
        cast("Mapping[str, Any]", policy) for page in pages for policy in list_field(page, "ScalingPolicies")
    ]


def _read_groups(names: tuple[str, ...]) -> str:
    return f"DescribePolicies of {len(names)} workloads"


def _read_services(names: tuple[str, ...]) -> str:
    return f"DescribeScalingPolicies of {len(names)} workloads"


def _targets(
    workloads: Mapping[str, Workload],
    described: Callable[..., list[Mapping[str, Any]]],
    configuration: str,
    what: Callable[[tuple[str, ...]], str],
    names: tuple[str, ...],
) -> dict[str, float | Unknown]:
    """Each workload's target from one call; a policy of the same name on another fleet has another ARN."""
    # AWS refuses the whole call for one invalid name, but not for an unknown one.
    wanted = {found[1] for name in names if (found := _POLICY_NAME.search(str(workloads[name].policy_arn)))}
    policies: list[Mapping[str, Any]] = []
    if wanted:
        with aws_errors(what(names)):
            policies = described(PolicyNames=sorted(wanted))
    return {
        name: parse_item(
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
    """The policy with that ARN, and its target. A put would corrupt a policy of another type."""
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
            raise MalformedResponse("PolicyType is empty")
        return policy, positive(field(field(policy, configuration), "TargetValue"))
    return None


def as_request(client: BaseClient, described: Mapping[str, object]) -> dict[str, Any]:
    """The described fields that a put accepts.

    The service model lists them, so a field that AWS adds later is kept too. Empty lists and structures, such
    as the step adjustments that a target-tracking policy must not have, are left out at any depth; False, 0
    and "" are values, for example `Enabled` of a policy that an operator has disabled. Fields that the put
    requires must have been described: under another name it would create a second policy.
    """
    put = cast("StructureShape", client.meta.service_model.operation_model("PutScalingPolicy").input_shape)
    if undescribed := [name for name in put.required_members if name not in described]:
        raise MalformedResponse(f"the policy was described without {', '.join(undescribed)}")
    request = _without_empty({name: value for name, value in described.items() if name in put.members})
    return cast("dict[str, Any]", request)


def _without_empty(described: object) -> object:
    """A copy without empty lists and structures, including those that become empty."""
    if isinstance(described, Mapping):
        inner = {name: _without_empty(value) for name, value in described.items()}
        return {name: value for name, value in inner.items() if not _is_empty(value)}
    if isinstance(described, list):
        return [value for value in map(_without_empty, described) if not _is_empty(value)]
    return described


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, (dict, list)) and not value)
