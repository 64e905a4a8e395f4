"""A surge in the closed loop: of a group and a service with target tracking, and of the deadline engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest

from sluice.core.model import AutoScalingGroup, EcsService
from sluice.errors import ConfigError
from sluice_operator import surges
from sluice_operator.account import Account, open_account
from sluice_operator.session import AwsSession
from sluice_operator.surges import Size
from sluice_sim.embedded.cloud import embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import TRANSCRIPTION
from tests.scenarios.conftest import ROOT
from tests.scenarios.test_pause import KINDS, Played

pytestmark = pytest.mark.slow

HOUR, TEN_MINUTES = timedelta(hours=1), timedelta(minutes=10)


@pytest.fixture(params=KINDS)
def played(request: pytest.FixtureRequest) -> Iterator[Played]:
    with embedded_aws(ROOT) as aws:
        demo, scenario = Demo(aws, ROOT), KINDS[request.param]
        demo.add_workload(replace(scenario, bursts={}, steady=None))
        yield Played(demo, scenario, demo.minutes())


def account() -> Account:
    return open_account(AwsSession(), "sluice")


def surge(played: Played, hold: timedelta = HOUR, **size: Any) -> Any:
    return surges.surge(account(), played.scenario.name, Size(**size), hold, lambda: 60.0)


def fleet(played: Played) -> AutoScalingGroup | EcsService:
    registry = account().ports.registry
    return registry.one(played.scenario.name, lambda: 60.0).fleet


def bounds(played: Played) -> tuple[int, int]:
    """Minimum and maximum of the group or the scalable target."""
    capacity = account().ports.fleets.read([fleet(played)], lambda: 60.0)[fleet(played)]
    return capacity.bounds.min, capacity.bounds.max


def scheduled(played: Played) -> tuple[Any, ...]:
    ports = account().ports
    return ports.surges.read(fleet(played)).surges


def set_minimum(played: Played, instances: int) -> None:
    """As an update of the stack that owns the fleet does, if it changes the group or the target."""
    ports = account().ports
    ports.surges.set_minimum(fleet(played), instances)


def stop_the_plane() -> None:
    for function in boto3.client("lambda").list_functions()["Functions"]:
        boto3.client("lambda").put_function_concurrency(
            FunctionName=function["FunctionName"], ReservedConcurrentExecutions=0
        )


def test_a_fleet_is_raised_at_once_held_though_nothing_waits_and_handed_back(played: Played) -> None:
    played.play(1)
    minimum, maximum = bounds(played)
    done = surge(played, timedelta(minutes=30), to=maximum)
    assert (played.size(), done["surge"]["minimum_before"]) == (maximum, minimum)
    assert set(played.play(25)) == {maximum}
    assert bounds(played) == (maximum, maximum)
    sizes = played.play(45)
    assert bounds(played) == (minimum, maximum)
    assert sizes[-1] < maximum


def test_aws_ends_it_while_the_plane_is_stopped_and_the_plane_takes_over_again(played: Played) -> None:
    played.play(1)
    minimum, maximum = bounds(played)
    surge(played, TEN_MINUTES, to=maximum)
    stop_the_plane()
    played.play(9)
    assert bounds(played)[0] == maximum
    played.play(5)
    assert bounds(played) == (minimum, maximum)
    assert not [each for each in scheduled(played) if each.until > account().ports.now()]
    for function in boto3.client("lambda").list_functions()["Functions"]:
        boto3.client("lambda").delete_function_concurrency(FunctionName=function["FunctionName"])
    assert played.play(45)[-1] < maximum


def test_a_backlog_is_drained_in_time_and_the_fleet_handed_back() -> None:
    """A burst that target tracking takes longer for; the group's first message is a minute away at most."""
    with embedded_aws(ROOT) as aws:
        demo = Demo(aws, ROOT)
        demo.add_workload(
            replace(TRANSCRIPTION, bursts={}, steady=None), {"MaxCapacity": "5", "ProcessingSeconds": "60"}
        )
        played = Played(demo, TRANSCRIPTION, demo.minutes())
        played.play(14)
        played.send(60)
        played.play(1)
        done = surge(played, HOUR, drain_in=timedelta(minutes=40))
        assert done["decision"]["limits"] == []
        assert played.size() == done["surge"]["instances"] > 1
        played.play(42)
        attributes = aws.sqs.get_queue_attributes(
            QueueUrl=aws.sqs.get_queue_url(QueueName="transcription")["QueueUrl"], AttributeNames=["All"]
        )["Attributes"]
        assert int(attributes["ApproximateNumberOfMessages"]) == 0
        assert played.play(45)[-1] == 0


