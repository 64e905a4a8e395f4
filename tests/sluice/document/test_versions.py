"""Which versions of a document a control plane serves, in both directions of an upgrade."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sluice.core.model import MetricSource, TrackedMetric
from sluice.document import parsing
from sluice.document.versions import (
    RELEASE,
    VERSION,
    version_problem,
)
from sluice.errors import DocumentError
from tests.support.builders import document

ROOT = Path(__file__).parents[3]
VERSION_3 = sorted((ROOT / "tests" / "documents").glob("version-3-*.json"))
"""As workload.yaml wrote them before it knew the deadline engine."""
DOCUMENTS_OF_OTHERS = [{"capacity": "one"}, {"capacity": "one", "queues": ["a", "b"]}]


def refused(text: str) -> str:
    with pytest.raises(DocumentError) as refusal:
        parsing.parse(text, what="the document of workload x")
    return str(refusal.value)


@pytest.mark.parametrize("path", VERSION_3, ids=lambda path: path.stem)
def test_a_document_of_the_version_before_is_served_and_target_tracking_scales_it(path: Path) -> None:
    logged = json.loads(path.read_text())
    assert (logged["version"], "scaling" in logged) == (VERSION - 1, False)
    served = parsing.parse(path.read_text())
    assert served.name == logged["name"]
    assert served.deadline is None
    tracked = (TrackedMetric(logged["tracking"]["metric"]), MetricSource(logged["tracking"]["source"]))
    assert (served.tracking.metric, served.tracking.source) == tracked
    assert served.publishes_effective == (tracked == (TrackedMetric.EFFECTIVE, MetricSource.PUBLISHED))


@pytest.mark.parametrize("path", VERSION_3, ids=lambda path: path.stem)
@pytest.mark.parametrize("named", [{}, {"version": 1}])
def test_a_document_of_the_first_version_is_refused_with_the_release_to_update_to(
    path: Path, named: dict[str, int]
) -> None:
    """It named neither its version nor its release."""
    text = path.read_text().replace('{"version": 3, "release": "0.1.0", ', "{")
    assert refused(json.dumps(named | json.loads(text))) == (
        "the document of workload x is refused; version: 1: written by a workload.yaml that names no "
        f"release, but this control plane, release {RELEASE}, serves versions 3 and 4: update the workload's "
        f"stack with the workload.yaml of release {RELEASE}"
    )


@pytest.mark.parametrize("path", VERSION_3, ids=lambda path: path.stem)
def test_a_document_two_versions_old_is_refused_with_the_release_that_wrote_it(path: Path) -> None:
    """It did not say which metric a policy tracks."""
    logged = json.loads(path.read_text()) | {"version": VERSION - 2}
    del logged["tracking"]
    assert refused(json.dumps(logged)) == (
        "the document of workload x is refused; version: 2: written by release 0.1.0 of workload.yaml, but "
        f"this control plane, release {RELEASE}, serves versions 3 and 4: update the workload's stack with "
        f"the workload.yaml of release {RELEASE}"
    )


@pytest.mark.parametrize("path", VERSION_3, ids=lambda path: path.stem)
def test_a_document_of_the_version_before_says_which_metric_is_tracked(path: Path) -> None:
    logged = json.loads(path.read_text())
    del logged["tracking"]
    assert "tracking" in refused(json.dumps(logged))


def test_there_are_documents_of_every_kind_of_the_version_before() -> None:
    kinds = {
        (logged["fleet"]["type"], logged["mode"], logged["target"]["type"])
        for logged in (json.loads(path.read_text()) for path in VERSION_3)
    }
    assert kinds == {
        ("asg", "active", "static"),
        ("asg", "observe", "static"),
        ("ecs", "active", "dynamic"),
    }


@pytest.mark.parametrize("other", [{}, *DOCUMENTS_OF_OTHERS])
def test_a_newer_document_is_refused_for_its_version_alone(other: dict[str, Any]) -> None:
    text = json.dumps(document(version=VERSION + 1, release="0.9.0") | other)
    assert refused(text) == (
        "the document of workload x is refused; "
        f"version: {VERSION + 1}: written by release 0.9.0 of workload.yaml, but this control plane, release "
        f"{RELEASE}, serves versions {VERSION - 1} and {VERSION}: "
        "update the control plane's stack to release 0.9.0 first"
    )


@pytest.mark.parametrize("release", [None, 3, "", "soon", "1.2", "1.2.3\n", "1.2.3" + "4" * 60])
def test_a_newer_document_that_names_no_release_is_refused_with_a_way_out_all_the_same(
    release: object,
) -> None:
    problem = refused(json.dumps(document(version=10**30, release=release)))
    assert "written by a workload.yaml that names no release" in problem
    assert problem.endswith("update the control plane's stack to the release of that workload.yaml first")


def test_the_control_plane_before_refuses_a_document_of_this_version() -> None:
    problem = version_problem(json.dumps(document()), newest=VERSION - 1, release="0.0.9")
    assert str(problem) == (
        f"version: {VERSION}: written by release {RELEASE} of workload.yaml, but this control plane, release "
        f"0.0.9, serves versions 2 and 3: update the control plane's stack to release {RELEASE} first"
    )


@pytest.mark.parametrize(("newest", "served"), [(2, {1, 2}), (3, {2, 3}), (4, {3, 4})])
def test_a_control_plane_serves_its_own_version_and_the_one_before(newest: int, served: set[int]) -> None:
    versions = range(1, 7)
    assert {v for v in versions if not version_problem(json.dumps({"version": v}), newest=newest)} == served


@pytest.mark.parametrize(
    ("written", "writer"),
    [
        ({}, "a workload.yaml that names no release"),
        ({"version": 2, "release": "0.1.0"}, "release 0.1.0 of workload.yaml"),
    ],
)
def test_a_document_older_than_the_version_before_is_refused_with_the_other_way_out(
    written: dict[str, Any], writer: str
) -> None:
    problem = version_problem(json.dumps(written), newest=4, release="1.2.3")
    assert str(problem) == (
        f"version: {written.get('version', 1)}: written by {writer}, but this control plane, release 1.2.3, "
        "serves versions 3 and 4: update the workload's stack with the workload.yaml of release 1.2.3"
    )


@pytest.mark.parametrize("version", [True, False, None, "4", "", 0, -1, 1.5, 4.0, [4], {}])
def test_an_invalid_version_is_refused_as_such(version: object) -> None:
    assert refused(json.dumps(document(version=version, mode="on"))) == (
        f"the document of workload x is refused; version: {version!r}: "
        "must be a whole number from 1 to 4, as workload.yaml writes it"
    )


@pytest.mark.parametrize("text", ["[]", "7", "{", '{"a":' * 4000])
def test_a_document_that_is_not_an_object_has_no_version(text: str) -> None:
    assert version_problem(text) is None


@pytest.mark.parametrize(
    ("changed", "path", "way_out"),
    [
        ({"release": None}, "release", "string"),
        ({"release": "soon"}, "release", "pattern"),
    ],
)
def test_a_document_names_its_release(changed: dict[str, Any], path: str, way_out: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        parsing.parse(json.dumps(document(**changed)))
    assert {problem.path for problem in refusal.value.problems} == {path}
    assert any(way_out in problem.way_out for problem in refusal.value.problems)


def test_the_release_is_the_packages_own() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == RELEASE
