"""How long the names may be from which the templates derive others, by AWS's limits of these."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sluice_sim.template import load
from tests.templates.stacks import ROOT

MAX_LENGTHS = {
    ("AWS::Serverless::LayerVersion", "LayerName"): 140,
    ("AWS::Scheduler::ScheduleGroup", "Name"): 64,
    ("AWS::Serverless::StateMachine", "Name"): 80,
    ("AWS::Logs::LogGroup", "LogGroupName"): 512,
    ("AWS::Logs::QueryDefinition", "Name"): 255,
    ("AWS::CloudWatch::Alarm", "AlarmName"): 255,
    ("AWS::CloudWatch::Dashboard", "DashboardName"): 255,
    ("AWS::SSM::Parameter", "Name"): 1011,
    ("AWS::ApplicationAutoScaling::ScalingPolicy", "PolicyName"): 256,
    ("Output", "Export"): 255,
}
"""(type, property) of each name that a template gives to a resource -> the most characters that AWS takes."""
MAX_STACK_NAME = 128
LONGEST_REGION = "ap-southeast-1"


def given_names(template: str) -> Iterator[tuple[tuple[str, str], str]]:
    """((type, property), the name as the template writes it) of every resource and export that it names."""
    loaded = load(ROOT / template)
    for resource in loaded["Resources"].values():
        for name, value in resource.get("Properties", {}).items():
            if (key := (resource["Type"], name)) in MAX_LENGTHS:
                for text in texts(value):
                    yield key, text
    for output in loaded["Outputs"].values() if "Outputs" in loaded else ():
        if "Export" in output:
            for text in texts(output["Export"]["Name"]):
                yield ("Output", "Export"), text


def texts(value: Any) -> Iterator[str]:
    """Each text that an intrinsic function may make, with its references as `${Name}`."""
    if isinstance(value, str):
        yield value
    elif "Ref" in value:
        yield f"${{{value['Ref']}}}"
    else:
        found = value["Fn::Sub"]
        yield found if isinstance(found, str) else found[0]


def longest(template: str, reference: str, others: Mapping[str, int]) -> int:
    """The most characters that a referenced name may have for all names that are made of it to be valid."""
    lengths = []
    for key, text in given_names(template):
        if reference in (references := re.findall(r"\$\{([^}]+)\}", text)):
            fixed = len(re.sub(r"\$\{[^}]+\}", "", text))
            left = MAX_LENGTHS[key] - fixed - sum(others[each] for each in references if each != reference)
            lengths.append(left // references.count(reference))
    assert lengths, reference
    return min(lengths)


def test_the_documents_say_how_long_the_name_of_a_control_planes_stack_may_be() -> None:
    found = longest("template.yaml", "AWS::StackName", {})
    assert found == 57 < MAX_STACK_NAME, "the groups of schedules, with 64 characters"
    for page in ("docs/deploy.md", "docs/operations.md"):
        text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        assert f"at most {found} characters" in text, page


def test_every_name_of_a_workload_and_of_its_stack_gives_valid_names() -> None:
    declared = load(ROOT / "workload.yaml")["Parameters"]
    allowed = re.fullmatch(r".*\{0,(\d+)\}\$", declared["Name"]["AllowedPattern"])
    assert allowed is not None
    longest_name = 1 + int(allowed[1])
    prefix = load(ROOT / "template.yaml")["Parameters"]["RegistryPrefix"]
    others = {"AWS::Region": len(LONGEST_REGION), "Prefix": prefix["MaxLength"]}
    assert longest_name <= longest("workload.yaml", "Name", others)
    assert longest("workload.yaml", "AWS::StackName", {}) >= MAX_STACK_NAME


def test_every_name_that_is_made_of_a_stacks_name_has_a_known_limit() -> None:
    for template in ("template.yaml", "workload.yaml"):
        known = {text for _, text in given_names(template)}
        for resource in load(ROOT / template)["Resources"].values():
            for name, value in resource.get("Properties", {}).items():
                if name.endswith("Name") and "AWS::StackName" in json.dumps(value):
                    assert {*texts(value)} <= known, (resource["Type"], name)
