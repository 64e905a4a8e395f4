"""A FIFO queue with two message groups keeps two instances busy, however many run."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import pytest

from sluice.core.fifo import EVERY_MINUTES
from sluice.core.minutes import MINUTE
from sluice_sim.embedded.scenarios import COMPILER_STAGING
from tests.scenarios.conftest import (
    Recording,
    run_scenario,
)

pytestmark = pytest.mark.slow

GROUPS = COMPILER_STAGING.message_groups
UNTIL = re.compile(r" until \d\d:\d\d")


@pytest.fixture(scope="module")
def staging() -> Recording:
    """The scenario as `sluice demo --scenario compiler-aarch64-staging` runs it."""
    return run_scenario(scenario=COMPILER_STAGING)


def test_more_instances_than_message_groups_run(staging: Recording) -> None:
    assert staging.summary.peak_instances == 4
    assert max(minute.in_flight for minute in staging.minutes) == GROUPS
    assert staging.summary.ok


def test_the_tick_logs_it_and_leaves_the_group_unchanged(staging: Recording) -> None:
    logged = staging.decisions("cap", "observed")
    message = (
        "would be cap 4 -> 2: more instances run than message groups are in flight "
        "(at most 2 in flight for the 3 min while messages waited)"
    )
    assert logged
    assert {UNTIL.sub("", record["message"]) for _, record in logged} == {message}
    assert {record["trigger"] for _, record in logged} == {"tick"}
    first, last = logged[0][0], logged[-1][0]
    assert {minute.desired for minute in staging.minutes[first : last + 1]} == {4}
    # AWS's own metrics come late: three minutes with four instances, two more, and four until it is looked.
    assert 3 <= first - staging.first_minute(lambda minute: minute.running == 4) <= 9


@pytest.fixture(scope="module")
def one_group() -> Recording:
    """The commonest case: two instances, and a sender that uses a single message group."""
    return run_scenario(scenario=replace(COMPILER_STAGING, message_groups=1), parameters={"MaxCapacity": "2"})


def test_two_instances_over_one_group_are_logged(one_group: Recording) -> None:
    logged = one_group.decisions("cap", "observed")
    assert one_group.summary.peak_instances == 2
    assert max(minute.in_flight for minute in one_group.minutes) == 1
    assert {record["desired"] for _, record in logged} == {1}
    assert {(record["running"], record["desired_now"]) for _, record in logged} == {(2, 2)}
    assert one_group.summary.ok


def test_it_is_logged_every_five_minutes_for_the_minutes_before(one_group: Recording) -> None:
    logged = one_group.decisions("cap", "observed")
    minutes = [minute for minute, _ in logged]
    assert len(minutes) > 2
    assert {later - earlier for earlier, later in pairwise(minutes)} == {EVERY_MINUTES}
    for _, record in logged:
        [until] = UNTIL.findall(record["message"])
        logged_at = datetime.fromisoformat(record["timestamp"].replace(",", "."))
        assert until == f" until {logged_at - MINUTE:%H:%M}"


def test_four_instances_are_not_faster_than_two(staging: Recording) -> None:
    two = run_scenario(scenario=COMPILER_STAGING, parameters={"MaxCapacity": "2"})
    assert two.summary.ok
    assert _done(two) == _done(staging)
    assert two.decisions("cap", "observed") == []


def test_with_a_group_for_each_instance_nothing_is_logged() -> None:
    recording = run_scenario(scenario=replace(COMPILER_STAGING, message_groups=12))
    assert recording.summary.peak_instances == 4
    assert recording.decisions("cap", "observed") == []
    assert recording.summary.ok


def _done(recording: Recording) -> int:
    return recording.first_minute(lambda row: row.minute > 5 and row.visible + row.in_flight == 0)
