"""What is set of groups and services beyond their counts: a hundred groups or ten services a call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sluice.aws.asg import GROUPS_PER_CALL
from sluice.aws.concurrent_reads import batches, per_item, start_reads
from sluice.aws.ecs import by_cluster
from sluice.aws.errors import aws_errors
from sluice.aws.responses import count, field, list_field, optional_list_field
from sluice.core.model import AutoScalingGroup, EcsService, Fleet, Unknown
from sluice.ports import RemainingS
from sluice_operator.aws.workload_events import instance_refresh
from sluice_operator.core.checks.facts import FleetSettings, WarmPool, WorkerSource
from sluice_operator.core.events import Deployment

Clients = Callable[[str], Any]
CONTAINER_INSIGHTS = frozenset({"enabled", "enhanced"})
TASK_METRICS = frozenset({"DesiredTaskCount", "RunningTaskCount"})


def read_fleets(
    clients: Clients, pool: ThreadPoolExecutor, fleets: Collection[Fleet], remaining_s: RemainingS
) -> Mapping[Fleet, FleetSettings | Unknown | None]:
    """The settings of each fleet; None for one that does not exist, or is no longer active."""
    groups = [fleet for fleet in fleets if isinstance(fleet, AutoScalingGroup)]
    services = [fleet for fleet in fleets if isinstance(fleet, EcsService)]
    autoscaling, ecs = clients("autoscaling"), clients("ecs")

    def of_groups(
        batch: tuple[AutoScalingGroup, ...],
    ) -> dict[AutoScalingGroup, FleetSettings | Unknown | None]:
        with aws_errors(_groups_read(batch)):
            pages = autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
                AutoScalingGroupNames=[group.name for group in batch],
                PaginationConfig={"PageSize": GROUPS_PER_CALL},
            )
            found = {
                field(group, "AutoScalingGroupName"): _group(group)
                for page in pages
                for group in list_field(page, "AutoScalingGroups")
            }
        return {group: found.get(group.name) for group in batch}

    def of_services(batch: tuple[EcsService, ...]) -> dict[EcsService, FleetSettings | Unknown | None]:
        cluster = batch[0].cluster
        with aws_errors(_services_read(batch)):
            answer = ecs.describe_services(
                cluster=cluster, services=[fleet.service for fleet in batch], include=["TAGS"]
            )
            clusters = ecs.describe_clusters(clusters=[cluster], include=["SETTINGS"])
            metrics = frozenset[str]().union(*map(_cluster_metrics, list_field(clusters, "clusters")))
            found = {
                field(service, "serviceName"): _service(service, metrics)
                for service in list_field(answer, "services")
                if field(service, "status") == "ACTIVE"
            }
        return {fleet: found.get(fleet.service) for fleet in batch}

    group_reads = start_reads(pool, of_groups, batches(groups, GROUPS_PER_CALL), _groups_read)
    service_reads = start_reads(pool, of_services, by_cluster(services), _services_read)
    settings: dict[Fleet, FleetSettings | Unknown | None] = {}
    settings |= dict(per_item(group_reads(remaining_s)).items())
    settings |= dict(per_item(service_reads(remaining_s)).items())
    return settings


def read_refreshes(
    clients: Clients, pool: ThreadPoolExecutor, groups: Collection[AutoScalingGroup], remaining_s: RemainingS
) -> Mapping[AutoScalingGroup, Deployment | Unknown | None]:
    """The instance refresh of each group that is under way: a call for each."""
    client = clients("autoscaling")

    def read(group: AutoScalingGroup) -> Deployment | None:
        with aws_errors(f"DescribeInstanceRefreshes of {group}"):
            return instance_refresh(client, group)

    return start_reads(pool, read, groups, lambda group: f"DescribeInstanceRefreshes of {group}")(remaining_s)


def _groups_read(batch: tuple[AutoScalingGroup, ...]) -> str:
    return f"DescribeAutoScalingGroups of {len(batch)} groups"


def _services_read(batch: tuple[EcsService, ...]) -> str:
    return f"DescribeServices of {len(batch)} services and DescribeClusters of {batch[0].cluster}"


def _group(group: Mapping[str, Any]) -> FleetSettings:
    pool = group.get("WarmPoolConfiguration")
    states = [field(instance, "LifecycleState") for instance in list_field(group, "Instances")]
    return FleetSettings(
        arn=field(group, "AutoScalingGroupARN"),
        tags={field(tag, "Key"): tag.get("Value", "") for tag in optional_list_field(group, "Tags")},
        metrics=frozenset(field(metric, "Metric") for metric in optional_list_field(group, "EnabledMetrics")),
        suspended=tuple(
            field(process, "ProcessName") for process in optional_list_field(group, "SuspendedProcesses")
        ),
        standby_instances=states.count("Standby"),
        protects_new=group.get("NewInstancesProtectedFromScaleIn") is True,
        warm_pool=pool
        and WarmPool(
            instances=count(group.get("WarmPoolSize", 0)),
            min_instances=count(pool.get("MinSize", 0)),
            is_deleted=pool.get("Status") == "PendingDelete",
        ),
        default_warmup_s=group.get("DefaultInstanceWarmup"),
        worker_source=_group_source(group),
    )


def _group_source(group: Mapping[str, Any]) -> WorkerSource | None:
    """The launch template, that of a mixed instances policy, or the launch configuration."""
    if name := group.get("LaunchConfigurationName"):
        return WorkerSource(kind="launch configuration", name=name)
    mixed = (group.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    template = group.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification")
    overrides = optional_list_field(mixed, "Overrides")
    if not template or any("LaunchTemplateSpecification" in override for override in overrides):
        return None
    version = template.get("Version", "$Default")  # AWS omits a version that was not given
    return WorkerSource(kind="launch template", name=field(template, "LaunchTemplateId"), version=version)


def _service(service: Mapping[str, Any], metrics: frozenset[str]) -> FleetSettings:
    return FleetSettings(
        arn=field(service, "serviceArn"),
        tags={field(tag, "key"): tag.get("value", "") for tag in optional_list_field(service, "tags")},
        metrics=metrics,
        scheduling_strategy=service.get("schedulingStrategy", "REPLICA"),
        worker_source=_service_source(service),
    )


def _service_source(service: Mapping[str, Any]) -> WorkerSource | None:
    """The task definition; of a service that another controller deploys, that of its primary task set."""
    primary = (each for each in optional_list_field(service, "taskSets") if each.get("status") == "PRIMARY")
    task_definition = next(primary, service).get("taskDefinition")
    return WorkerSource(kind="task definition", name=task_definition) if task_definition else None


def _cluster_metrics(cluster: Mapping[str, Any]) -> frozenset[str]:
    settings = {
        field(setting, "name"): field(setting, "value")
        for setting in optional_list_field(cluster, "settings")
    }
    return TASK_METRICS if settings.get("containerInsights") in CONTAINER_INSIGHTS else frozenset()
