"""What a change of each parameter does, derived from AWS's own resource schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.templates.stacks import REGION, ROOT, WORKLOAD_TEMPLATE, template, transformed_plane

HEADING = "## What a change of each parameter does"
TEMPLATES = {"template.yaml": transformed_plane, WORKLOAD_TEMPLATE: lambda: template(WORKLOAD_TEMPLATE)}
FROZEN = "refused while a workload imports it"
LAYER_HASH = re.compile(r"(?<=^SluiceLayer)[0-9a-f]+$")

Reached = dict[str, set[str]]
"""Parameter -> logical ids."""


def references(node: object) -> Iterator[str]:
    """Names that a node refers to: parameters, resources, and conditions as "Condition NAME"."""
    if isinstance(node, dict):
        for key, child in node.items():
            if key in ("Ref", "Condition"):
                yield child if key == "Ref" else f"Condition {child}"
            elif key == "Fn::GetAtt":
                yield child.split(".")[0] if isinstance(child, str) else child[0]
            elif key == "Fn::If":
                yield f"Condition {child[0]}"
                yield from references(child[1:])
            elif key == "Fn::Sub":
                pattern, named = child if isinstance(child, list) else (child, {})
                yield from (name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", pattern))
                yield from references(named)
            else:
                yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def parameters_of(body: Mapping[str, Any], node: object) -> set[str]:
    """Parameters on which a node's value depends, through conditions and what the other resources are."""
    found: set[str] = set()
    for name in references(node):
        if name in body["Parameters"]:
            found.add(name)
        elif name.startswith("Condition "):
            found |= parameters_of(body, body["Conditions"][name.removeprefix("Condition ")])
        elif name in body["Resources"]:
            found |= parameters_of(body, create_only(body["Resources"][name]))
    return found


def create_only(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The properties that only a new resource can have other values of."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, resource["Type"]).schema
    fixed = {path.split("/")[2] for path in schema.get("createOnlyProperties", [])}
    return {name: value for name, value in resource.get("Properties", {}).items() if name in fixed}


def reached(body: Mapping[str, Any], part: Any) -> Reached:
    """Per parameter, the resources of which `part` depends on it."""
    found: Reached = {name: set() for name in body["Parameters"]}
    for logical_id, resource in body["Resources"].items():
        for parameter in parameters_of(body, part(resource)):
            found[parameter].add(LAYER_HASH.sub("", logical_id))
    return found


def condition_of(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {"Condition": resource["Condition"]} if "Condition" in resource else {}


def rows(path: str) -> dict[str, list[str]]:
    """Parameter -> the other cells of its row in the page's table for the template."""
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = page.partition(f"\n{HEADING}\n")[2].partition("\n## ")[0]
    table = section.partition(f"| Parameter of `{path}` |")[2].partition("\n\n")[0]
    documented: dict[str, list[str]] = {}
    for line in table.splitlines()[2:]:
        first, *cells = line.strip("|").split("|")
        documented |= dict.fromkeys(re.findall(r"`([^`]+)`", first), cells)
    return documented


def named(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


@pytest.mark.parametrize("path", TEMPLATES)
def test_the_page_says_which_resources_a_change_of_each_parameter_replaces(path: str) -> None:
    derived = reached(TEMPLATES[path](), create_only)
    assert {name: named(cells[0]) for name, cells in rows(path).items()} == derived


@pytest.mark.parametrize("path", TEMPLATES)
def test_the_page_says_which_resources_a_change_of_each_parameter_makes_or_removes(path: str) -> None:
    derived = reached(TEMPLATES[path](), condition_of)
    assert {name: named(cells[1]) for name, cells in rows(path).items()} == derived


@pytest.mark.parametrize("path", TEMPLATES)
def test_the_page_says_which_parameters_an_import_freezes(path: str) -> None:
    body = TEMPLATES[path]()
    exported = [output["Value"] for output in body["Outputs"].values() if "Export" in output]
    documented = {name for name, cells in rows(path).items() if FROZEN in cells[2]}
    assert documented == parameters_of(body, exported)


def test_what_a_condition_decides_depends_on_its_parameters() -> None:
    body = {
        "Parameters": {"A": {}, "B": {}},
        "Conditions": {
            "IsA": {"Fn::Equals": [{"Ref": "A"}, "a"]},
            "Not": {"Fn::Not": [{"Condition": "IsA"}]},
        },
        "Resources": {},
    }
    assert parameters_of(body, {"Fn::If": ["Not", {"Fn::Sub": "${B}-${AWS::Region}"}, ""]}) == {"A", "B"}
