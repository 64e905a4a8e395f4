"""What the instances of groups and services are: a hundred groups or ten services a call.

A group at zero takes a call for its launch template, a service one for its task definition; fleets that share
one share the call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sluice.aws.asg import GROUPS_PER_CALL
from sluice.aws.concurrent_reads import batches, fan_out, per_item, start_reads
from sluice.aws.ecs import by_cluster
from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, field, list_field, optional_list_field
from sluice.core.model import AutoScalingGroup, EcsService, Fleet, Unknown
from sluice.ports import RemainingS
from sluice_operator.core.hardware import Ec2Instances, FargateTasks, Hardware

Clients = Callable[[str], Any]
Template = tuple[str, str]
"""Id and version of a launch template."""
ARCHITECTURES = {"ARM64": "arm64", "X86_64": "x86_64"}


def read_hardware(
    clients: Clients, pool: ThreadPoolExecutor, fleets: Collection[Fleet], remaining_s: RemainingS
) -> dict[Fleet, Hardware | Unknown]:
    """What each fleet's instances are."""
    groups = [fleet for fleet in fleets if isinstance(fleet, AutoScalingGroup)]
    services = [fleet for fleet in fleets if isinstance(fleet, EcsService)]

    def read_groups(
        batch: tuple[AutoScalingGroup, ...],
    ) -> dict[AutoScalingGroup, Ec2Instances | Template | Unknown]:
        return _groups(clients, batch)

    group_reads = start_reads(pool, read_groups, batches(groups, GROUPS_PER_CALL), _read)
    service_reads = start_reads(pool, lambda batch: _services(clients, batch), by_cluster(services), _read)
    of_groups: dict[AutoScalingGroup, Any] = per_item(group_reads(remaining_s))
    of_services: dict[EcsService, str | Unknown] = per_item(service_reads(remaining_s))
    templates = {each for each in of_groups.values() if isinstance(each, tuple)}
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
        found[group] = by_template[of_group] if isinstance(of_group, tuple) else of_group
    for service, of_service in of_services.items():
        found[service] = by_definition[of_service] if isinstance(of_service, str) else of_service
    return found


def _groups(
    clients: Clients, batch: tuple[AutoScalingGroup, ...]
) -> dict[AutoScalingGroup, Ec2Instances | Template | Unknown]:
    """The types of the instances that run; the launch template of a group without any."""
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


def _group(group: Mapping[str, Any]) -> Ec2Instances | Template | Unknown:
    mixed = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    types = [each["InstanceType"] for each in mixed.get("Overrides", ()) if "InstanceType" in each]
    types += [field(each, "InstanceType") for each in optional_list_field(group, "Instances")]
    if types:
        return Ec2Instances(types=types)
    template = group.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification")
    if not template:
        return Unknown(reason="the group has no instances and no launch template")
    return field(template, "LaunchTemplateId"), template.get("Version", "$Default")


def _launch_template(clients: Clients, template: Template) -> Ec2Instances:
    with aws_errors(f"DescribeLaunchTemplateVersions of {template[0]}"):
        answer = clients("ec2").describe_launch_template_versions(
            LaunchTemplateId=template[0], Versions=[template[1]]
        )
        versions = list_field(answer, "LaunchTemplateVersions")
        data = [field(each, "LaunchTemplateData") for each in versions]
        return Ec2Instances(types=[each["InstanceType"] for each in data if "InstanceType" in each])


def _services(clients: Clients, batch: tuple[EcsService, ...]) -> dict[EcsService, str | Unknown]:
    """The task definition of each service that runs on Fargate."""
    with aws_errors(_read(batch)):
        answer = clients("ecs").describe_services(
            cluster=batch[0].cluster, services=[fleet.service for fleet in batch]
        )
        found = {field(each, "serviceName"): _service(each) for each in list_field(answer, "services")}
    return {fleet: found.get(fleet.service, Unknown(reason=f"AWS finds no {fleet}")) for fleet in batch}


def _service(service: Mapping[str, Any]) -> str | Unknown:
    providers = {each["capacityProvider"] for each in service.get("capacityProviderStrategy", ())}
    if providers - {"FARGATE"} or (not providers and service.get("launchType") == "EC2"):
        runs_on = ", ".join(sorted(providers)) or "EC2 instances of its cluster"
        return Unknown(reason=f"the service's tasks run on {runs_on}, which the table has no price for")
    return str(field(service, "taskDefinition"))


def _task_definition(clients: Clients, arn: str) -> FargateTasks | Unknown:
    with aws_errors(f"DescribeTaskDefinition of {arn}"):
        definition = field(clients("ecs").describe_task_definition(taskDefinition=arn), "taskDefinition")
        if "cpu" not in definition or "memory" not in definition:
            return Unknown(reason=f"the task definition {arn.rsplit('/', 1)[-1]} has no cpu and memory")
        named = definition.get("runtimePlatform", {}).get("cpuArchitecture", "X86_64")
        if named not in ARCHITECTURES:
            raise MalformedResponse(f"cpuArchitecture is {named!r}")
        return FargateTasks(
            vcpu=int(definition["cpu"]) / 1024,
            memory_gb=int(definition["memory"]) / 1024,
            architecture=ARCHITECTURES[named],
        )


def _read(batch: tuple[Fleet, ...]) -> str:
    return f"reading what {len(batch)} fleets are made of"
