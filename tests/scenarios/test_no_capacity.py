"""AWS starts no instance: the tick logs AWS's message, and the age alarm is raised."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from sluice_sim.aws_rules.scheduler import MAX_LATENESS_S
from sluice_sim.embedded.cloud import EmbeddedAws
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION
from sluice_sim.embedded.timeline import Scenario
from tests.scenarios.conftest import (
    WITH_NOTIFICATIONS,
    Recording,
    run_scenario,
)

pytestmark = pytest.mark.slow

SPOT = (
    "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to your "
    "request configuration. Please adjust your request and try again. Launching EC2 instance failed."
)
FARGATE = (
    "(service queue-proc) was unable to place a task. Reason: Capacity is unavailable at this time. Please "
    "try again later or in a different availability zone."
)
ARRIVAL = 4
GROUP = replace(TRANSCRIPTION, bursts={ARRIVAL: 3}, max_minutes=45)
SERVICE = replace(QUEUE_PROC, steady=None, bursts={ARRIVAL: 3}, max_minutes=45)


def fail_group_launches(aws: EmbeddedAws, message: str | None) -> None:
    aws.groups.fail_launches("transcription", message)


def fail_service_launches(aws: EmbeddedAws, message: str | None) -> None:
    aws.services.fail_launches("service/workers/queue-proc", message)


CASES = pytest.mark.parametrize(
    ("scenario", "fail_launches", "message"),
    [(GROUP, fail_group_launches, SPOT), (SERVICE, fail_service_launches, FARGATE)],
    ids=["group", "service"],
)
FailLaunches = Callable[[EmbeddedAws, str | None], None]


def launch_failures(recording: Recording) -> dict[int, str]:
    """Minute -> the logged launch failures."""
    return {
        minute: re.sub(r"at 2026-01-15 12:\d\d UTC: ", "", record["message"])
        for minute, record in recording.decisions("launch", "held")
    }


@CASES
def test_the_tick_logs_the_message_of_aws_until_an_instance_starts(
    scenario: Scenario, fail_launches: FailLaunches, message: str
) -> None:
    def without_capacity_for_half_an_hour(aws: EmbeddedAws) -> None:
        fail_launches(aws, message)
        aws.clock.at(aws.clock.now + 34 * 60 + MAX_LATENESS_S, lambda: fail_launches(aws, None))

    recording = run_scenario(
        scenario=scenario, parameters=WITH_NOTIFICATIONS, before=without_capacity_for_half_an_hour
    )
    ((bootstrapped, _),) = recording.decisions("bootstrap")
    sentence = f"launch holds: AWS does not start the instances that are asked for ({message})"
    # The tick that wakes the fleet has looked before; every later one sees the failure. That of minute 35 may
    # come before AWS has tried once more.
    logged = launch_failures(recording)
    assert {minute: message for minute, message in logged.items() if minute < 35} == dict.fromkeys(
        range(bootstrapped + 1, 35), sentence
    )
    assert max(logged) <= 35
    assert recording.summary.processed == 3
    [alarm_minute] = recording.notified(f"sluice-{scenario.name}-age")
    assert alarm_minute < 34


@CASES
def test_a_booting_fleet_is_not_reported(
    scenario: Scenario, fail_launches: FailLaunches, message: str
) -> None:
    recording = run_scenario(scenario=scenario, parameters=WITH_NOTIFICATIONS)
    assert recording.summary.ok
    assert launch_failures(recording) == {}
