"""Upgrades in the closed loop: workloads of the version before, and workloads ahead of the control plane."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from sluice.document.versions import RELEASE, VERSION
from sluice_cli.main import main
from sluice_sim.aws_rules.alarms import State
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.run import WorkloadRun
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION
from tests.scenarios.conftest import ROOT, WITH_NOTIFICATIONS, run_scenario
from tests.scenarios.test_pause import Played
from tests.scenarios.test_surge import bounds, surge
from tests.templates.stacks import WORKLOAD_TEMPLATE, WORKLOAD_TEMPLATE_BEFORE

pytestmark = pytest.mark.slow

KINDS = {"group": TRANSCRIPTION, "service": replace(QUEUE_PROC, promise_s=600)}
NEWER_RELEASE = "7.0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A checkout whose workload.yaml can be exchanged for that of another release."""

    folder: Path

    @property
    def template(self) -> Path:
        return self.folder / WORKLOAD_TEMPLATE

    def workloads_of_this_release(self) -> None:
        shutil.copy(ROOT / WORKLOAD_TEMPLATE, self.template)

    def workloads_of_the_version_before(self) -> None:
        shutil.copy(ROOT / WORKLOAD_TEMPLATE_BEFORE, self.template)

    def workloads_of_a_newer_release(self, *, version: int, more: str = "") -> None:
        """One that writes this version of the document, with one more key."""
        self.workloads_of_this_release()
        text = self.template.read_text(encoding="utf-8")
        head, tail = text.split(f'{{"version": {VERSION},', 1)
        line, rest = tail.split('"name": "${Name}",', 1)
        assert '"release": ' in line
        written = f'{{"version": {version}, "release": "{NEWER_RELEASE}", {more}"name": "${{Name}}",'
        self.template.write_text(head + written + rest, encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    for name in ("functions", "template.yaml", "samconfig.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    found = Checkout(folder=tmp_path)
    found.workloads_of_this_release()
    return found


def document(name: str) -> dict[str, Any]:
    parameter = boto3.client("ssm").get_parameter(Name=f"/sluice/workloads/{name}")["Parameter"]
    written: dict[str, Any] = json.loads(parameter["Value"])
    return written


def errors(aws: EmbeddedAws) -> list[str]:
    return [str(line.record["message"]) for line in aws.log if line.record.get("level") == "ERROR"]


# ---- a control plane newer than its workloads --------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_workload_of_the_version_before_goes_from_zero_and_back_under_this_control_plane(
    kind: str, checkout: Checkout
) -> None:
    """Its whole stack is of then: the document, the alarms and the policy."""
    checkout.workloads_of_the_version_before()
    versions = []
    recording = run_scenario(
        checkout.folder,
        scenario=replace(KINDS[kind], promise_s=600),
        before=lambda _: versions.append(document(KINDS[kind].name)["version"]),
    )
    assert versions == [VERSION - 1]
    assert recording.summary.ok
    assert recording.summary.processed == recording.summary.sent > 0
    assert {"bootstrap", "shutdown"} <= recording.summary.decisions.keys()
    assert ("retune" in recording.summary.decisions) is (kind == "service")
    assert [line for line in recording.log if line.record.get("level") == "ERROR"] == []


@contextmanager
def of_the_version_before(kind: str, checkout: Checkout) -> Iterator[tuple[Played, WorkloadRun]]:
    checkout.workloads_of_the_version_before()
    with embedded_aws(checkout.folder) as aws:
        demo, scenario = (
            Demo(aws, checkout.folder),
            replace(KINDS[kind], promise_s=600, bursts={}, steady=None),
        )
        run = demo.add_workload(scenario)
        shown = QUEUE_PROC if kind == "service" else scenario
        yield Played(demo, shown, demo.minutes()), run


@pytest.mark.parametrize("kind", KINDS)
def test_an_operator_surges_and_pauses_a_workload_of_the_version_before(
    kind: str, checkout: Checkout
) -> None:
    with of_the_version_before(kind, checkout) as (played, _):
        played.play(1)
        minimum, maximum = bounds(played)
        surge(played, timedelta(minutes=10), to=maximum)
        assert set(played.play(8)) == {maximum}
        played.pause()
        assert set(played.play(20)) == {maximum}
        assert bounds(played) == (minimum, maximum)
        played.resume()
        assert played.play(45)[-1] == minimum
        assert errors(played.demo.aws) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_running_workload_is_upgraded_and_its_fleet_neither_stops_nor_stays(
    kind: str, checkout: Checkout
) -> None:
    with of_the_version_before(kind, checkout) as (played, run):
        played.play(2)
        played.send(30)
        before = played.play(8)
        checkout.workloads_of_this_release()
        played.demo.deploy(run)
        assert document(run.name)["version"] == VERSION
        after = played.play(60)
        assert before[-1] > 0
        assert after[0] >= before[-1]
        assert after[-1] == 0
        assert errors(played.demo.aws) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_control_plane_that_is_rolled_back_after_its_workloads_serves_them_again(
    kind: str, checkout: Checkout
) -> None:
    """First every workload is put back to the version before, which both releases serve."""
    with of_the_version_before(kind, checkout) as (played, run):
        checkout.workloads_of_this_release()
        played.demo.deploy(run)
        played.play(6)
        checkout.workloads_of_the_version_before()
        played.demo.deploy(run)
        assert document(run.name)["version"] == VERSION - 1
        played.send(3)
        assert max(played.play(6)) > 0
        assert played.play(40)[-1] == 0
        assert errors(played.demo.aws) == []


# ---- a control plane older than its workloads --------------------------------------------------------------

AHEAD: dict[str, Callable[[Checkout], None]] = {
    "a version that it does not serve": lambda checkout: checkout.workloads_of_a_newer_release(
        version=VERSION + 1
    ),
    "a key that it does not know": lambda checkout: checkout.workloads_of_a_newer_release(
        version=VERSION, more='"cooldown_s": 60, '
    ),
}
NAMES_IT = {
    "a version that it does not serve": f"version: {VERSION + 1}: written by release {NEWER_RELEASE}",
    "a key that it does not know": f"cooldown_s: 60: unknown key: written by release {NEWER_RELEASE}",
}
WAY_OUT = f"update the control plane's stack to release {NEWER_RELEASE} first"
BUSY = replace(TRANSCRIPTION, bursts={2: 60}, steady=None, max_minutes=200)
OTHER = replace(QUEUE_PROC, steady=None, bursts={12: 30}, max_minutes=200)
BUSY_SIZE = 5
"""At ten minutes all instances work, and the queue is empty long before the hour is over."""
UPDATED, WATCHED = 10, 60
"""Minutes: when the stack is updated, and for how long it is ahead."""
CACHED, TOLD_WITHIN = 5, 10
"""Minutes for which the registry is served as it was read before, and that alarms take from then on."""
TOLD_BY = ("sluice-DocumentInvalidAlarm", "sluice-transcription-silent")
"""The control plane's own alarm, and the workload's, which knows no data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What happened while one of two workloads was ahead of the control plane."""

    sizes: list[int]
    """Of the workload that is ahead, before its update and at the end of each minute from then on."""
    sizes_of_other: list[int]
    decisions: set[str]
    refusals: list[str]
    notified: dict[str, float]
    """Alarm -> minutes from the update to its first notification."""
    status: tuple[int, str]
    doctor: tuple[int, str]
    sizes_once_put_back: list[int]


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit status and output of the operator's command, on this account."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), " ".join((printed.err + printed.out).split())


@pytest.fixture(params=AHEAD)
def ahead(
    request: pytest.FixtureRequest, checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> tuple[str, Ahead]:
    with embedded_aws(checkout.folder) as aws:
        demo = Demo(aws, checkout.folder, plane=WITH_NOTIFICATIONS)
        run, _ = demo.add_workload(BUSY, WITH_NOTIFICATIONS), demo.add_workload(OTHER, WITH_NOTIFICATIONS)
        minutes = demo.minutes()
        one, other = Played(demo, BUSY, minutes), Played(demo, QUEUE_PROC, minutes)
        one.play(UPDATED)
        AHEAD[request.param](checkout)
        demo.deploy(run)
        updated_at, lines = aws.clock.now, len(aws.log)
        sizes, others = [one.size()], []
        for _ in range(WATCHED):
            sizes += one.play(1)
            others.append(other.size())
        seen = [line.record for line in aws.log[lines:] if line.record.get("workload") == run.name]
        notified: dict[str, float] = {}
        for note in aws.notifications:
            if note.at >= updated_at and note.state is not State.OK:
                notified.setdefault(note.alarm, (note.at - updated_at) / 60)
        status, doctor = command(capsys, "status", run.name), command(capsys, "doctor", run.name)
        assert "Note" not in status[1], "the command and the control plane are of one release"
        checkout.workloads_of_this_release()
        demo.deploy(run)
        put_back = one.play(40)
        return request.param, Ahead(
            sizes=sizes,
            sizes_of_other=others,
            decisions={str(record["decision"]) for record in seen if "decision" in record},
            refusals=[str(record["message"]) for record in seen if record.get("level") == "ERROR"],
            notified=notified,
            status=status,
            doctor=doctor,
            sizes_once_put_back=put_back,
        )


def test_a_workload_ahead_is_refused_by_name_and_never_scaled_in_while_the_others_go_on(
    ahead: tuple[str, Ahead],
) -> None:
    why, seen = ahead
    assert seen.decisions == set()
    assert all(NAMES_IT[why] in each and WAY_OUT in each for each in seen.refusals)
    assert len(seen.refusals) >= WATCHED - CACHED
    assert set(seen.sizes) == {BUSY_SIZE}
    assert (seen.sizes_of_other[0], max(seen.sizes_of_other) > 0, seen.sizes_of_other[-1]) == (0, True, 0)
    assert [alarm for alarm in TOLD_BY if not 0 < seen.notified[alarm] <= CACHED + TOLD_WITHIN] == []
    for exit_status, printed in (seen.status, seen.doctor):
        assert exit_status == 1
        assert NAMES_IT[why] in printed
        assert WAY_OUT in printed
    assert "docs/operations.md, Upgrading" in seen.doctor[1]
    assert seen.sizes_once_put_back[-1] == 0


# ---- a command of another release than the control plane ---------------------------------------------------

OF_PLANE = {
    "newer": (f"Value: {NEWER_RELEASE}\n", f"the control plane is of release {NEWER_RELEASE}."),
    "older": (None, "the control plane is older, and names no release."),
}


@pytest.mark.parametrize("which", OF_PLANE)
def test_a_command_says_that_the_control_plane_is_of_another_release_and_goes_on(
    which: str, checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    value, said = OF_PLANE[which]
    plane = checkout.folder / "template.yaml"
    text = plane.read_text(encoding="utf-8")
    before, output = text.split("  Release:\n", 1)
    rest = output.split(f"Value: {RELEASE}\n", 1)[1]
    plane.unlink()
    named = f"  Release:\n    {value}" if value else ""
    plane.write_text(before + named + rest, encoding="utf-8")
    with embedded_aws(checkout.folder) as aws:
        demo = Demo(aws, checkout.folder)
        demo.add_workload(replace(TRANSCRIPTION, bursts={}))
        next(demo.minutes())
        with pytest.raises(SystemExit):
            main(["status", "transcription"])
    shown = capsys.readouterr()
    assert shown.err.startswith(f"Note: this command is of release {RELEASE}, {said} ")
    assert "transcription" in shown.out
    assert "Note" not in shown.out
