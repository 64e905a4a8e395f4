"""AWS starts no instance: the tick that sees it says so in AWS's words, and the age alarm rings."""

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


def refuse_group(aws: EmbeddedAws, words: str | None) -> None:
    aws.groups.fail_launches("transcription", words)


def refuse_service(aws: EmbeddedAws, words: str | None) -> None:
    aws.services.fail_launches("service/workers/queue-proc", words)


CASES = pytest.mark.parametrize(
    ("scenario", "refuse", "words"),
    [(GROUP, refuse_group, SPOT), (SERVICE, refuse_service, FARGATE)],
    ids=["group", "service"],
)
Refuse = Callable[[EmbeddedAws, str | None], None]


def told(played: Recording) -> dict[int, str]:
    """Minute -> what was said of launches."""
    return {
        minute: re.sub(r"at 2026-01-15 12:\d\d UTC: ", "", record["message"])
        for minute, record in played.decisions("launch", "held")
    }


@CASES
def test_the_tick_that_sees_it_tells_why_in_the_words_of_aws_until_one_starts(
    scenario: Scenario, refuse: Refuse, words: str
) -> None:
    def without_capacity_for_half_an_hour(aws: EmbeddedAws) -> None:
        refuse(aws, words)
        aws.clock.at(aws.clock.now + 34 * 60 + MAX_LATENESS_S, lambda: refuse(aws, None))

    played = run_scenario(
        scenario=scenario, parameters=WITH_NOTIFICATIONS, before=without_capacity_for_half_an_hour
    )
    ((woken, _),) = played.decisions("bootstrap")
    sentence = f"launch holds: AWS does not start the instances that are asked for ({words})"
    # The tick that wakes the fleet has looked before; every later one sees the failure. That of minute 35 may
    # come before AWS has tried once more.
    said = told(played)
    assert {minute: words for minute, words in said.items() if minute < 35} == dict.fromkeys(
        range(woken + 1, 35), sentence
    )
    assert max(said) <= 35
    assert played.summary.processed == 3
    [rang] = played.notified(f"sluice-{scenario.name}-age")
    assert rang < 34


@CASES
def test_a_fleet_that_boots_as_it_should_is_not_told(scenario: Scenario, refuse: Refuse, words: str) -> None:
    played = run_scenario(scenario=scenario, parameters=WITH_NOTIFICATIONS)
    assert played.summary.ok
    assert told(played) == {}