def test_a_second_surge_and_an_end_by_hand_restore_the_first_minimum(played: Played) -> None:
    played.play(1)
    minimum, maximum = bounds(played)
    played.start(1)
    surge(played, to=maximum - 1)
    surge(played, to=maximum)
    assert [each.minimum_before for each in scheduled(played)] == [minimum]
    surges.end(account(), played.scenario.name, lambda: 60.0)
    assert (bounds(played), scheduled(played)) == ((minimum, maximum), ())


def test_a_stack_update_that_leaves_the_minimum_alone_leaves_the_floor_and_one_that_sets_it_is_respected(
    played: Played,
) -> None:
    played.play(1)
    minimum, maximum = bounds(played)
    surge(played, to=maximum)
    played.demo.deploy(played.demo.runs[0])
    assert bounds(played)[0] == maximum
    set_minimum(played, minimum)
    assert bounds(played)[0] == minimum
    surges.end(account(), played.scenario.name, lambda: 60.0)
    assert (bounds(played), scheduled(played)) == ((minimum, maximum), ())


@contextmanager
def two_schedules(kind: str) -> Iterator[Played]:
    """At 12:20; from 12:25 on `busy` holds at least two instances, and from 13:05 on `quiet` one."""
    with embedded_aws(ROOT) as aws:
        demo, scenario = Demo(aws, ROOT), KINDS[kind]
        lines = ("busy,SUN-SAT,12:25,UTC,2,4", "quiet,SUN-SAT,14:05,Europe/Berlin,1,4")
        given = {"MinCapacity": "0", "MaxCapacity": "4", "Schedule1": lines[0], "Schedule2": lines[1]}
        demo.add_workload(replace(scenario, bursts={}, steady=None), given)
        yield Played(demo, scenario, demo.minutes())


@pytest.fixture(params=["group", "service"])
def scheduled_hours(request: pytest.FixtureRequest) -> Iterator[Played]:
    """Within `busy`."""
    with two_schedules(request.param) as played:
        played.play(8)
        assert bounds(played) == (2, 4)
        yield played


def test_a_surge_within_a_schedule_puts_the_schedules_minimum_back(scheduled_hours: Played) -> None:
    set_minimum(scheduled_hours, 0)
    done = surge(scheduled_hours, timedelta(minutes=15), to=4)
    assert done["surge"]["minimum_before"] == 2
    assert "then at the minimum of schedule busy, 2" in done["message"]
    scheduled_hours.play(20)
    assert bounds(scheduled_hours) == (2, 4)


def test_a_surge_ends_before_the_next_schedule_whose_minimum_is_in_force_afterwards(
    scheduled_hours: Played,
) -> None:
    done = surge(scheduled_hours, timedelta(hours=3), to=4)
    assert done["surge"]["until"].startswith("2026-01-15T13:04")
    assert "schedule quiet sets the minimum to 1 at 13:05 UTC, so the surge ends before it" in done["message"]
    assert set(scheduled_hours.play(30)) == {4}
    scheduled_hours.play(12)
    assert bounds(scheduled_hours) == (1, 4)
    scheduled_hours.play(130)
    assert bounds(scheduled_hours) == (1, 4)


def test_a_paused_workload_is_not_surged_and_one_that_is_resumed_is(played: Played) -> None:
    played.play(1)
    before, maximum = bounds(played), bounds(played)[1]
    played.pause()
    with pytest.raises(ConfigError, match="a deploy; `sluice resume"):
        surge(played, to=maximum)
    assert (bounds(played), scheduled(played)) == (before, ())
    played.resume()
    assert surge(played, to=maximum)["outcome"] == "acted"


def test_the_critical_alarm_surges_by_itself() -> None:
    with embedded_aws(ROOT) as aws:
        demo = Demo(aws, ROOT)
        given = {
            "DepthAlarms": "true",
            "WarningDepthMessages": "20",
            "CriticalDepthMessages": "40",
            "SurgeOnCriticalAlarms": "true",
            "ProcessingSeconds": "60",
            "MaxCapacity": "5",
        }
        demo.add_workload(replace(TRANSCRIPTION, bursts={}, steady=None), given)
        played = Played(demo, TRANSCRIPTION, demo.minutes())
        played.play(14)
        played.send(150)
        played.play(8)
        decided = [line.record for line in aws.log if line.record.get("decision") == "surge"]
        assert (decided[-1]["trigger"], decided[-1]["outcome"]) == ("alarm", "acted")
        [stored] = scheduled(played)
        assert stored.by.endswith(":alarm:sluice-transcription-depth-critical")
        assert played.size() == stored.instances == bounds(played)[0]
