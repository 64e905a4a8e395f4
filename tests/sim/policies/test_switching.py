"""A switch between two colors in the simulator, among ticks, alarms, retunes, time-outs and aborts.

Whatever happens meanwhile: no message is lost, killed or repeated, the idle color is sized by a switch alone,
the active one is not lowered while both are held, and in the end all that was held is as it was.
"""

from __future__ import annotations

import pytest

from sluice.core.model import Color
from sluice.core.switch_record import Step
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.switching import Switches
from tests.sim.policies.switches import (
    HOLDS,
    MINUTE_S,
    WORKLOADS,
    assert_all_is_put_back,
    assert_nothing_was_lost_or_repeated,
    assert_only_a_switch_sizes_the_idle_color,
    at,
    load_of,
    play,
)

STEADY = [minute * MINUTE_S + second for minute in range(2, 100) for second in (1, 21, 41)]
"""Three messages a minute."""
ORDER = ["begin", "freeze", "raise", "ready", "flip", "drain", "retire", "finish"]


@pytest.mark.parametrize("policy", ["sluice", "deadline"])
@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_switch_under_load_ends_well(kind: str, policy: str) -> None:
    played = play(kind, policy, load_of(STEADY, 60.0, groups=8 if kind == "fifo" else None), 60 * MINUTE_S)
    [switch] = played.run.switches
    assert (switch.status, switch.to, played.active) == ("SUCCEEDED", Color.GREEN, Color.GREEN)
    assert [step for step, _ in switch.durations_s()] == ORDER
    assert played.run.sizes[Color.BLUE][-1].running == 0
    for holds in HOLDS:
        holds(played)


def test_a_group_whose_lifecycle_hook_drains_its_instances_is_switched_without_protection() -> None:
    played = play("group", "sluice", load_of(STEADY, 60.0), 60 * MINUTE_S, scale_in=ScaleIn.DRAIN)
    [switch] = played.run.switches
    assert (switch.status, played.active) == ("SUCCEEDED", Color.GREEN)
    assert any("does not show" in step.detail for step in switch.steps if step.step is Step.READY)
    assert_nothing_was_lost_or_repeated(played)
    assert_only_a_switch_sizes_the_idle_color(played)
    assert_all_is_put_back(played)


@pytest.mark.parametrize(("kind", "scale_in"), [("service", ScaleIn.DRAIN), ("group", ScaleIn.KILL)])
def test_a_fleet_that_shows_no_work_is_not_switched_under_load(kind: str, scale_in: ScaleIn) -> None:
    played = play(kind, "sluice", load_of(STEADY, 60.0), 60 * MINUTE_S + 30, scale_in=scale_in)
    [switch] = played.run.switches
    assert (switch.status, switch.to, played.active) == ("FAILED", None, Color.BLUE)
    assert "protection from scale-in" in switch.cause
    assert_all_is_put_back(played)


def test_a_color_that_does_not_start_in_time_is_undone() -> None:
    played = play("group", "sluice", load_of(STEADY, 60.0), 60 * MINUTE_S, boot_s=2400.0)
    [switch] = played.run.switches
    assert (switch.status, played.active) == ("FAILED", Color.BLUE)
    assert [step for step, _ in switch.durations_s()][-2:] == ["roll_back", "restore"]
    for holds in HOLDS:
        holds(played)


def test_messages_that_outlast_the_drain_leave_the_old_color_up() -> None:
    bursts = [50 * MINUTE_S + second for second in range(30)]
    played = play("service", "sluice", load_of(bursts, 5400.0, hours=4.0), 60 * MINUTE_S)
    [switch] = played.run.switches
    assert (switch.status, played.active) == ("FAILED", Color.GREEN)
    assert "stays" in switch.cause
    for holds in HOLDS:
        holds(played)


@pytest.mark.parametrize("after_s", [0, 30, 75, 100, 160, 300])
@pytest.mark.parametrize("kind", ["group", "service"])
def test_an_abort_at_any_moment_is_undone(kind: str, after_s: float) -> None:
    def then(context: ScalingContext, switches: Switches) -> None:
        at(context, 60 * MINUTE_S + after_s, lambda: switches.abort(switches.executions[0]))

    played = play(kind, "sluice", load_of(STEADY, 60.0), 60 * MINUTE_S, then=then)
    [switch] = played.run.switches
    assert switch.status == "ABORTED"
    for holds in HOLDS:
        holds(played)


def test_a_second_switch_meanwhile_is_refused_and_a_later_one_goes_back() -> None:
    def then(context: ScalingContext, switches: Switches) -> None:
        at(context, 61 * MINUTE_S, switches.begin)
        at(context, 80 * MINUTE_S, switches.begin)

    played = play("group", "sluice", load_of(STEADY, 60.0), 60 * MINUTE_S, then=then)
    assert [one.status for one in played.run.switches] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert played.run.switches[1].to is None
    assert played.active is Color.BLUE
    for holds in HOLDS:
        holds(played)
