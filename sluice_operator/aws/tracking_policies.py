"""The workloads' target-tracking policies as AWS describes them, fifty a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sluice.aws.concurrent_reads import batches, per_item, start_reads
from sluice.aws.errors import aws_errors
from sluice.aws.policies import POLICIES_PER_CALL
from sluice.aws.responses import field, list_field
from sluice.core.model import AutoScalingGroup, Unknown, Workload
from sluice.ports import RemainingS
from sluice_operator.core.checks.facts import TrackingPolicy

Clients = Callable[[str], Any]


def read_policies(
    clients: Clients, pool: ThreadPoolExecutor, workloads: Sequence[Workload], remaining_s: RemainingS
) -> Mapping[str, TrackingPolicy | Unknown | None]:
    """The policy by its workload's name, of each workload that names one; None if its fleet has none."""
    arns = {workload.name: workload.policy_arn for workload in workloads if workload.policy_arn}
    groups = {each.name for each in workloads if isinstance(each.fleet, AutoScalingGroup)}
    # Clients are made here, in one thread: making one is not thread-safe, using it is.
    pagers = {
        "DescribePolicies": (clients("autoscaling").get_paginator("describe_policies"), {}),
        "DescribeScalingPolicies": (
            clients("application-autoscaling").get_paginator("describe_scaling_policies"),
            {"ServiceNamespace": "ecs"},
        ),
    }
    pending = []
    for operation, names in (
        ("DescribePolicies", [name for name in arns if name in groups]),
        ("DescribeScalingPolicies", [name for name in arns if name not in groups]),
    ):
        pager, parameters = pagers[operation]

        def read(
            batch: tuple[str, ...],
            pager: Any = pager,
            parameters: Any = parameters,
            operation: str = operation,
        ) -> dict[str, TrackingPolicy | Unknown | None]:
            wanted = sorted({_name(str(arns[name])) for name in batch})
            with aws_errors(f"{operation} of {len(batch)} workloads"):
                described = {
                    field(policy, "PolicyARN"): policy
                    for page in pager.paginate(PolicyNames=wanted, **parameters)
                    for policy in list_field(page, "ScalingPolicies")
                }
                return {name: _policy(described.get(str(arns[name]))) for name in batch}

        def what(batch: tuple[str, ...], operation: str = operation) -> str:
            return f"{operation} of {len(batch)} workloads"

        pending.append(start_reads(pool, read, batches(names, POLICIES_PER_CALL), what))
    return {name: policy for finish in pending for name, policy in per_item(finish(remaining_s)).items()}


def _name(arn: str) -> str:
    return arn.rsplit(":policyName/", 1)[-1]


def _policy(described: Mapping[str, Any] | None) -> TrackingPolicy | None:
    if described is None:
        return None
    # Policies of ECS cannot be disabled one by one, and are described without the field.
    return TrackingPolicy(name=field(described, "PolicyName"), enabled=described.get("Enabled", True) is True)
