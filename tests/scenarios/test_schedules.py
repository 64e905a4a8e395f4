"""Schedules in the closed loop: of a group and a service with target tracking, and of the deadline engine.

The account begins on a Thursday at 8:20 of Puerto Rico, which keeps its clocks all year.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError

from sluice.core.schedules import in_force
from sluice.document.schedule_lines import parsed
from sluice_sim.embedded import cloud
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION
from tests.scenarios.conftest import ROOT
from tests.scenarios.test_pause import KINDS, Played
from tests.scenarios.test_surge import bounds
from tests.sim.embedded.test_fleets import BusyWorker
from tests.templates import stacks

pytestmark = pytest.mark.slow

OFFICE = "office-hours,MON-FRI,8:25,America/Puerto_Rico,2,4"
NIGHT = "night,SUN-SAT,8:45,America/Puerto_Rico,0,5"
IN_OFFICE = "until 8:45 America/Puerto_Rico by schedule office-hours"

Play = Callable[..., Played]


@pytest.fixture(params=KINDS)
def play(request: pytest.FixtureRequest) -> Iterator[Play]:
    """Deploy a workload with these parameters, and play it for a minute."""
    with ExitStack() as running:

        def deployed(**parameters: str) -> Played:
            scenario = KINDS[request.param]
            demo = Demo(running.enter_context(embedded_aws(ROOT)), ROOT)
            demo.add_workload(replace(scenario, bursts={}, steady=None), parameters)
            played = Played(demo, scenario, demo.minutes())
            played.play(1)
            return played

        yield deployed


def until(played: Played, clock: str) -> list[int]:
    """The desired count at the end of each minute until this time of Puerto Rico."""
    end = datetime.fromisoformat(f"2026-01-15T{clock}:00-04:00").timestamp()
    return played.play(round((end - played.demo.aws.clock.now) / 60))


def details(played: Played) -> set[str]:
    """What the decisions say that name a schedule."""
    messages = [line.record["message"] for line in played.demo.aws.log if "decision" in line.record]
    return {message for message in messages if "by schedule" in message}


def redeploy(played: Played, **parameters: str) -> None:
    [run] = played.demo.runs
    run.deployed |= parameters
    played.demo.deploy(run)


def test_instances_start_at_the_scheduled_hour_stay_though_nothing_waits_and_end_after_it(play: Play) -> None:
    played = play(Schedule1=OFFICE, Schedule2=NIGHT)
    assert set(until(played, "08:24")) == {0}
    assert until(played, "08:29")[-1] == 2
    assert bounds(played) == (2, 4)
    assert set(until(played, "08:44")) == {2}
    assert until(played, "09:00")[-1] == 0
    assert bounds(played) == (0, 5)
    # The difference from the document's bounds is as intended.
    assert not [line for line in played.demo.aws.log if "bounds_differ" in line.record.get("limits", [])]


def test_an_empty_fleet_ends_down_to_the_scheduled_minimum_and_no_further(play: Play) -> None:
    played = play(Schedule1=OFFICE, Schedule2=NIGHT)
    until(played, "08:28")
    played.start(4)
    assert played.size() == 4
    sizes = until(played, "08:44")
    assert (sizes[-1], min(sizes)) == (2, 2)
    assert any(f"at minimum 2 {IN_OFFICE}" in said for said in details(played))


def test_a_burst_grows_a_fleet_up_to_the_scheduled_maximum_and_no_further(play: Play) -> None:
    played = play(Schedule1=OFFICE.replace(",2,4", ",0,2"), Schedule2=NIGHT, BootstrapCapacity="backlog")
    until(played, "08:28")
    played.send(400)
    assert max(until(played, "08:45")) == 2
    assert any(f"at maximum 2 {IN_OFFICE}" in said for said in details(played))
    assert max(until(played, "08:58")) == 5


def test_a_change_of_schedules_counts_from_their_next_start_on(play: Play) -> None:
    """What is in force stays on a group; a scalable target is registered anew with the parameters' bounds."""
    played = play(Schedule1=OFFICE, Schedule2=NIGHT)
    before = bounds(played)
    until(played, "08:28")
    redeploy(played, AcceptableLatencySeconds="301")
    assert bounds(played) == (2, 4)
    redeploy(played, Schedule1=OFFICE.replace(",2,4", ",3,4"), Schedule2=NIGHT.replace("8:45", "8:35"))
    assert bounds(played) == (before if played.scenario is QUEUE_PROC else (2, 4))
    until(played, "08:34")
    assert bounds(played) == (before if played.scenario is QUEUE_PROC else (2, 4))
    until(played, "08:38")
    assert bounds(played) == (0, 5)


