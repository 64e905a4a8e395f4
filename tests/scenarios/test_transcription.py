"""The deployed handlers, alarms and policy drive a group from zero to its maximum and back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice_sim.aws_rules.scheduler import MAX_LATENESS_S
from sluice_sim.embedded.scenarios import TRANSCRIPTION
from tests.scenarios.conftest import (
    Recording,
    run_scenario,
)

pytestmark = pytest.mark.slow


def test_the_group_goes_from_zero_to_its_maximum_and_back_with_nothing_lost(transcription: Recording) -> None:
    assert transcription.summary.ok
    assert (transcription.summary.sent, transcription.summary.processed, transcription.summary.left) == (
        84,
        84,
        0,
    )
    assert transcription.summary.peak_instances == 5
    assert transcription.minutes[0].desired == 0
    assert transcription.summary.final_desired == 0


def test_a_backlog_starts_the_group_and_an_empty_queue_shuts_it_down(
    transcription: Recording,
) -> None:
    assert transcription.summary.decisions == {"bootstrap": 1, "shutdown": 1}


def test_24_messages_on_one_instance_make_target_tracking_ask_for_three(transcription: Recording) -> None:
    events = [event.text for minute in transcription.minutes for event in minute.events]
    assert any(event.startswith("target tracking 1 -> 3: 24 per instance") for event in events)
    assert any(event.startswith("target tracking 3 -> 5") for event in events)


def test_the_group_is_shut_down_only_after_five_empty_minutes(
    transcription: Recording,
) -> None:
    ((_, record),) = transcription.decisions("shutdown")
    [shut_at] = [line.at for line in transcription.log if line.record is record]
    published = [
        (line.at, line.record["backlog_per_instance"])
        for line in transcription.log
        if line.at < shut_at and "backlog_per_instance" in line.record
    ]
    last_work_at = max(at for at, value in published if value > 0)
    assert len([at for at, _ in published if at > last_work_at]) >= 5
    # The tick that observed work may have had the longest delay.
    assert shut_at - last_work_at >= 5 * 60 - MAX_LATENESS_S
    assert (record["visible"], record["in_flight"], record["delayed"]) == (0, 0, 0)


def test_every_decision_says_why_and_on_which_numbers(transcription: Recording) -> None:
    ((_, record),) = transcription.decisions("bootstrap")
    assert record["message"] == "bootstrap 0 -> 1: work waits and nothing runs"
    assert (record["trigger"], record["visible"], record["desired_now"], record["desired"]) == (
        "tick",
        24,
        0,
        1,
    )


def test_every_minute_has_its_data_point_and_no_function_failed(transcription: Recording) -> None:
    ticks = [line for line in transcription.log if "backlog_per_instance" in line.record]
    assert (
        len(ticks) == len(transcription.minutes) - 1
    )  # the last minute's tick comes after the end of the run
    assert not [line for line in transcription.log if line.record.get("level") == "ERROR"]


def test_the_same_run_gives_the_same_minutes(transcription: Recording) -> None:
    assert run_scenario().minutes == transcription.minutes


def test_a_decision_held_minute_after_minute_is_recorded_once(transcription: Recording) -> None:
    texts = [event.text for minute in transcription.minutes for event in minute.events]
    assert len(transcription.decisions("shutdown", "held")) > 4
    assert len([text for text in texts if "emptiness is not proven" in text]) == 1


def test_an_idle_group_stays_idle(transcription: Recording) -> None:
    idle = run_scenario(scenario=replace(TRANSCRIPTION, bursts={}, quiet_minutes=10, max_minutes=20))
    assert {minute.desired for minute in idle.minutes} == {0}
    assert idle.summary.decisions == {}
    assert idle.summary.ok


def test_production_keeps_its_minimum_of_one_while_empty() -> None:
    parameters = {"MinCapacity": "1", "Name": "prod"}
    recording = run_scenario(parameters=parameters)
    assert recording.summary.ok
    assert recording.summary.final_desired == 1
    assert min(minute.desired for minute in recording.minutes) == 1


def test_a_message_in_flight_keeps_its_instance_even_if_in_flight_is_not_counted() -> None:
    """CountInFlight=false publishes 0 while a long message runs; the live read alone protects it.

    (For up to a quarter of an hour: then AWS's own AlarmLow believes the published zeros.)
    """
    long = replace(
        TRANSCRIPTION, bursts={2: 1}, durations=((0, 600),), visibility_timeout_s=1800, max_minutes=60
    )
    recording = run_scenario(scenario=long, parameters={"CountInFlight": "false"})
    assert recording.summary.ok
    ((_, record),) = recording.decisions("shutdown")
    assert (record["visible"], record["in_flight"]) == (0, 0)
    working = [minute for minute in recording.minutes if minute.in_flight]
    assert len(working) >= 9
    assert {minute.desired for minute in working} == {1}


def test_observe_logs_what_it_would_do_and_changes_nothing() -> None:
    few = replace(TRANSCRIPTION, bursts={2: 3}, max_minutes=8)
    observed = run_scenario(scenario=few, parameters={"Mode": "observe"})
    assert {minute.desired for minute in observed.minutes} == {0}
    assert observed.decisions("bootstrap", "acted") == []
    would = observed.decisions("bootstrap", "observed")
    assert would[0][1]["message"] == "would be bootstrap 0 -> 1: work waits and nothing runs"
    assert {minute.target for minute in observed.minutes} == {None}  # AWS itself acts on a policy


def test_paused_publishes_and_nothing_else() -> None:
    few = replace(TRANSCRIPTION, bursts={2: 3}, max_minutes=8)
    paused = run_scenario(scenario=few, parameters={"Mode": "paused"})
    assert {minute.desired for minute in paused.minutes} == {0}
    assert paused.minutes[-1].backlog_per_instance == 3
    assert paused.decisions("bootstrap", "observed") == []


def test_native_metric_math_scales_the_group_as_well() -> None:
    native = run_scenario(parameters={"MetricSource": "native"})
    assert native.summary.ok
    assert native.summary.peak_instances > 1
