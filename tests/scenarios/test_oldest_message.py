"""A fleet that is awake and processes nothing rings the alarm on the age of the oldest message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from sluice_sim.aws_rules.alarms import State
from sluice_sim.embedded.cloud import EmbeddedAws
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION
from sluice_sim.embedded.timeline import Scenario
from sluice_sim.embedded.workers import Assignment
from tests.scenarios.conftest import (
    WITH_NOTIFICATIONS,
    Recording,
    run_scenario,
)

pytestmark = pytest.mark.slow

ARRIVAL = 4
NATIVE_DELAY_MINUTES = 2  # a minute's metrics are read in the minute after the next


class NoRoute:
    """An instance that is up and reaches no queue."""

    alive = True

    def drain(self, when_drained: Callable[[], None]) -> None:
        when_drained()


@dataclass
class UnreachableWorkers:
    """A fleet in subnets without a route to SQS."""

    aws: EmbeddedAws
    assignment: Assignment

    def start(self) -> NoRoute:
        return NoRoute()

    def stop(self) -> None:
        """They end with the clock."""


def nothing_processed(scenario: Scenario, **parameters: str) -> Recording:
    return run_scenario(
        scenario=scenario, parameters=WITH_NOTIFICATIONS | parameters, worker_factory=UnreachableWorkers
    )


def test_an_awake_group_that_processes_nothing_rings_after_a_quarter_of_an_hour() -> None:
    played = nothing_processed(replace(TRANSCRIPTION, bursts={ARRIVAL: 60}, max_minutes=30))
    assert played.summary.processed == 0
    assert played.summary.peak_instances == 5  # target tracking goes to the maximum
    [minute] = played.notified("sluice-transcription-age")
    # Older than 15 minutes in three minutes in a row.
    assert minute - ARRIVAL in range(15 + 3, 15 + 3 + NATIVE_DELAY_MINUTES + 1)
    assert {note.alarm for note in played.notifications} == {"sluice-transcription-age"}  # nothing else tells


def test_the_topic_hears_when_the_message_is_gone() -> None:
    def purge_later(aws: EmbeddedAws) -> None:
        url = aws.sqs.get_queue_url(QueueName="transcription")["QueueUrl"]
        aws.clock.at(aws.clock.now + 25 * 60, lambda: aws.sqs.purge_queue(QueueUrl=url))

    brief = replace(TRANSCRIPTION, bursts={ARRIVAL: 1}, max_minutes=30)
    played = run_scenario(
        scenario=brief, parameters=WITH_NOTIFICATIONS, worker_factory=UnreachableWorkers, before=purge_later
    )
    [rang] = played.notified("sluice-transcription-age")
    # A new alarm's first OK is told as well.
    first, over = played.notified("sluice-transcription-age", State.OK)
    assert first < rang < 25 <= over


def test_a_promise_is_waited_for_three_times() -> None:
    brief = replace(QUEUE_PROC, steady=None, bursts={ARRIVAL: 5}, max_minutes=45)
    played = nothing_processed(brief, AcceptableLatencySeconds="600")
    [minute] = played.notified("sluice-queue-proc-age")
    assert minute - ARRIVAL in range(30 + 3, 30 + 3 + NATIVE_DELAY_MINUTES + 1)


def test_an_age_that_is_given_rings_when_it_is_exceeded() -> None:
    brief = replace(TRANSCRIPTION, bursts={ARRIVAL: 1}, max_minutes=20)
    played = nothing_processed(brief, OldestMessageAgeSeconds="300")
    [minute] = played.notified("sluice-transcription-age")
    assert minute - ARRIVAL in range(5 + 3, 5 + 3 + NATIVE_DELAY_MINUTES + 1)


def test_a_run_in_which_all_is_processed_rings_nothing() -> None:
    played = run_scenario(scenario=TRANSCRIPTION, parameters=WITH_NOTIFICATIONS)
    assert played.summary.ok
    assert played.notified("sluice-transcription-age") == []
