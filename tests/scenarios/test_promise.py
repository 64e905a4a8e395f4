"""The demo reports how long messages waited, whether the promise was kept and, if not, why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from sluice_cli.main import main
from sluice_report.demo import sentences
from sluice_sim.embedded import demo
from sluice_sim.embedded.scenarios import BULK_CONSUMER, QUEUE_PROC, TRANSCRIPTION, TRANSCRIPTION_IN_TIME
from sluice_sim.embedded.timeline import (
    Cause,
    Summary,
    Timeline,
)
from sluice_sim.promise import Waits
from tests.scenarios.conftest import (
    Recording,
    run_scenario,
)

pytestmark = pytest.mark.slow


def waits_of(summary: Summary) -> Waits:
    assert summary.waits is not None
    return summary.waits


def test_a_target_that_uses_the_whole_promise_does_not_keep_it(transcription: Recording) -> None:
    """8 messages of a minute each for 8 minutes leave no time for a burst to be noticed and for a boot."""
    waits = waits_of(transcription.summary)
    assert waits.promise_s == 480
    assert waits.attainment == 36 / 84
    assert transcription.summary.ok
    assert not waits.kept
    assert next(iter(transcription.summary.late_by_cause)) is Cause.AT_MAXIMUM
    assert "a higher MaxCapacity" in sentences.why_late(transcription.summary)


def test_the_same_load_keeps_the_promise_if_settings_leave_time_for_detection_and_boot() -> None:
    in_time = run_scenario(scenario=TRANSCRIPTION_IN_TIME).summary
    assert (in_time.ok, in_time.sent) == (True, 84)
    assert waits_of(in_time).promise_s == 480
    assert waits_of(in_time).attainment == 1
    assert sentences.why_late(in_time) == ""


def test_a_message_waits_from_its_sending_until_an_instance_has_booted_and_taken_it() -> None:
    one = replace(TRANSCRIPTION, bursts={2: 1}, max_minutes=25)
    waits = waits_of(run_scenario(scenario=one).summary)
    assert waits.p50_s == waits.p99_s
    # A tick up to a minute late, then the boot.
    assert TRANSCRIPTION.boot_s <= waits.p99_s <= TRANSCRIPTION.boot_s + 120


def test_messages_of_one_batch_start_one_after_the_other() -> None:
    ten = replace(QUEUE_PROC, bursts={2: 10}, steady=None, durations=((0, 2),), max_minutes=20)
    waits = waits_of(run_scenario(scenario=ten).summary)
    assert waits.p99_s - waits.p50_s == pytest.approx(5 * 2)


def test_instances_are_billed_from_their_launch_until_they_are_terminated(transcription: Recording) -> None:
    """If every change falls on the end of a minute, instance hours equal the hours of desired instances."""
    desired_hours = sum(minute.desired for minute in transcription.minutes) / 60
    running_hours = sum(minute.running for minute in transcription.minutes) / 60
    assert running_hours < transcription.summary.instance_hours
    assert transcription.summary.instance_hours == pytest.approx(desired_hours, abs=0.15)


def test_a_scenario_may_have_a_promise_other_than_its_target() -> None:
    brief = replace(BULK_CONSUMER, bursts={3: 20}, max_minutes=12)
    assert waits_of(run_scenario(scenario=brief).summary).promise_s == 4320


# ---- The command -------------------------------------------------------------------------------------------


def summary(**changes: object) -> Summary:
    waits = Waits(promise_s=480, attainment=0.98999, p50_s=60, p99_s=510)
    defaults = {
        "name": "transcription", "minimum": 0, "maximum": 5, "sent": 84, "processed": 84, "waits": waits,
        "instance_hours": 2.13, "late_by_cause": {Cause.AT_MAXIMUM: 0.95, Cause.BOOTING: 0.05},
    }  # fmt: skip
    return Summary(**(defaults | changes))


@pytest.fixture
def canned_summaries(monkeypatch: pytest.MonkeyPatch) -> list[Summary]:
    """The summaries that the next run returns."""
    summaries: list[Summary] = []
    monkeypatch.setattr(
        demo, "run_scenarios", lambda *_, **__: [Timeline(summary=one, minutes=()) for one in summaries]
    )
    return summaries


def test_the_table_has_waits_hours_and_a_share_that_is_not_rounded_up(
    canned_summaries: list[Summary],
) -> None:
    canned_summaries.append(summary())
    shown = CliRunner().invoke(main, ["demo"])
    assert shown.exit_code == 0
    for what, value in (
        ("instance-hours", "2.13"),
        ("wait p50, arrival to start", "60 s"),
        ("wait p99", "510 s"),
        ("started within 480 s", "98.9 %"),
    ):
        assert any(what in line and value in line for line in shown.stdout.splitlines()), what
    assert "Promise not kept: 98.9 % start within 480 s of their arrival, 99 % should" in shown.stdout
    assert (
        "in 95 % the most instances allowed were at work (what helps: a higher MaxCapacity)" in shown.stdout
    )
    assert "booted" not in shown.stdout, "a minor cause"


def test_messages_that_never_started_are_not_reported_as_started(canned_summaries: list[Summary]) -> None:
    waits = Waits(promise_s=480, attainment=0.0, p50_s=9960, p99_s=9960)
    canned_summaries.append(
        summary(sent=24, processed=0, left=24, waits=waits, late_by_cause={Cause.NONE_RUNNING: 1.0})
    )
    shown = CliRunner().invoke(main, ["demo"])
    assert shown.exit_code == 1
    assert "half start within" not in shown.stdout
    assert "those that never started until the end" in " ".join(shown.stdout.split())


def test_json_has_the_reason_of_status_1_and_of_late_messages(canned_summaries: list[Summary]) -> None:
    canned_summaries += [summary(left=3, processed=81, final_desired=2), summary(late_by_cause={})]
    shown = CliRunner().invoke(main, ["demo", "--json"])
    assert shown.exit_code == 1
    undone, done = json.loads(shown.stdout.splitlines()[-1])["workloads"]
    assert undone["ok"] is False
    assert undone["not_done"] == "81 of 84 processed, 3 left, 2 desired (minimum 0)"
    assert (done["ok"], done["not_done"]) == (True, None)
    assert undone["why_late"].startswith("Of the time that late messages waited, in 95 % the most instances")
    assert (done["promise_s"], done["promise_kept"], done["attainment"]) == (480, False, 0.98999)
    assert (done["wait_p50_s"], done["wait_p99_s"], done["instance_hours"]) == (60, 510, 2.13)


def test_a_report_that_cannot_be_written_is_an_error_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run_scenarios(*_: object, **__: object) -> None:
        raise AssertionError("a scenario ran")

    monkeypatch.setattr(demo, "run_scenarios", run_scenarios)
    (tmp_path / "a-file").touch()
    refused = CliRunner().invoke(main, ["demo", "--report", str(tmp_path / "a-file" / "report")])
    assert refused.exit_code == 2
    assert "a-file is not a folder" in refused.output
