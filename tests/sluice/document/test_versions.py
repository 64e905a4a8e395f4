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
from tests.templates.stacks import written_before

ROOT = Path(__file__).parents[3]
VERSION_BEFORE = {
    kind: written_before(fleet, **parameters)
    for kind, (fleet, parameters) in {
        "asg-active": ("asg", {"ProcessingSeconds": "60"}),
        "asg-observe-backlog": ("asg", {"Mode": "observe", "QueueName": "transcription.fifo"}),
        "ecs-dynamic": ("ecs", {"TargetType": "dynamic", "DurationStatistic": "p90"}),
    }.items()
}
"""Documents of the version before, as the workload.yaml of then writes them."""
of_each_kind = pytest.mark.parametrize("text", VERSION_BEFORE.values(), ids=VERSION_BEFORE)
DOCUMENTS_OF_OTHERS = [{"capacity": "one"}, {"capacity": "one", "queues": ["a", "b"]}]


def refused(text: str) -> str:
    with pytest.raises(DocumentError) as refusal:
        parsing.parse(text, what="the document of workload x")
    return str(refusal.value)


@of_each_kind
def test_a_document_of_the_version_before_is_served_and_target_tracking_scales_it(text: str) -> None:
    logged = json.loads(text)
    assert (logged["version"], "scaling" in logged) == (VERSION - 1, False)
    served = parsing.parse(text)
    assert served.name == logged["name"]
    assert served.deadline is None
    tracked = (TrackedMetric(logged["tracking"]["metric"]), MetricSource(logged["tracking"]["source"]))
    assert (served.tracking.metric, served.tracking.source) == tracked
    assert served.publishes_effective == (tracked == (TrackedMetric.EFFECTIVE, MetricSource.PUBLISHED))


@of_each_kind
@pytest.mark.parametrize("named", [{}, {"version": 1}])
def test_a_document_of_the_first_version_is_refused_with_the_release_to_update_to(
    text: str, named: dict[str, int]
) -> None:
    """It named neither its version nor its release."""
    unnamed = text.replace('{"version": 3, "release": "0.1.0", ', "{")
    assert refused(json.dumps(named | json.loads(unnamed))) == (
        "the document of workload x is refused; version: 1: written by a workload.yaml that names no "
        f"release, but this control plane, release {RELEASE}, serves versions 3 and 4: update the workload's "
        f"stack with the workload.yaml of release {RELEASE}"
    )


@of_each_kind
def test_a_document_two_versions_old_is_refused_with_the_release_that_wrote_it(text: str) -> None:
    """It did not say which metric a policy tracks."""
    logged = json.loads(text) | {"version": VERSION - 2}
    del logged["tracking"]
    assert refused(json.dumps(logged)) == (
        "the document of workload x is refused; version: 2: written by release 0.1.0 of workload.yaml, but "
        f"this control plane, release {RELEASE}, serves versions 3 and 4: update the workload's stack with "
        f"the workload.yaml of release {RELEASE}"
    )


@of_each_kind
def test_a_document_of_the_version_before_says_which_metric_is_tracked(text: str) -> None:
    logged = json.loads(text)
    del logged["tracking"]
    assert "tracking" in refused(json.dumps(logged))


def test_there_are_documents_of_every_kind_of_the_version_before() -> None:
    kinds = {
        (logged["fleet"]["type"], logged["mode"], logged["target"]["type"])
        for logged in map(json.loads, VERSION_BEFORE.values())
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


@pytest.mark.parametrize("newer", ["0.1.1", "0.2.0", "0.10.0", "1.0.0-rc.1"])
def test_a_key_of_a_newer_release_of_the_same_version_is_refused_with_the_release_to_update_to(
    newer: str,
) -> None:
    written = document(
        release=newer, capacity={"min": 0, "max": 5, "bootstrap": 1, "burst": 9}, colour="blue"
    )
    way_out = (
        f"unknown key: written by release {newer} of workload.yaml, but this control plane, release "
        f"{RELEASE}, does not know it: update the control plane's stack to release {newer} first"
    )
    assert refused(json.dumps(written)) == (
        f"the document of workload x is refused; colour: 'blue': {way_out}; capacity.burst: 9: {way_out}"
    )


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("mode", {"mode": "advise"}),
        ("fleet", {"fleet": {"type": "spot_fleet", "name": "workers"}}),
        ("scaling", {"scaling": {"type": "forecast"}}),
        ("tracking.metric", {"tracking": {"metric": "age"}}),
    ],
)
def test_a_mode_or_type_of_a_newer_release_is_refused_with_the_release_to_update_to(
    path: str, changed: dict[str, Any]
) -> None:
    problem = refused(json.dumps(document(release="0.2.0", **changed)))
    assert problem.startswith(f"the document of workload x is refused; {path}: ")
    assert problem.endswith(
        f": written by release 0.2.0 of workload.yaml, but this control plane, release {RELEASE}, does not "
        "know it: update the control plane's stack to release 0.2.0 first"
    )
    assert "written by" not in refused(json.dumps(document(release=RELEASE, **changed)))


@pytest.mark.parametrize("not_newer", [RELEASE, "0.0.9", "0.1.0-rc.1", None, 7, "soon"])
def test_a_key_that_no_newer_release_wrote_is_to_be_removed(not_newer: object) -> None:
    problem = refused(json.dumps(document(release=not_newer, colour="blue")))
    assert "colour: 'blue': unknown key: remove it, or check its spelling and place" in problem
