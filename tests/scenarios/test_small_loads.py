"""Small loads, which show one message or one instance too many or too few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sluice_sim.aws_rules.alarm_states import AlarmChange
from sluice_sim.aws_rules.alarms import State
from sluice_sim.aws_rules.scheduler import MAX_LATENESS_S
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import CONTROL_PLANE, Demo
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION
from sluice_sim.embedded.timeline import (
    Component,
    Scenario,
    SteadyArrivals,
)
from tests.scenarios.conftest import (
    ROOT,
    Recording,
    run_scenario,
)

pytestmark = pytest.mark.slow

ONE = replace(TRANSCRIPTION, bursts={2: 1}, max_minutes=25)
ONE_FOR_A_SERVICE = replace(QUEUE_PROC, bursts={2: 1}, steady=None, durations=((0, 2),), max_minutes=20)
SLOW = replace(
    TRANSCRIPTION, bursts={2: 24}, durations=((0, 900),), visibility_timeout_s=1800, max_minutes=20
)
TRICKLE = replace(
    TRANSCRIPTION, bursts={2: 20}, steady=SteadyArrivals(first=9, last=40, per_minute=1), max_minutes=32
)


def test_what_is_published_is_the_backlog_per_running_instance(transcription: Recording) -> None:
    records = [line.record for line in transcription.log if "backlog_per_instance" in line.record]
    for record in records:
        counted = record["visible"] + record["in_flight"]
        assert record["backlog_per_instance"] == pytest.approx(counted / max(record["running"], 1))
    assert any(record["running"] > 1 and record["backlog_per_instance"] > 0 for record in records)
    assert any(record["running"] == 0 and record["backlog_per_instance"] > 0 for record in records)


def test_24_slow_messages_settle_at_three_of_five_instances() -> None:
    recording = run_scenario(scenario=SLOW)
    assert max(minute.desired for minute in recording.minutes) == 3
    assert {minute.running for minute in recording.minutes[-8:]} == {3}


@pytest.mark.parametrize("scenario", [ONE, ONE_FOR_A_SERVICE], ids=["group", "service"])
def test_one_message_is_processed_and_the_fleet_shuts_down(scenario: Scenario) -> None:
    recording = run_scenario(scenario=scenario)
    assert recording.summary.ok
    assert (recording.summary.processed, recording.summary.peak_instances) == (1, 1)
    assert recording.summary.decisions == {"bootstrap": 1, "shutdown": 1}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("schedule", ["cron(* * * * ? *)", "rate(1 minute)"])
def test_the_tick_alone_shuts_a_fleet_down_whatever_the_phase_and_lateness_of_its_schedule(
    checkout_with: Callable[[str, str, str], Path], schedule: str, seed: int
) -> None:
    root = checkout_with("template.yaml", "cron(* * * * ? *)", schedule)
    with embedded_aws(root, seed=seed) as aws:
        aws.clock.run_until(aws.clock.now + 40)  # the second at which a rate begins to count
        demo = Demo(aws, root)
        demo.add_workload(ONE)
        demo.disable(Component.SHUTDOWN_ALARM)
        [timeline] = demo.run()
        ticks = [line for line in aws.log if "backlog_per_instance" in line.record]
    assert timeline.summary.ok
    last_work_at = max(line.at for line in ticks if line.record["backlog_per_instance"] > 0)
    first_rest_at = min(
        line.at for line in ticks if line.at > last_work_at and line.record["desired_now"] == 0
    )
    # Five idle minutes, the one whose live read ends them, one that came too soon to read the last point.
    assert first_rest_at - last_work_at <= 8 * 60 + MAX_LATENESS_S


@pytest.mark.parametrize("scenario", [ONE, ONE_FOR_A_SERVICE], ids=["group", "service"])
def test_the_alarm_alone_starts_a_fleet_for_one_message(scenario: Scenario) -> None:
    recording = run_scenario(scenario=replace(scenario, max_minutes=11), without=(Component.PUBLISHER,))
    ((_, record),) = recording.decisions("bootstrap")
    assert (record["trigger"], record["visible"]) == ("alarm", 1)
    assert recording.summary.processed == 1


def test_an_alarm_that_waits_for_a_second_message_leaves_the_first_alone(
    checkout_with: Callable[[str, str, str], Path],
) -> None:
    root = checkout_with("workload.yaml", "IF(visible > 0 ", "IF(visible > 1 ")
    recording = run_scenario(root, scenario=replace(ONE, max_minutes=11), without=(Component.PUBLISHER,))
    assert recording.summary.processed == 0


def test_a_small_steady_load_makes_target_tracking_let_instances_go_after_a_quarter_of_an_hour() -> None:
    recording = run_scenario(scenario=TRICKLE)
    assert recording.decisions("shutdown") == []
    ((scaled_at, text),) = [
        (minute.minute, event.text)
        for minute in recording.minutes
        for event in minute.events
        if event.text.startswith("target tracking 3 ->")
    ]
    # One message of a minute each minute keeps one busy, and 0.3 stand by.
    assert text.startswith("target tracking 3 -> 2: ")
    # AlarmLow: 15 minutes below 0.7 x 8 per instance.
    low_since = recording.first_minute(
        lambda row: row.running == 3 and (row.effective_backlog_per_instance or 0) < 0.7 * 8
    )
    assert 15 <= scaled_at - low_since <= 17
    assert {minute.desired for minute in recording.minutes[scaled_at - 1 :]} == {2}


def test_observe_leaves_a_running_and_empty_group_as_it_is() -> None:
    def wake(aws: EmbeddedAws) -> None:
        aws.autoscaling.set_desired_capacity(AutoScalingGroupName="transcription", DesiredCapacity=2)

    idle = replace(TRANSCRIPTION, bursts={}, max_minutes=12)
    recording = run_scenario(scenario=idle, parameters={"Mode": "observe"}, before=wake)
    assert {minute.desired for minute in recording.minutes} == {2}
    assert recording.decisions("shutdown", "acted") == []
    assert {record["trigger"] for _, record in recording.decisions("shutdown", "observed")} == {
        "alarm",
        "tick",
    }
    assert recording.decisions("shutdown", "observed")[0][1]["desired"] == 0


def test_the_silence_alarm_notifies_once_five_minutes_are_missing_and_never_for_a_new_workload() -> None:
    topic = "arn:aws:sns:eu-west-1:123456789012:oncall"
    stops_at = 11 * 60 - 0.5  # after the tenth minute's tick, however late it is
    with embedded_aws(ROOT) as aws:
        start, states, notifications = aws.clock.now, {}, []
        pass_on = aws.monitoring._on_action

        def on_action(action: str, change: AlarmChange) -> None:
            if action == topic:
                notifications.append((aws.clock.now - start, change.alarm.name, change.state.value))
            else:
                pass_on(action, change)

        def record_state() -> None:
            minute = int(aws.clock.now - start) // 60
            states[minute] = aws.monitoring._alarms["sluice-transcription-silent"].state

        def stop() -> None:
            aws.functions.named(f"{CONTROL_PLANE}-PublishBacklogFunction").enabled = False

        aws.monitoring._on_action = on_action
        demo = Demo(aws, ROOT)
        demo.add_workload(
            replace(TRANSCRIPTION, bursts={}, quiet_minutes=99, max_minutes=20),
            {"NotificationTopicArn": topic},
        )
        aws.clock.every(60, record_state, first=start + 45)  # after the minute's evaluation
        aws.clock.at(start + stops_at, stop)
        demo.run()
    assert (states[0], states[1]) == (State.INSUFFICIENT_DATA, State.INSUFFICIENT_DATA)
    assert {states[minute] for minute in range(2, 16)} == {State.OK}
    assert {states[minute] for minute in range(16, 20)} == {State.INSUFFICIENT_DATA}
    # The 11th to the 15th minute have no data point; the evaluation in the 16th sees that.
    of_silence = [note for note in notifications if note[1] == "sluice-transcription-silent"]
    assert of_silence == [(16 * 60 + 30, "sluice-transcription-silent", "INSUFFICIENT_DATA")]
