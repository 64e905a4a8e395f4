from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.core.model import Decision, Kind, LaunchAttempt, Mode, Reason, Workload
from sluice.ports import Counter, Outcome
from sluice.report import fields, sentence
from sluice.usecases.tick import publish_backlog
from tests.support.builders import (
    MINUTE_NOW,
    NOW,
    ecs_workload,
    workload,
)
from tests.support.fakes import Scene

WORDS = "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity."
FAILED = LaunchAttempt(at=NOW - timedelta(minutes=1), failure=WORDS)


def tick(scene: Scene) -> list[tuple[Decision, Outcome]]:
    """The launch decisions that the ticks have logged."""
    publish_backlog(MINUTE_NOW, scene.world, scene.report, scene.remaining_s)
    decisions = scene.report.decisions
    return [(logged, outcome) for logged, outcome in decisions if logged.kind is Kind.LAUNCH]  # type: ignore[misc]


def short(scene: Scene, served: Workload, **changes: int) -> Workload:
    """A workload that waits for instances which AWS does not start."""
    scene.serve(served, **({"visible": 9, "desired": 3, "running": 0} | changes))
    scene.launches.holding[served.fleet] = [FAILED]
    return served


@pytest.mark.parametrize("build", [workload, ecs_workload])
def test_the_tick_that_observes_a_failed_launch_logs_the_message_of_aws(build: object, scene: Scene) -> None:
    served = short(scene, build())
    [(decision, outcome)] = tick(scene)
    assert sentence(decision, outcome) == (
        "launch holds: AWS does not start the instances that are asked for "
        f"(at 2026-01-15 11:59 UTC: {WORDS})"
    )
    logged = fields(decision, outcome)
    assert (logged["workload"], logged["decision"], logged["reason"]) == (
        served.name,
        "launch",
        "no_capacity",
    )
    assert (logged["outcome"], logged["trigger"], logged["desired_now"], logged["running"]) == (
        "held",
        "tick",
        3,
        0,
    )
    assert scene.report.counts[Counter.NO_CAPACITY] == 1
    assert scene.resizes() == []
    assert scene.report.failures == []


def test_only_fleets_that_lack_instances_are_asked_about(scene: Scene) -> None:
    lacking = short(scene, workload("lacking"))
    short(scene, workload("served"), running=3)
    short(scene, workload("idle"), visible=0)
    short(scene, replace(workload("paused"), mode=Mode.PAUSED))
    short(scene, ecs_workload("unread"))
    scene.fleets.failing[ecs_workload("unread").fleet] = "timed out"
    tick(scene)
    assert scene.calls.named("launches.read") == [{lacking.fleet}]
    assert scene.report.counts[Counter.NO_CAPACITY] == 1


def test_a_plane_whose_fleets_lack_nothing_asks_nothing(scene: Scene) -> None:
    scene.serve(workload(), visible=9, desired=3)
    assert tick(scene) == []
    assert scene.calls.named("launches.read") == []


def test_an_instance_that_still_boots_is_not_logged(scene: Scene) -> None:
    served = short(scene, workload())
    scene.launches.holding[served.fleet] = [FAILED, LaunchAttempt(at=NOW)]
    assert tick(scene) == []
    assert scene.report.counts[Counter.NO_CAPACITY] == 0


def test_a_group_whose_launches_are_suspended_is_logged_and_nothing_is_read(scene: Scene) -> None:
    """What an example's instance leaves behind that could not install its worker."""
    served = short(scene, workload())
    held = replace(scene.fleets.holding[served.fleet], scale_out_held_by=("Launch is suspended",))
    scene.fleets.holding[served.fleet] = held
    [(decision, outcome)] = tick(scene)
    assert sentence(decision, outcome) == (
        "launch holds: scaling in this direction is held (Launch is suspended)"
    )
    assert scene.calls.named("launches.read") == []
    assert scene.report.counts[Counter.NO_CAPACITY] == 0


def test_it_is_logged_in_mode_observe_as_well(scene: Scene) -> None:
    short(scene, replace(workload(), mode=Mode.OBSERVE))
    [(decision, outcome)] = tick(scene)
    assert (decision.reason, outcome) == (Reason.NO_CAPACITY, Outcome.HELD)


def test_a_fleet_whose_launches_cannot_be_read_is_counted_and_the_tick_goes_on(scene: Scene) -> None:
    unread, logged = short(scene, workload("unread")), short(scene, workload("logged"))
    scene.launches.failing[unread.fleet] = "DescribeScalingActivities: AWS answered Throttling"
    [(decision, _)] = tick(scene)
    assert decision.workload == logged.name
    assert scene.report.failures == [
        ("unread", Counter.OBSERVATION_FAILED, "DescribeScalingActivities: AWS answered Throttling")
    ]
    assert set(scene.report.seen) == {"unread", "logged"}


def test_without_time_nothing_is_asked_and_nothing_fails(scene: Scene) -> None:
    short(scene, workload())
    calls = 0

    def remaining_s() -> float:
        nonlocal calls
        calls += scene.calls.named("metrics.publish") != []
        return 60.0 if not calls else 0.0

    publish_backlog(MINUTE_NOW, scene.world, scene.report, remaining_s)
    assert scene.calls.named("launches.read") == []
    assert not [logged for logged, _ in scene.report.decisions if logged.kind is Kind.LAUNCH]


def test_a_world_that_cannot_be_asked_is_not(scene: Scene) -> None:
    short(scene, workload())
    publish_backlog(MINUTE_NOW, replace(scene.world, launches=None), scene.report, scene.remaining_s)
    assert not [logged for logged, _ in scene.report.decisions if logged.kind is Kind.LAUNCH]
