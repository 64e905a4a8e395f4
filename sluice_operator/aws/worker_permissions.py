"""The role that a fleet gives its workers, and what IAM's simulation says of it: no call is made twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sluice.aws.concurrent_reads import fan_out
from sluice.aws.errors import aws_errors
from sluice.aws.responses import field, list_field, optional_list_field
from sluice.core.model import Fleet, Unknown
from sluice.ports import RemainingS
from sluice_operator.core.checks.facts import FleetSettings, Permission, WorkerSource

Clients = Callable[[str], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Actions of a role on one resource, with the condition keys of such requests: one call of IAM."""

    role: str
    actions: tuple[str, ...]
    resource: str
    context: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"SimulatePrincipalPolicy of {self.role}"


def read_worker_roles(
    clients: Clients,
    pool: ThreadPoolExecutor,
    fleets: Mapping[Fleet, FleetSettings | Unknown | None],
    remaining_s: RemainingS,
) -> Mapping[Fleet, str | Unknown | None]:
    """The ARN of the role of each fleet's workers; None for a fleet that gives them none."""
    sources = {fleet: _source(fleet, settings) for fleet, settings in fleets.items()}
    distinct = {source for source in sources.values() if isinstance(source, WorkerSource)}
    # boto3 makes clients in one thread only.
    made = {kind: clients(SERVICES[kind]) for kind in {source.kind for source in distinct}}

    def read(source: WorkerSource) -> str | None:
        with aws_errors(_read(source)):
            return READS[source.kind](made[source.kind], source)

    found = fan_out(pool, read, distinct, _read, remaining_s)
    profiles = {name for name in found.values() if isinstance(name, str) and not _is_role(name)}
    roles = _profile_roles(clients("iam"), pool, profiles, remaining_s)

    def role(source: WorkerSource | Unknown) -> str | Unknown | None:
        name = source if isinstance(source, Unknown) else found[source]
        return roles[name] if isinstance(name, str) and name in roles else name

    return {fleet: role(source) for fleet, source in sources.items()}


def simulate(
    iam: Any, pool: ThreadPoolExecutor, simulations: Collection[Simulation], remaining_s: RemainingS
) -> Mapping[Simulation, Mapping[str, Permission] | Unknown]:
    """What IAM says of each, by the action.

    With one resource a call, IAM's decision on an action is the one on that resource: with more it would be
    the most restrictive of them (documented).
    """

    def read(simulation: Simulation) -> Mapping[str, Permission]:
        with aws_errors(str(simulation)):
            pages = iam.get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=simulation.role,
                ActionNames=list(simulation.actions),
                ResourceArns=[simulation.resource],
                ContextEntries=[
                    {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [value]}
                    for key, value in simulation.context
                ],
            )
            results = [result for page in pages for result in list_field(page, "EvaluationResults")]
            found = {field(result, "EvalActionName"): _permission(result) for result in results}
            return {action: field(found, action) for action in simulation.actions}

    return fan_out(pool, read, simulations, str, remaining_s)


def _source(fleet: Fleet, settings: FleetSettings | Unknown | None) -> WorkerSource | Unknown:
    if isinstance(settings, Unknown):
        return settings
    if settings is None:
        return Unknown(reason=f"AWS finds no {fleet}")
    return settings.worker_source or Unknown(
        reason=f"{fleet} starts its workers from several launch templates, or from none that AWS names"
    )


def _read(source: WorkerSource) -> str:
    return f"the role of {source}"


def _is_role(arn: str) -> bool:
    return ":role/" in arn


def _task_role(ecs: Any, source: WorkerSource) -> str | None:
    answer = ecs.describe_task_definition(taskDefinition=source.name)
    role: str | None = field(answer, "taskDefinition").get("taskRoleArn")
    return role or None


def _template_profile(ec2: Any, source: WorkerSource) -> str | None:
    answer = ec2.describe_launch_template_versions(LaunchTemplateId=source.name, Versions=[source.version])
    [version] = list_field(answer, "LaunchTemplateVersions")
    profile = field(version, "LaunchTemplateData").get("IamInstanceProfile") or {}
    return _profile_name(profile.get("Name") or profile.get("Arn"))


def _configuration_profile(autoscaling: Any, source: WorkerSource) -> str | None:
    answer = autoscaling.describe_launch_configurations(LaunchConfigurationNames=[source.name])
    [found] = list_field(answer, "LaunchConfigurations")
    return _profile_name(found.get("IamInstanceProfile"))


SERVICES = {
    "task definition": "ecs",
    "launch template": "ec2",
    "launch configuration": "autoscaling",
}
READS: Mapping[str, Callable[[Any, WorkerSource], str | None]] = {
    "task definition": _task_role,
    "launch template": _template_profile,
    "launch configuration": _configuration_profile,
}
"""What each kind of source names: the ARN of a role, or the name of an instance profile."""


def _profile_name(name_or_arn: str | None) -> str | None:
    return name_or_arn.rsplit("/", 1)[-1] if name_or_arn else None


def _profile_roles(
    iam: Any, pool: ThreadPoolExecutor, names: Collection[str], remaining_s: RemainingS
) -> Mapping[str, str | Unknown | None]:
    """The role of each instance profile, which holds one at most."""

    def read(name: str) -> str | None:
        with aws_errors(f"GetInstanceProfile of {name}"):
            answer = field(iam.get_instance_profile(InstanceProfileName=name), "InstanceProfile")
            return next((field(role, "Arn") for role in list_field(answer, "Roles")), None)

    return fan_out(pool, read, names, lambda name: f"GetInstanceProfile of {name}", remaining_s)


def _permission(result: Mapping[str, Any]) -> Permission:
    organization = result.get("OrganizationsDecisionDetail") or {}
    boundary = result.get("PermissionsBoundaryDecisionDetail") or {}
    return Permission(
        is_allowed=field(result, "EvalDecision") == "allowed",
        is_denied=field(result, "EvalDecision") == "explicitDeny",
        by_organization=organization.get("AllowedByOrganizations", True),
        by_boundary=boundary.get("AllowedByPermissionsBoundary", True),
        missing_keys=tuple(sorted(set(_missing(result)))),
    )


def _missing(result: Mapping[str, Any]) -> Iterable[str]:
    """Beside the decision for `*`, beside that on the resource for another."""
    for each in (result, *optional_list_field(result, "ResourceSpecificResults")):
        yield from optional_list_field(each, "MissingContextValues")
