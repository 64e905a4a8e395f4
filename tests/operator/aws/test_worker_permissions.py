"""The role of a fleet's workers, and what IAM's simulation says of it, from AWS's answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from sluice.core.model import AutoScalingGroup, EcsService, Unknown
from sluice_operator.aws import fleet_settings
from sluice_operator.aws.worker_permissions import Simulation, read_worker_roles, simulate
from sluice_operator.core.checks.facts import FleetSettings, Permission, WorkerSource

ROLE = "arn:aws:iam::123456789012:role/work/worker"
PROFILE = "arn:aws:iam::123456789012:instance-profile/work/worker"
TASK = WorkerSource(kind="task definition", name="arn:aws:ecs:eu-west-1:123456789012:task-definition/jobs:3")
TEMPLATE = WorkerSource(kind="launch template", name="lt-1", version="$Latest")
CONFIGURATION = WorkerSource(kind="launch configuration", name="older")


class Answers:
    """Any client: answers by the operation, and counts its calls."""

    def __init__(self, **answers):
        self.answers = answers
        self.calls = []

    def __getattr__(self, operation):
        def call(**parameters):
            self.calls.append((operation, parameters))
            answer = self.answers[operation]
            if isinstance(answer, str):
                raise ClientError({"Error": {"Code": answer, "Message": "no"}}, operation)
            return answer

        return call

    def get_paginator(self, operation):
        class Pages:
            paginate = staticmethod(lambda **parameters: [getattr(self, operation)(**parameters)])

        return Pages


def of(source):
    return FleetSettings(arn="arn:fleet", tags={}, metrics=frozenset(), worker_source=source)


def roles(client, fleets):
    with ThreadPoolExecutor(2) as pool:
        return read_worker_roles(lambda _: client, pool, fleets, lambda: 10.0)


def role(client, source):
    fleet = AutoScalingGroup(name="jobs")
    return roles(client, {fleet: of(source)})[fleet]


def template(**data):
    return {"LaunchTemplateVersions": [{"LaunchTemplateData": data}]}


INSTANCE_PROFILE = {"InstanceProfile": {"Roles": [{"Arn": ROLE}]}}
EMPTY_PROFILE = {"InstanceProfile": {"Roles": []}}


@pytest.mark.parametrize(
    ("source", "answers", "found"),
    [
        (TASK, {"describe_task_definition": {"taskDefinition": {"taskRoleArn": ROLE}}}, ROLE),
        (TASK, {"describe_task_definition": {"taskDefinition": {}}}, None),
        (
            TEMPLATE,
            {"describe_launch_template_versions": template(IamInstanceProfile={"Arn": PROFILE})},
            ROLE,
        ),
        (
            TEMPLATE,
            {"describe_launch_template_versions": template(IamInstanceProfile={"Name": "worker"})},
            ROLE,
        ),
        (TEMPLATE, {"describe_launch_template_versions": template()}, None),
        (
            TEMPLATE,
            {
                "describe_launch_template_versions": template(IamInstanceProfile={"Name": "worker"}),
                "get_instance_profile": EMPTY_PROFILE,
            },
            None,
        ),
        (
            CONFIGURATION,
            {"describe_launch_configurations": {"LaunchConfigurations": [{"IamInstanceProfile": PROFILE}]}},
            ROLE,
        ),
        (CONFIGURATION, {"describe_launch_configurations": {"LaunchConfigurations": [{}]}}, None),
    ],
)
def test_the_role_is_the_task_role_or_that_of_the_instance_profile(source, answers, found):
    client = Answers(**{"get_instance_profile": INSTANCE_PROFILE} | answers)
    assert role(client, source) == found
    asked = [parameters for operation, parameters in client.calls if operation == "get_instance_profile"]
    assert all(parameters == {"InstanceProfileName": "worker"} for parameters in asked)


@pytest.mark.parametrize("refused", ["describe_launch_template_versions", "get_instance_profile"])
def test_a_role_that_cannot_be_read_is_unknown(refused):
    answers = {
        "describe_launch_template_versions": template(IamInstanceProfile={"Name": "worker"}),
        "get_instance_profile": INSTANCE_PROFILE,
    }
    found = role(Answers(**answers | {refused: "UnauthorizedOperation"}), TEMPLATE)
    assert isinstance(found, Unknown)
    assert "UnauthorizedOperation" in found.reason


def test_a_fleet_without_one_source_or_that_was_not_read_has_an_unknown_role():
    fleet = AutoScalingGroup(name="jobs")
    for settings, reason in (
        (of(None), "several launch templates"),
        (None, "AWS finds no"),
        (Unknown(reason="late"), "late"),
    ):
        assert reason in roles(Answers(), {fleet: settings})[fleet].reason


def test_fleets_that_share_a_template_or_a_profile_read_it_once():
    client = Answers(
        describe_launch_template_versions=template(IamInstanceProfile={"Name": "worker"}),
        get_instance_profile=INSTANCE_PROFILE,
    )
    other = WorkerSource(kind="launch template", name="lt-2", version="1")
    sources = (TEMPLATE, TEMPLATE, other, other)
    fleets = {AutoScalingGroup(name=f"{place}"): of(source) for place, source in enumerate(sources)}
    assert set(roles(client, fleets).values()) == {ROLE}
    assert sorted(operation for operation, _ in client.calls) == [
        *["describe_launch_template_versions"] * 2,
        "get_instance_profile",
    ]


SPECIFICATION = {"LaunchTemplateId": "lt-1", "LaunchTemplateName": "jobs", "Version": "$Latest"}


def mixed(*overrides):
    policy = {"LaunchTemplateSpecification": SPECIFICATION, "Overrides": [*overrides]}
    return {"MixedInstancesPolicy": {"LaunchTemplate": policy}}


@pytest.mark.parametrize(
    ("described", "source"),
    [
        ({"LaunchTemplate": SPECIFICATION}, TEMPLATE),
        ({"LaunchTemplate": {"LaunchTemplateId": "lt-1"}}, ("lt-1", "$Default")),
        (mixed({"InstanceType": "g5.xlarge"}), TEMPLATE),
        (mixed({"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-2"}}), None),
        ({"LaunchConfigurationName": "older"}, CONFIGURATION),
        ({}, None),
    ],
)
def test_a_group_starts_workers_from_one_launch_template_or_configuration(described, source):
    group = {"AutoScalingGroupName": "jobs", "AutoScalingGroupARN": "arn:jobs", "Instances": [], **described}
    client = Answers(describe_auto_scaling_groups={"AutoScalingGroups": [group]})
    fleet = AutoScalingGroup(name="jobs")
    with ThreadPoolExecutor(2) as pool:
        found = fleet_settings.read_fleets(lambda _: client, pool, [fleet], lambda: 10.0)[fleet].worker_source
    assert (found and (found.name, found.version)) == (
        source if isinstance(source, tuple | None) else (source.name, source.version)
    )


@pytest.mark.parametrize(
    ("described", "name"),
    [
        ({"taskDefinition": "jobs:3"}, "jobs:3"),
        (
            {
                "taskDefinition": "jobs:1",
                "taskSets": [
                    {"status": "ACTIVE", "taskDefinition": "jobs:2"},
                    {"status": "PRIMARY", "taskDefinition": "jobs:3"},
                ],
            },
            "jobs:3",
        ),
        ({}, None),
    ],
)
def test_a_service_starts_workers_from_the_task_definition_of_its_primary_task_set(described, name):
    service = {"serviceName": "jobs", "serviceArn": "arn:jobs", "status": "ACTIVE", **described}
    client = Answers(describe_services={"services": [service]}, describe_clusters={"clusters": []})
    fleet = EcsService(cluster="main", service="jobs")
    with ThreadPoolExecutor(2) as pool:
        found = fleet_settings.read_fleets(lambda _: client, pool, [fleet], lambda: 10.0)[fleet].worker_source
    assert (found and found.name) == name


ASKED = Simulation(
    role=ROLE,
    actions=("sqs:ReceiveMessage",),
    resource="arn:aws:sqs:eu-west-1:1:jobs",
    context=(("a:b", "c"),),
)


def simulated(**result):
    results = [{"EvalActionName": "sqs:ReceiveMessage", **result}]
    client = Answers(simulate_principal_policy={"EvaluationResults": results})
    with ThreadPoolExecutor(1) as pool:
        found = simulate(client, pool, [ASKED], lambda: 10.0)[ASKED]
    assert client.calls == [
        (
            "simulate_principal_policy",
            {
                "PolicySourceArn": ROLE,
                "ActionNames": ["sqs:ReceiveMessage"],
                "ResourceArns": ["arn:aws:sqs:eu-west-1:1:jobs"],
                "ContextEntries": [
                    {"ContextKeyName": "a:b", "ContextKeyType": "string", "ContextKeyValues": ["c"]}
                ],
            },
        )
    ]
    return found["sqs:ReceiveMessage"]


@pytest.mark.parametrize(
    ("result", "permission"),
    [
        ({"EvalDecision": "allowed"}, Permission(is_allowed=True)),
        ({"EvalDecision": "implicitDeny"}, Permission(is_allowed=False)),
        ({"EvalDecision": "explicitDeny"}, Permission(is_allowed=False, is_denied=True)),
        (
            {
                "EvalDecision": "implicitDeny",
                "OrganizationsDecisionDetail": {"AllowedByOrganizations": False},
            },
            Permission(is_allowed=False, by_organization=False),
        ),
        (
            {
                "EvalDecision": "implicitDeny",
                "OrganizationsDecisionDetail": {"AllowedByOrganizations": True},
                "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False},
            },
            Permission(is_allowed=False, by_boundary=False),
        ),
        (
            {"EvalDecision": "implicitDeny", "MissingContextValues": ["aws:SourceVpc"]},
            Permission(is_allowed=False, missing_keys=("aws:SourceVpc",)),
        ),
        (
            {
                "EvalDecision": "implicitDeny",
                "ResourceSpecificResults": [{"MissingContextValues": ["aws:SourceVpc"]}],
            },
            Permission(is_allowed=False, missing_keys=("aws:SourceVpc",)),
        ),
    ],
)
def test_a_decision_of_the_simulation_says_who_does_not_allow(result, permission):
    assert simulated(**result) == permission
