"""What makes each alarm ring that is off by default; on a healthy day none of them does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sluice_sim.aws_rules.alarms import State
from sluice_sim.embedded.cloud import EmbeddedAws
from sluice_sim.embedded.scenarios import PHOTO_IMPORT, QUEUE_PROC, TRANSCRIPTION
from sluice_sim.embedded.timeline import Scenario
from sluice_sim.embedded.workers import SimulatedWorkers, WorkerFactory
from tests.scenarios.conftest import WITH_NOTIFICATIONS, UnreachableWorkers, run_scenario
from tests.templates.test_optional_alarms import GIVEN, SWITCHES

pytestmark = pytest.mark.slow

ARRIVAL = 4
BURST = replace(TRANSCRIPTION, bursts={ARRIVAL: 40}, max_minutes=32)
SERVICE = replace(QUEUE_PROC, steady=None, bursts={ARRIVAL: 200}, max_minutes=32)
EVERY = dict.fromkeys(SWITCHES, "true") | {
    "ProcessingTimeAlarmSeconds": "200",
    "DeadLetterQueueName": "dead-transcription",
}
OPTIONAL = set().union(*SWITCHES.values(), *(names for _, names in GIVEN.values()))


def rung(
    scenario: Scenario,
    workers: WorkerFactory = SimulatedWorkers,
    before: Callable[[EmbeddedAws], object] = lambda _: None,
    **parameters: str,
) -> dict[str, int]:
    """The minute in which each of these alarms first notified of ALARM."""
    recording = run_scenario(
        scenario=scenario,
        parameters=WITH_NOTIFICATIONS | EVERY | parameters,
        worker_factory=workers,
        before=before,
    )
    prefix = f"sluice-{scenario.environment or scenario.name}-"
    notes = [note for note in recording.notifications if note.state is State.ALARM]
    found: dict[str, int] = {}
    for note in notes:
        found.setdefault(note.alarm.removeprefix(prefix), int(note.at - recording.start) // 60)
    return {name: minute for name, minute in found.items() if name in OPTIONAL}


def test_a_day_on_which_every_message_is_processed_in_time_rings_none() -> None:
    calm = replace(TRANSCRIPTION, bursts={ARRIVAL: 3})
    assert rung(calm, AcceptableLatencySeconds="600", MessagesPerInstance="8") == {}


def test_a_burst_above_both_depths_warns_and_is_critical() -> None:
    found = rung(BURST, UnreachableWorkers, WarningDepthMessages="20", CriticalDepthMessages="39")
    assert found.keys() >= {"depth-warning", "depth-critical"}
    found = rung(BURST, UnreachableWorkers, WarningDepthMessages="20", CriticalDepthMessages="40")
    assert "depth-warning" in found
    assert "depth-critical" not in found


@pytest.mark.parametrize("scenario", [BURST, SERVICE], ids=["group", "service"])
def test_workers_that_reach_no_queue_age_the_messages_until_the_fleet_is_at_its_maximum(
    scenario: Scenario,
) -> None:
    found = rung(scenario, UnreachableWorkers, CriticalAgeSeconds="900")
    assert found["age-warning"] - ARRIVAL in range(5 + 3, 5 + 3 + 3)
    assert found["age-critical"] - ARRIVAL in range(15 + 3, 15 + 3 + 3)
    assert found["at-maximum"] >= ARRIVAL + 15


def test_messages_that_take_longer_than_the_threshold_ring() -> None:
    assert "processing-time" in rung(BURST, ProcessingTimeAlarmSeconds="59")
    assert "processing-time" not in rung(BURST, ProcessingTimeAlarmSeconds="61")


def test_a_message_in_the_dead_letter_queue_rings() -> None:
    def bury_one(aws: EmbeddedAws) -> None:
        url = aws.sqs.get_queue_url(QueueName="dead-transcription")["QueueUrl"]
        aws.clock.at(
            aws.clock.now + 10 * 60, lambda: aws.sqs.send_message(QueueUrl=url, MessageBody="broken")
        )

    found = rung(replace(TRANSCRIPTION, bursts={ARRIVAL: 3}), before=bury_one)
    assert found["dead-letters"] in range(11, 14)


@pytest.mark.parametrize(
    ("scenario", "fail"),
    [
        (BURST, lambda aws: aws.groups.fail_launches("transcription", "No capacity.")),
        (SERVICE, lambda aws: aws.services.fail_launches("service/workers/queue-proc", "No capacity.")),
    ],
    ids=["group", "service"],
)
def test_launches_that_fail_ring_after_twenty_minutes(
    scenario: Scenario, fail: Callable[[EmbeddedAws], None]
) -> None:
    assert rung(scenario, before=fail)["missing-instances"] - ARRIVAL in range(20, 25)


def test_an_hour_in_which_too_few_messages_are_deleted_rings() -> None:
    flow = replace(TRANSCRIPTION, bursts=dict.fromkeys(range(ARRIVAL, 72, 4), 1), max_minutes=72)
    assert rung(flow, UnreachableWorkers)["throughput"] in range(60, 70)


def test_a_boot_longer_than_the_promise_misses_it() -> None:
    parameters = PHOTO_IMPORT.parameters | {"TickSeconds": "60"}
    burst = replace(
        PHOTO_IMPORT, bursts={ARRIVAL: 6}, max_minutes=44, quiet_minutes=44, parameters=parameters
    )
    # The run begins twenty minutes past the hour.
    assert rung(burst, AcceptableLatencySeconds="150")["promise"] in range(40, 44)
    assert "promise" not in rung(burst, AcceptableLatencySeconds="600")
