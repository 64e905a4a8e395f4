"""The documentation is current: its paths, make targets and parameters exist, its tables are complete."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path

import pytest

from sluice import report
from sluice.core.backlog import to_publish
from sluice.core.model import Demand, Limit, OfferedLoad, Published, Reason, Unknown
from sluice.ports import Counter
from sluice_sim.template import load
from tests.support.builders import (
    capacity,
    ecs_workload,
)
from tests.templates import stacks

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
WORKLOAD = (ROOT / "docs/workload.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")

IN_WORDS = {8: "eight", 9: "nine", 10: "ten", 17: "seventeen", 18: "eighteen", 19: "nineteen"}
GENERATED = (".aws-sam", ".venv")
FILE = re.compile(r"^[\w.-]+(/[\w.-]+)*\.(py|yaml|toml|json|md|svg|txt)$")


def _page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _first_cells(page: str) -> set[str]:
    """Every name in backticks in the first column of the page's tables."""
    cells = re.findall(r"^\|([^|]*)\|", page, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def _named_paths(text: str) -> set[str]:
    """Every path in backticks: a file's name, or something below a folder of the project."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    tokens = {token.strip() for token in re.findall(r"`([^`\n]+)`", text)}
    tokens |= set(re.findall(r"(?:-e|--env-vars|-t|pytest) ((?:events|docs|examples|tests)/\S+?)[`\s]", text))
    return {
        token
        for token in tokens
        if (FILE.match(token) or (token.split("/")[0] in folders and "/" in token))
        and not token.startswith(GENERATED)
        and not set(token) & set("<>*$ ")
    }


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = _named_paths(page.read_text(encoding="utf-8"))
    assert not sorted(path for path in named if not (ROOT / path).exists())


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_every_link_of_a_page_has_a_target(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if path.startswith("https:"):
            continue
        leads_to = (page.parent / path).resolve() if path else page
        if not leads_to.exists() or (anchor and anchor not in _anchors(leads_to)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named <= targets


def test_the_page_on_a_workload_explains_every_parameter() -> None:
    table = WORKLOAD.partition("| Parameter of `workload.yaml` |")[2].partition("\n\n")[0]
    assert _first_cells(table) == set(load(ROOT / "workload.yaml")["Parameters"])


def test_the_page_on_a_workload_shows_each_parameters_default() -> None:
    table = WORKLOAD.partition("| Parameter of `workload.yaml` |")[2].partition("\n\n")[0]
    rows = {
        row[0].strip(" `"): row[1].strip(" `") for row in re.findall(r"^\|([^|]*)\|([^|]*)\|", table, re.M)
    }
    for name, parameter in load(ROOT / "workload.yaml")["Parameters"].items():
        if name in rows:  # parameters that share a row have no default
            assert rows[name] == str(parameter.get("Default", "")), name


@pytest.mark.parametrize(("heading", "vocabulary"), [("## Reasons", Reason), ("### Limits", Limit)])
def test_the_operations_page_explains_every_reason_and_limit(heading: str, vocabulary: type[StrEnum]) -> None:
    section = OPERATIONS.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    explained = _first_cells(section) - {"reason", "limits"}
    assert explained == {word.name.lower() for word in vocabulary}


def test_the_operations_page_explains_every_counter() -> None:
    assert {counter.value for counter in Counter} <= _first_cells(OPERATIONS)


def test_the_operations_page_explains_every_alarm() -> None:
    plane = load(ROOT / "template.yaml")["Resources"]
    alarms = {name for name, resource in plane.items() if resource["Type"] == "AWS::CloudWatch::Alarm"}
    workload = load(ROOT / "workload.yaml")["Resources"].values()
    alarms |= {
        resource["Properties"]["AlarmName"]["Fn::Sub"].replace("${Name}", "NAME")
        for resource in workload
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert alarms <= _first_cells(OPERATIONS)


def test_the_sample_log_line_is_valid_and_every_field_is_explained() -> None:
    sample = json.loads(OPERATIONS.partition("```json\n")[2].partition("```")[0])
    assert set(sample) <= _first_cells(OPERATIONS)


def test_the_sample_line_of_a_tick_is_current_and_every_field_is_explained() -> None:
    section = OPERATIONS.partition("\n## A tick's log line\n")[2].partition("\n## ")[0]
    sample = json.loads(section.partition("```json\n")[2].partition("```")[0])
    demand = Demand(
        load=OfferedLoad(
            arrivals_per_s=sample["arrivals_per_s"],
            processing_s=sample["processing_s"],
            concurrency_per_instance=1,
        ),
        target_per_instance=sample["target"],
    )
    fleet = capacity(sample["desired_now"], sample["running"])
    published = to_publish(ecs_workload(), sample["backlog_per_instance"], fleet, demand)
    assert sample["message"] == f"{sample['workload']}: {report.published_sentence(published)}"
    assert report.published_fields(published).items() <= sample.items()
    unknown = report.published_fields(Published(backlog_per_instance=1.0, demand=Unknown(reason="late")))
    explained = _first_cells(section.partition("| Field | Meaning |")[2].partition("\n\n")[0])
    assert {*sample, *unknown} <= explained | {"message", "workload"}


def test_the_local_environment_overrides_only_what_the_template_declares() -> None:
    """SAM silently ignores any other variable."""
    declared = load(ROOT / "template.yaml")["Globals"]["Function"]["Environment"]["Variables"]
    variables = json.loads((ROOT / "docs/local-env.json").read_text(encoding="utf-8"))
    assert set(variables) == {"Parameters"}
    assert set(variables["Parameters"]) <= set(declared)


def test_every_assumption_is_in_the_file_that_the_page_names() -> None:
    page = (ROOT / "docs/assumptions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|[^|]*\| `([^`]+)`: ((?:`[^`]+`(?:, )?)+) \|", page, flags=re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| [A-Z](?!ssumption)", page, flags=re.MULTILINE))
    for path, names in rows:
        text = (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"`([^`]+)`", names):
            assert name.removesuffix("...") in text, f"{path} no longer says {name}"


def test_the_index_lists_every_decision_under_its_own_title() -> None:
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    pages = sorted(folder.glob("[0-9]*.md"))
    assert pages
    for page in pages:
        number, _, title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(" ")
        assert f"| [{number}]({page.name}) | {title} |" in index


def test_the_control_planes_functions_and_alarms_are_counted_where_it_is_described() -> None:
    """Those that the default parameters deploy."""
    resources = stacks.plane().resources.values()
    functions = sum(one.type == "AWS::Lambda::Function" for one in resources)
    alarms = sum(one.type == "AWS::CloudWatch::Alarm" for one in resources)
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    changes = " ".join((ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split())
    assert f"{IN_WORDS[functions]} Lambda functions" in readme
    assert f"{IN_WORDS[functions]} functions" in changes
    assert f"{IN_WORDS[alarms]} alarms of its own" in changes
