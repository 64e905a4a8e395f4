"""The exports that the workloads' stacks import: AWS neither removes nor changes one that is in use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.templates.stacks import WORKLOAD_TEMPLATE, WORKLOAD_TEMPLATE_BEFORE, template

PLANE = template("template.yaml")
RELEASED = {
    "BootstrapFunctionArn": {"Fn::GetAtt": ["BootstrapFunction", "Arn"]},
    "MetricNamespace": {"Ref": "MetricNamespace"},
    "RegistryPrefix": {"Ref": "RegistryPrefix"},
    "ShutdownFunctionArn": {"Fn::GetAtt": ["ShutdownFunction", "Arn"]},
    "SurgeFunctionArn": {"Fn::GetAtt": ["SurgeFunction", "Arn"]},
}
"""Every export that a release has had, and its value. One is added with the export, and leaves with none.

An update that takes away an export that a stack imports, or gives it another value, fails and is rolled back.
"""
DEFAULTS = {"MetricNamespace": "Sluice", "RegistryPrefix": "/sluice/workloads"}


def exports() -> dict[str, dict]:
    """Name without the stack's -> output."""
    return {
        output["Export"]["Name"]["Fn::Sub"].removeprefix("${AWS::StackName}-"): output
        for output in PLANE["Outputs"].values()
        if "Export" in output
    }


def imports(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "Fn::ImportValue":
                yield value["Fn::Sub"].removeprefix("${ControlPlaneStack}-")
            yield from imports(value)
    elif isinstance(node, list):
        for child in node:
            yield from imports(child)


def test_an_export_is_never_removed_or_changed_and_a_new_one_is_written_down() -> None:
    assert {name: output["Value"] for name, output in exports().items()} == RELEASED
    assert {name: PLANE["Parameters"][name]["Default"] for name in DEFAULTS} == DEFAULTS


def test_no_parameter_takes_an_export_away() -> None:
    assert [name for name, output in exports().items() if "Condition" in output] == []


@pytest.mark.parametrize("of_release", [WORKLOAD_TEMPLATE, WORKLOAD_TEMPLATE_BEFORE], ids=["this", "before"])
def test_a_workloads_stack_of_this_version_and_of_the_one_before_finds_what_it_imports(
    of_release: str,
) -> None:
    imported = set(imports(template(of_release)))
    assert imported
    assert imported <= set(exports())
