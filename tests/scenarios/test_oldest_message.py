"""A running fleet that processes nothing raises the alarm on the age of the oldest message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice_sim.aws_rules.alarms import State
from sluice_sim.embedded.cloud import EmbeddedAws
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION
from sluice_sim.embedded.timeline import Scenario
from tests.scenarios.conftest import (
    WITH_NOTIFICATIONS,
    Recording,
    UnreachableWorkers,
    run_scenario,
)

pytestmark = pytest.mark.slow

ARRIVAL = 4
NATIVE_DELAY_MINUTES = 2  # a minute's metrics are read in the minute after the next


def nothing_processed(scenario: Scenario, **parameters: str) -> Recording:
    return run_scenario(
        scenario=scenario, parameters=WITH_NOTIFICATIONS | parameters, worker_factory=UnreachableWorkers
    )


def test_a_running_group_that_processes_nothing_raises_the_alarm() -> None:
    recording = nothing_processed(replace(TRANSCRIPTION, bursts={ARRIVAL: 60}, max_minutes=30))
    assert recording.summary.processed == 0
    assert recording.summary.peak_instances == 5  # target tracking goes to the maximum
    [minute] = recording.notified("sluice-transcription-age")
    # Older than 15 minutes in three minutes in a row.
    assert minute - ARRIVAL in range(15 + 3, 15 + 3 + NATIVE_DELAY_MINUTES + 1)
    assert {note.alarm for note in recording.notifications} == {
        "sluice-transcription-age"
    }  # no other alarm reports it


def test_the_topic_is_notified_when_the_message_is_gone() -> None:
    def purge_later(aws: EmbeddedAws) -> None:
        url = aws.sqs.get_queue_url(QueueName="transcription")["QueueUrl"]
        aws.clock.at(aws.clock.now + 25 * 60, lambda: aws.sqs.purge_queue(QueueUrl=url))

    brief = replace(TRANSCRIPTION, bursts={ARRIVAL: 1}, max_minutes=30)
    recording = run_scenario(
        scenario=brief, parameters=WITH_NOTIFICATIONS, worker_factory=UnreachableWorkers, before=purge_later
    )
    [alarm_minute] = recording.notified("sluice-transcription-age")
    # A new alarm's first OK is notified too.
    first, over = recording.notified("sluice-transcription-age", State.OK)
    assert first < alarm_minute < 25 <= over


def test_the_alarm_waits_for_three_times_the_promise() -> None:
    brief = replace(QUEUE_PROC, steady=None, bursts={ARRIVAL: 5}, max_minutes=45)
    recording = nothing_processed(brief, AcceptableLatencySeconds="600")
    [minute] = recording.notified("sluice-queue-proc-age")
    assert minute - ARRIVAL in range(30 + 3, 30 + 3 + NATIVE_DELAY_MINUTES + 1)


def test_a_configured_age_raises_the_alarm_when_it_is_exceeded() -> None:
    brief = replace(TRANSCRIPTION, bursts={ARRIVAL: 1}, max_minutes=20)
    recording = nothing_processed(brief, OldestMessageAgeSeconds="300")
    [minute] = recording.notified("sluice-transcription-age")
    assert minute - ARRIVAL in range(5 + 3, 5 + 3 + NATIVE_DELAY_MINUTES + 1)


def test_a_run_in_which_everything_is_processed_raises_no_alarm() -> None:
    recording = run_scenario(scenario=TRANSCRIPTION, parameters=WITH_NOTIFICATIONS)
    assert recording.summary.ok
    assert recording.notified("sluice-transcription-age") == []
