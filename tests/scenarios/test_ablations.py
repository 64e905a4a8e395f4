"""Switches off a component and checks which other one takes over: each decision names its trigger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from sluice_cli.main import main
from sluice_sim.aws_rules.metric_math import MissingOperand
from sluice_sim.embedded.cloud import EmbeddedAws
from sluice_sim.embedded.scenarios import TRANSCRIPTION
from sluice_sim.embedded.timeline import Component
from tests.scenarios.conftest import (
    Recording,
    run_scenario,
)

pytestmark = pytest.mark.slow

SHUTDOWN = "IF(visible > 0 OR FILL(in_flight, 0) > 0 OR FILL(delayed, 0) > 0, 1, visible)"
FIRST_ARRIVAL = min(TRANSCRIPTION.bursts)
BRIEF = replace(TRANSCRIPTION, bursts={4: 3}, max_minutes=20)


def test_without_the_bootstrap_alarm_the_tick_starts_the_group_within_two_ticks() -> None:
    recording = run_scenario(without=(Component.BOOTSTRAP_ALARM,))
    ((minute, record),) = recording.decisions("bootstrap")
    assert record["trigger"] == "tick"
    assert minute - FIRST_ARRIVAL <= 2
    assert recording.summary.ok


def test_without_the_publisher_the_alarm_starts_the_group_and_the_work_is_done() -> None:
    recording = run_scenario(without=(Component.PUBLISHER,))
    ((_, record),) = recording.decisions("bootstrap")
    assert record["trigger"] == "alarm"
    assert recording.summary.processed == recording.summary.sent
    assert recording.decisions("shutdown") == []  # nothing published proves nothing


def test_without_both_nothing_is_processed_and_the_demo_ends_with_1() -> None:
    result = CliRunner().invoke(
        main,
        [
            "demo",
            "--json",
            "--scenario",
            "transcription",
            "--without",
            "publisher",
            "--without",
            "bootstrap-alarm",
        ],
    )
    assert result.exit_code == 1
    assert '"processed": 0' in result.stdout


def test_without_the_shutdown_alarm_the_tick_shuts_the_group_down_before_the_low_alarm_could() -> None:
    recording = run_scenario(without=(Component.SHUTDOWN_ALARM,))
    ((minute, record),) = recording.decisions("shutdown")
    assert record["trigger"] == "tick"
    # AlarmLow needs 15 minutes below 0.7 x 8 per instance.
    low_since = recording.first_minute(lambda row: row.minute > 20 and (row.backlog_per_instance or 0) < 5.6)
    assert minute - low_since < 15
    assert recording.summary.ok


@pytest.mark.parametrize("every_count", [False, True], ids=["as documented", "zeros reported"])
@pytest.mark.parametrize("gap", [0.0, None], ids=["missing is 0", "missing is dropped"])
def test_without_retries_the_alarm_shuts_the_group_down(
    monkeypatch: pytest.MonkeyPatch, gap: float | None, every_count: bool
) -> None:
    """Whether or not SQS reports that nothing is in flight or delayed, and whatever a sum makes of a gap."""
    monkeypatch.setattr("sluice.usecases.serve_workloads.retry_missed_alarms", lambda *_: None)

    def aws_as(aws: EmbeddedAws) -> None:
        aws.reports_zero_counts = every_count
        aws.monitoring.missing = MissingOperand(arithmetic=gap)

    recording = run_scenario(before=aws_as)
    ((_, bootstrap),), ((_, shutdown),) = recording.decisions("bootstrap"), recording.decisions("shutdown")
    assert (bootstrap["trigger"], shutdown["trigger"]) == ("alarm", "alarm")
    assert recording.summary.ok


def test_a_sum_of_metrics_that_may_be_missing_never_shuts_the_group_down(
    monkeypatch: pytest.MonkeyPatch, checkout_with: Callable[[str, str, str], Path]
) -> None:
    """The former expression: a missing operand drops the point."""
    monkeypatch.setattr("sluice.usecases.serve_workloads.retry_missed_alarms", lambda *_: None)

    def aws_as(aws: EmbeddedAws) -> None:
        aws.monitoring.missing = MissingOperand(arithmetic=None)

    root = checkout_with("workload.yaml", SHUTDOWN, "visible + in_flight + delayed")
    assert run_scenario(root, before=aws_as, scenario=BRIEF).decisions("shutdown") == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (
            "workload.yaml",
            "IF(visible > 0 AND desired == 0, 1, 0)",
            "IF(visible > 1000 AND desired == 0, 1, 0)",
        ),
        ("template.yaml", "alarm:sluice-*", "alarm:other-*"),
        ("workload.yaml", '"Sluice workload ${Name}: messages wait', '"Workload ${Name}: messages wait'),
    ],
    ids=["wrong expression", "no permission", "nameless description"],
)
def test_a_template_with_a_mistake_leaves_the_group_at_zero(
    checkout_with: Callable[[str, str, str], Path], file: str, old: str, new: str
) -> None:
    """The run uses what is deployed: without the publisher, only the alarm can start the group."""
    recording = run_scenario(checkout_with(file, old, new), scenario=BRIEF, without=(Component.PUBLISHER,))
    assert recording.summary.processed == 0


def test_without_a_mistake_the_same_run_is_processed() -> None:
    assert run_scenario(scenario=BRIEF, without=(Component.PUBLISHER,)).summary.processed == 3


def test_a_group_with_suspended_launches_is_held_with_a_reason() -> None:
    def suspend(aws: EmbeddedAws) -> None:
        aws.autoscaling.suspend_processes(AutoScalingGroupName="transcription", ScalingProcesses=["Launch"])

    recording: Recording = run_scenario(scenario=BRIEF, before=suspend, without=(Component.PUBLISHER,))
    assert recording.decisions("bootstrap") == []
    (_, record) = recording.decisions("bootstrap", "held")[0]
    assert record["message"].endswith("(Launch is suspended)")