def test_a_schedule_that_is_removed_leaves_its_bounds_on_a_group(play: Play) -> None:
    played = play(Schedule1=OFFICE)
    before = bounds(played)
    until(played, "08:28")
    redeploy(played, Schedule1="")
    assert bounds(played) == (before if played.scenario is QUEUE_PROC else (2, 4))
    assert actions() == {}


def test_aws_runs_a_schedule_of_a_paused_workload(play: Play) -> None:
    """It is a bound of the owner's, as the minimum of the group is; Sluice itself decides nothing."""
    played = play(Schedule1=OFFICE, Schedule2=NIGHT)
    played.pause()
    assert until(played, "08:28")[-1] == 2
    # Nothing ends what the night allows to end, until it is resumed.
    assert set(until(played, "08:55")) == {2}
    assert bounds(played) == (0, 5)
    played.resume()
    assert until(played, "09:10")[-1] == 0


@pytest.mark.parametrize("mode", ["observe", "paused"])
def test_schedules_exist_in_mode_active_alone(play: Play, mode: str) -> None:
    played = play(Schedule1=OFFICE, Schedule2=NIGHT)
    assert set(actions().values()) == {(2, 4), (0, 5)}
    redeploy(played, Mode=mode, CreateScalableTarget="true")
    before = bounds(played)
    assert actions() == {}
    assert set(until(played, "08:28")) == {0}
    assert bounds(played) == before


def actions() -> dict[str, tuple[int, int]]:
    """Minimum and maximum of every scheduled action."""
    groups = boto3.client("autoscaling").describe_scheduled_actions()["ScheduledUpdateGroupActions"]
    targets = boto3.client("application-autoscaling").describe_scheduled_actions(ServiceNamespace="ecs")
    found = {each["ScheduledActionName"]: (each["MinSize"], each["MaxSize"]) for each in groups}
    for each in targets["ScheduledActions"]:
        sizes = each["ScalableTargetAction"]
        found[each["ScheduledActionName"]] = (sizes["MinCapacity"], sizes["MaxCapacity"])
    return found


def test_a_group_takes_no_two_schedules_that_start_at_one_moment_by_different_clocks() -> None:
    with embedded_aws(ROOT) as aws:
        demo = Demo(aws, ROOT)
        with pytest.raises(ClientError, match="AlreadyExists"):
            demo.add_workload(TRANSCRIPTION, {"Schedule1": OFFICE, "Schedule2": "noon,MON-FRI,12:25,UTC,0,5"})


FIRST, DAYS = datetime(2026, 3, 28, 12, tzinfo=UTC), 2
"""Daylight saving begins in Berlin on Sunday, 29 March."""
LINES = {
    "Schedule1": "office-hours,MON-FRI,8:00,Europe/Berlin,3,5",
    "Schedule2": "night,SUN-SAT,18:00,Europe/Berlin,0,5",
    "Schedule3": "batch,SUN-SAT,2:30,Europe/Berlin,1,4",
    "Schedule4": "break,SUN+MON,12:15,America/New_York,2,4",
}


def test_aws_holds_the_bounds_of_the_schedule_in_force_while_daylight_saving_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a group and of a service, some minutes after each half hour: an action may be two minutes late."""
    schedules = [parsed(line) for line in LINES.values()]
    monkeypatch.setattr(cloud, "START", FIRST)
    held = []
    with embedded_aws(ROOT) as aws:
        aws.create_group("transcription", minimum=0, maximum=5, boot_s=30, start=BusyWorker)
        aws.create_service("workers", "queue-proc", boot_s=30, start=BusyWorker)
        for kind in ("asg", "ecs"):
            resources = stacks.workload(kind, **LINES).resources
            for name, resource in resources.items():
                if name == "EcsScalableTarget":
                    aws.stacks._register_target(name, resource.properties)
            aws.stacks._schedules.deploy(kind, resources)
        for half_hour in range(14, DAYS * 48):  # the first schedule starts at 18:00 in Berlin
            now = FIRST + timedelta(minutes=30 * half_hour + 20)
            aws.clock.run_until(now.timestamp())
            due = in_force(schedules, now)
            assert due is not None
            bounds_of_both = {aws.groups.bounds("transcription"), bounds_of_target(aws)}
            assert bounds_of_both == {(due.schedule.bounds.min, due.schedule.bounds.max)}, now
            held.append((due.schedule.name, due.since))
    assert [name for name, _ in dict.fromkeys(held)] == [
        "night",  # and no batch on Sunday morning
        "break",
        "batch",
        "office-hours",
    ]


def bounds_of_target(aws: EmbeddedAws) -> tuple[int, int]:
    [target] = aws.scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    return target["MinCapacity"], target["MaxCapacity"]
