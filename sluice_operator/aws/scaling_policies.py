"""Every scaling policy and scheduled action of an account's fleets, by the page: no call for each fleet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sluice.aws.concurrent_reads import start_reads
from sluice.aws.ecs import resource_id
from sluice.aws.errors import aws_errors
from sluice.aws.policies import ASG_CONFIGURATION, ECS_CONFIGURATION
from sluice.aws.responses import field, list_field, optional_list_field
from sluice.core.model import AutoScalingGroup, Fleet, Metric, Unknown
from sluice.ports import RemainingS
from sluice_operator.core.checks.facts import ScalingPolicy, ScheduledAction

Clients = Callable[[str], Any]
PAGE_SIZE = 100
"""The most groups' policies or actions that a call describes; Application Auto Scaling chooses its own."""
Item = TypeVar("Item")


def read_policies(
    clients: Clients, pool: ThreadPoolExecutor, fleets: Collection[Fleet], remaining_s: RemainingS
) -> Mapping[Fleet, tuple[ScalingPolicy, ...] | Unknown]:
    """Every policy of each fleet."""
    return _by_fleet(
        clients,
        pool,
        fleets,
        remaining_s,
        ("describe_policies", "ScalingPolicies", _group_policy),
        ("describe_scaling_policies", "ScalingPolicies", _service_policy),
    )


def read_scheduled_actions(
    clients: Clients, pool: ThreadPoolExecutor, fleets: Collection[Fleet], remaining_s: RemainingS
) -> Mapping[Fleet, tuple[ScheduledAction, ...] | Unknown]:
    """Every scheduled action of each fleet."""
    return _by_fleet(
        clients,
        pool,
        fleets,
        remaining_s,
        ("describe_scheduled_actions", "ScheduledUpdateGroupActions", _group_action),
        ("describe_scheduled_actions", "ScheduledActions", _service_action),
    )


Listing = tuple[str, str, Callable[[Mapping[str, Any]], Item]]
"""The operation, the list in its answer, and what an entry of it is."""


def _by_fleet(
    clients: Clients,
    pool: ThreadPoolExecutor,
    fleets: Collection[Fleet],
    remaining_s: RemainingS,
    of_groups: Listing[Item],
    of_services: Listing[Item],
) -> Mapping[Fleet, tuple[Item, ...] | Unknown]:
    groups = [fleet for fleet in fleets if isinstance(fleet, AutoScalingGroup)]
    # Clients are made here, in one thread: making one is not thread-safe, using it is.
    reads: dict[str, Callable[[], Mapping[str, tuple[Item, ...]]]] = {}
    if groups:
        autoscaling = clients("autoscaling").get_paginator(of_groups[0])
        reads["groups"] = lambda: _listed(
            autoscaling.paginate(PaginationConfig={"PageSize": PAGE_SIZE}), of_groups, "AutoScalingGroupName"
        )
    if len(groups) < len(fleets):
        scaling = clients("application-autoscaling").get_paginator(of_services[0])
        reads["services"] = lambda: _listed(
            scaling.paginate(ServiceNamespace="ecs"), of_services, "ResourceId"
        )

    def what(kind: str) -> str:
        operation = (of_groups if kind == "groups" else of_services)[0]
        return f"{''.join(word.capitalize() for word in operation.split('_'))} of {kind}"

    def read(kind: str) -> Mapping[str, tuple[Item, ...]]:
        with aws_errors(what(kind)):
            return reads[kind]()

    found = start_reads(pool, read, list(reads), what)(remaining_s)
    answers: dict[Fleet, tuple[Item, ...] | Unknown] = {}
    for fleet in fleets:
        is_group = isinstance(fleet, AutoScalingGroup)
        listed = found["groups" if is_group else "services"]
        name = fleet.name if isinstance(fleet, AutoScalingGroup) else resource_id(fleet)
        answers[fleet] = listed if isinstance(listed, Unknown) else listed.get(name, ())
    return answers


def _listed(
    pages: Iterable[Mapping[str, Any]], listing: Listing[Item], key: str
) -> Mapping[str, tuple[Item, ...]]:
    _, entries, parsed = listing
    found: dict[str, tuple[Item, ...]] = defaultdict(tuple)
    for page in pages:
        for entry in list_field(page, entries):
            found[field(entry, key)] += (parsed(entry),)
    return found


def _group_policy(described: Mapping[str, Any]) -> ScalingPolicy:
    return _policy(described, described.get(ASG_CONFIGURATION) or {})


def _service_policy(described: Mapping[str, Any]) -> ScalingPolicy:
    return _policy(described, described.get(ECS_CONFIGURATION) or {})


def _policy(described: Mapping[str, Any], tracking: Mapping[str, Any]) -> ScalingPolicy:
    predefined = tracking.get("PredefinedMetricSpecification") or {}
    return ScalingPolicy(
        arn=field(described, "PolicyARN"),
        name=field(described, "PolicyName"),
        kind=field(described, "PolicyType"),
        # Policies of ECS cannot be disabled one by one, and are described without the field.
        enabled=described.get("Enabled", True) is True,
        target=tracking.get("TargetValue"),
        metrics=tuple(_metrics(tracking.get("CustomizedMetricSpecification") or {})),
        predefined_metric=predefined.get("PredefinedMetricType"),
        scale_in_disabled=tracking.get("DisableScaleIn") is True,
        warmup_s=described.get("EstimatedInstanceWarmup"),
        scale_out_cooldown_s=tracking.get("ScaleOutCooldown"),
        scale_in_cooldown_s=tracking.get("ScaleInCooldown"),
        alarms=tuple(field(alarm, "AlarmName") for alarm in optional_list_field(described, "Alarms")),
    )


def _metrics(specification: Mapping[str, Any]) -> Iterable[Metric]:
    if "MetricName" in specification:
        yield _metric(specification)
    for entry in optional_list_field(specification, "Metrics"):
        if "MetricStat" in entry:
            yield _metric(field(entry["MetricStat"], "Metric"))


def _metric(described: Mapping[str, Any]) -> Metric:
    return Metric(
        namespace=field(described, "Namespace"),
        name=field(described, "MetricName"),
        dimensions={
            field(dimension, "Name"): field(dimension, "Value")
            for dimension in optional_list_field(described, "Dimensions")
        },
    )


def _group_action(described: Mapping[str, Any]) -> ScheduledAction:
    return ScheduledAction(
        name=field(described, "ScheduledActionName"),
        schedule=described.get("Recurrence") or f"{described.get('StartTime', 'an unknown time')}",
        min=described.get("MinSize"),
        max=described.get("MaxSize"),
        desired=described.get("DesiredCapacity"),
        time_zone=described.get("TimeZone") or "UTC",
    )


def _service_action(described: Mapping[str, Any]) -> ScheduledAction:
    bounds = described.get("ScalableTargetAction") or {}
    return ScheduledAction(
        name=field(described, "ScheduledActionName"),
        schedule=field(described, "Schedule"),
        min=bounds.get("MinCapacity"),
        max=bounds.get("MaxCapacity"),
        desired=None,
        time_zone=described.get("Timezone") or "UTC",
    )
