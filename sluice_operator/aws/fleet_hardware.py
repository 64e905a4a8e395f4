"""What the instances of groups and services are: a hundred groups or ten services a call.

A group takes a call for its launch template, a service one for its task definition; fleets that share one
share the call. Unpriced is what was read and has no list price; Unknown is what could not be read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sluice.aws.asg import GROUPS_PER_CALL
from sluice.aws.concurrent_reads import batches, fan_out, per_item, start_reads
from sluice.aws.ecs import by_cluster
from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, field, list_field, optional_list_field
from sluice.core.model import AutoScalingGroup, EcsService, Fleet, Unknown
from sluice.ports import RemainingS
from sluice_operator.core.hardware import Ec2Instances, FargateTasks, Hardware, Unpriced

Clients = Callable[[str], Any]
Template = tuple[str, str]
"""Id and version of a launch template."""
NO_PRICE = "which the table has no price for"
FARGATE = "FARGATE"
HOSTS = {"EC2": "EC2 instances of its cluster", "EXTERNAL": "servers outside AWS (EXTERNAL)"}
"""Launch type -> what tasks run on."""
ON_DEMAND_PERCENT = 100
"""AWS's default above the base capacity of a mixed-instances policy."""
ARCHITECTURES = {"ARM64": "arm64", "X86_64": "x86_64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What a group's own description says of its instances."""

    types: tuple[str, ...]
    template: Template | None
    """Of which the type counts if there is no other, and whether it asks for Spot."""


def read_hardware(
    clients: Clients, pool: ThreadPoolExecutor, fleets: Collection[Fleet], remaining_s: RemainingS
) -> dict[Fleet, Hardware | Unknown]:
    """What each fleet's instances are."""
    groups = [fleet for fleet in fleets if isinstance(fleet, AutoScalingGroup)]
    services = [fleet for fleet in fleets if isinstance(fleet, EcsService)]

    def read_groups(
        batch: tuple[AutoScalingGroup, ...],
    ) -> dict[AutoScalingGroup, Group | Unpriced | Unknown]:
        return _groups(clients, batch)

    group_reads = start_reads(pool, read_groups, batches(groups, GROUPS_PER_CALL), _read)
    service_reads = start_reads(pool, lambda batch: _services(clients, batch), by_cluster(services), _read)
    of_groups: dict[AutoScalingGroup, Any] = per_item(group_reads(remaining_s))
    of_services: dict[EcsService, Any] = per_item(service_reads(remaining_s))
    templates = {
        each.template for each in of_groups.values() if isinstance(each, Group) and each.template is not None
    }
    by_template = fan_out(
        pool,
        lambda template: _launch_template(clients, template),
        templates,
        lambda template: f"DescribeLaunchTemplateVersions of {template[0]}",
        remaining_s,
    )
    definitions = {each for each in of_services.values() if isinstance(each, str)}
    by_definition = fan_out(
        pool,
        lambda definition: _task_definition(clients, definition),
        definitions,
        "DescribeTaskDefinition of {}".format,
        remaining_s,
    )
    found: dict[Fleet, Hardware | Unknown] = {}
    for group, of_group in of_groups.items():
        found[group] = _instances(of_group, by_template) if isinstance(of_group, Group) else of_group
    for service, of_service in of_services.items():
        found[service] = by_definition[of_service] if isinstance(of_service, str) else of_service
    return found


def _groups(
    clients: Clients, batch: tuple[AutoScalingGroup, ...]
) -> dict[AutoScalingGroup, Group | Unpriced | Unknown]:
    """The types of the instances that run, and the launch template."""
    with aws_errors(_read(batch)):
        pages = (
            clients("autoscaling")
            .get_paginator("describe_auto_scaling_groups")
            .paginate(
                AutoScalingGroupNames=[group.name for group in batch],
                PaginationConfig={"PageSize": GROUPS_PER_CALL},
            )
        )
        found = {
            field(group, "AutoScalingGroupName"): _group(group)
            for page in pages
            for group in list_field(page, "AutoScalingGroups")
        }
    return {group: found.get(group.name, Unknown(reason=f"AWS finds no {group}")) for group in batch}


def _group(group: Mapping[str, Any]) -> Group | Unpriced:
    policy = group.get("MixedInstancesPolicy", {})
    mixed = policy.get("LaunchTemplate", {})
    above_base = policy.get("InstancesDistribution", {}).get("OnDemandPercentageAboveBaseCapacity")
    if above_base is not None and above_base < ON_DEMAND_PERCENT:
        return Unpriced(reason=f"the group's mixed instances policy starts Spot Instances, {NO_PRICE}")
    overrides = mixed.get("Overrides", ())
    types = [each["InstanceType"] for each in overrides if "InstanceType" in each]
    types += [field(each, "InstanceType") for each in optional_list_field(group, "Instances")]
    if not types and any("InstanceRequirements" in each for each in overrides):
        return Unpriced(reason="the group chooses its instance types by their attributes, and none runs")
    template = group.get("LaunchTemplate") or (None if types else mixed.get("LaunchTemplateSpecification"))
    if not template and not types:
        return Unpriced(reason="the group has no instances and no launch template")
    return Group(
        types=tuple(types),
        template=(field(template, "LaunchTemplateId"), template.get("Version", "$Default"))
        if template
        else None,
    )


def _instances(group: Group, by_template: Mapping[Template, Hardware | Unknown]) -> Hardware | Unknown:
    launched = Ec2Instances(types=group.types) if group.template is None else by_template[group.template]
    if isinstance(launched, Ec2Instances) and group.types:
        return Ec2Instances(types=group.types)
    return launched


def _launch_template(clients: Clients, template: Template) -> Ec2Instances | Unpriced:
    with aws_errors(f"DescribeLaunchTemplateVersions of {template[0]}"):
        answer = clients("ec2").describe_launch_template_versions(
            LaunchTemplateId=template[0], Versions=[template[1]]
        )
        versions = list_field(answer, "LaunchTemplateVersions")
        data = [field(each, "LaunchTemplateData") for each in versions]
        if any(each.get("InstanceMarketOptions", {}).get("MarketType") == "spot" for each in data):
            return Unpriced(reason=f"the group's launch template asks for Spot Instances, {NO_PRICE}")
        return Ec2Instances(types=[each["InstanceType"] for each in data if "InstanceType" in each])


def _services(clients: Clients, batch: tuple[EcsService, ...]) -> dict[EcsService, str | Unpriced | Unknown]:
    """The task definition of each service that runs on Fargate."""
    with aws_errors(_read(batch)):
        answer = clients("ecs").describe_services(
            cluster=batch[0].cluster, services=[fleet.service for fleet in batch]
        )
        found = {field(each, "serviceName"): _service(each) for each in list_field(answer, "services")}
    return {fleet: found.get(fleet.service, Unknown(reason=f"AWS finds no {fleet}")) for fleet in batch}


def _service(service: Mapping[str, Any]) -> str | Unpriced:
    providers = {each["capacityProvider"] for each in service.get("capacityProviderStrategy", ())}
    launched = service.get("launchType", FARGATE)
    if providers - {FARGATE} or (not providers and launched != FARGATE):
        runs_on = ", ".join(sorted(providers)) or HOSTS.get(launched, launched)
        return Unpriced(reason=f"the service's tasks run on {runs_on}, {NO_PRICE}")
    return str(field(service, "taskDefinition"))


def _task_definition(clients: Clients, arn: str) -> FargateTasks | Unpriced:
    with aws_errors(f"DescribeTaskDefinition of {arn}"):
        definition = field(clients("ecs").describe_task_definition(taskDefinition=arn), "taskDefinition")
        if "cpu" not in definition or "memory" not in definition:
            return Unpriced(reason=f"the task definition {arn.rsplit('/', 1)[-1]} has no cpu and memory")
        platform = definition.get("runtimePlatform", {})
        system = platform.get("operatingSystemFamily", "LINUX")
        if system != "LINUX":
            return Unpriced(reason=f"the service's tasks run on {system}, {NO_PRICE}")
        named = platform.get("cpuArchitecture", "X86_64")
        if named not in ARCHITECTURES:
            raise MalformedResponse(f"cpuArchitecture is {named!r}")
        return FargateTasks(
            vcpu=int(definition["cpu"]) / 1024,
            memory_gb=int(definition["memory"]) / 1024,
            architecture=ARCHITECTURES[named],
        )


def _read(batch: tuple[Fleet, ...]) -> str:
    return f"reading what {len(batch)} fleets are made of"
