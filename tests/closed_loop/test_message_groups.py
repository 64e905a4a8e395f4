"""A FIFO queue with two message groups keeps two instances busy, however many run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice_sim.embedded.scenarios import COMPILER_STAGING
from tests.closed_loop.conftest import Played, perform

GROUPS = COMPILER_STAGING.message_groups


@pytest.fixture(scope="module")
def staging() -> Played:
    """The scenario as `sluice demo --scenario compiler-aarch64-staging` plays it."""
    return perform(scenario=COMPILER_STAGING)


def test_more_instances_run_than_there_are_groups_to_work_on(staging: Played) -> None:
    assert staging.summary.peak_instances == 4
    assert max(minute.in_flight for minute in staging.minutes) == GROUPS
    assert staging.summary.ok


def test_the_tick_says_so_and_leaves_the_group_as_it_is(staging: Played) -> None:
    told = staging.decisions("cap", "observed")
    message = (
        "would be cap 4 -> 2: more instances run than message groups are in work "
        "(at most 2 in flight for 3 min while messages waited)"
    )
    assert {record["message"] for _, record in told} == {message}
    assert {record["trigger"] for _, record in told} == {"tick"}
    first, last = told[0][0], told[-1][0]
    assert {minute.desired for minute in staging.minutes[first : last + 1]} == {4}
    # AWS's own metrics come late: three minutes with four instances, and two more.
    assert first - staging.first_minute(lambda minute: minute.running == 4) in (3, 4, 5)


def test_four_instances_are_no_faster_than_two(staging: Played) -> None:
    two = perform(scenario=COMPILER_STAGING, parameters={"MaxCapacity": "2"})
    assert two.summary.ok
    assert _done(two) == _done(staging)
    assert two.decisions("cap", "observed") == []


def test_with_a_group_for_each_instance_nothing_is_said() -> None:
    played = perform(scenario=replace(COMPILER_STAGING, message_groups=12))
    assert played.summary.peak_instances == 4
    assert played.decisions("cap", "observed") == []
    assert played.summary.ok


def _done(played: Played) -> int:
    return played.first_minute(lambda row: row.minute > 5 and row.visible + row.in_flight == 0)
