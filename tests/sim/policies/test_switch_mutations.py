"""The runs detect broken steps of a switch: each mutation violates what must hold.

A mutation replaces one function of the layer, or of what it reaches, by one with a plausible defect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import sluice.usecases.switch
from sluice.core.model import Color, Reason, Workload
from sluice.core.switch import FROZEN, Next, Wait, colored
from sluice.core.switch_record import Step, Switch
from sluice.usecases.switch import StepDone
from sluice_sim.simulator.color_ports import SimulatedColors
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.switching import Switches
from tests.sim.policies.switches import (
    HOLDS,
    MINUTE_S,
    Played,
    assert_a_color_that_is_set_to_zero_works_on_nothing,
    assert_all_is_put_back,
    assert_only_a_switch_sizes_the_idle_color,
    assert_the_active_color_is_not_lowered_while_both_are_held,
    at,
    load_of,
    play,
)

SWITCH_S = 20 * MINUTE_S
BUSY = [5 * MINUTE_S + 0.1 * place for place in range(120)]
"""Five instances work on these for 24 minutes."""
DONE = BUSY[:65]
"""Done soon after the switch begins: a fleet that is not held is then lowered."""
ENDLESS = [*BUSY, *(1200 + 6.0 * place for place in range(700))]
"""Ten messages a minute, more than one color works on: both are busy if both receive."""
FAST_S, SLOW_S = [60.0] * 5, 1500.0
"""The boots of the color that is active, and of the other one."""


def assert_it_ends_well(played: Played) -> None:
    assert [one.status for one in played.run.switches] == ["SUCCEEDED"]


def runs() -> Iterator[Played]:
    for kind in ("group", "service"):
        yield play(kind, "sluice", load_of(BUSY, 60.0, hours=1.5), SWITCH_S)
        yield play(kind, "sluice", load_of(DONE, 60.0, hours=1.5), SWITCH_S, boots_s=FAST_S, boot_s=SLOW_S)


def endless() -> Iterator[Played]:
    yield play("group", "sluice", load_of(ENDLESS, 60.0, hours=2.0), SWITCH_S)


def aborts() -> Iterator[Played]:
    def then(context: ScalingContext, switches: Switches) -> None:
        at(context, SWITCH_S + 70, lambda: switches.abort(switches.executions[0]))

    for kind in ("group", "service"):
        yield play(kind, "sluice", load_of(BUSY, 60.0, hours=1.5), SWITCH_S, minimum=2, then=then)


def always_drained(stored: Switch, *_: Any) -> Wait:
    return Wait(next=Next.NEXT, reason=Reason.COLOR_DRAINED, detail="", switch=stored)


def retired_at_once(switching: Any, workload: Workload, stored: Switch) -> StepDone:
    fleet = colored(workload, stored.old).fleet
    switching.surges.set_minimum(fleet, 0)
    switching.ports.fleets.set_desired(fleet, 0)
    return switch._ending(switching, stored, stored.old)


def told_to_nobody(colors: SimulatedColors, workload: str, color: Color | None) -> None:
    """The parameter is never written."""


set_draining = SimulatedColors.set_draining


def told_for_ever(colors: SimulatedColors, workload: str, color: Color | None) -> None:
    if color is not None:
        set_draining(colors, workload, color)


switch = sluice.usecases.switch
Mutation = tuple[Any, ...]
"""A module, the name in it, what stands there instead; and steps that are replaced as well."""
Holds = Callable[[Played], None]
MUTATIONS: dict[str, tuple[Mutation, Callable[[], Iterator[Played]], Holds]] = {
    "nothing is frozen": (
        (switch, "held", lambda now, *_: now),
        runs,
        assert_the_active_color_is_not_lowered_while_both_are_held,
    ),
    "the old color is retired without a proof": (
        (switch, "drained", always_drained, {Step.RETIRE: retired_at_once}),
        runs,
        assert_a_color_that_is_set_to_zero_works_on_nothing,
    ),
    "the old color is let go before its alarms fade": (
        (switch, "fades_in_s", lambda *_: 0),
        runs,
        assert_only_a_switch_sizes_the_idle_color,
    ),
    "a service's old color may scale out after the flip": (
        (switch, "IDLE", FROZEN),
        runs,
        assert_only_a_switch_sizes_the_idle_color,
    ),
    "what was held stays held": (
        (switch, "thawed", lambda _, __, now: now),
        runs,
        assert_all_is_put_back,
    ),
    "the workers are not told": (
        (SimulatedColors, "set_draining", told_to_nobody),
        endless,
        assert_it_ends_well,
    ),
    "the workers are told for ever": (
        (SimulatedColors, "set_draining", told_for_ever),
        runs,
        assert_all_is_put_back,
    ),
    "the minimum of a color that is undone stays raised": (
        (switch, "_set_minimum", lambda *_: None),
        aborts,
        assert_all_is_put_back,
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_runs_detect_the_mutation(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (module, name, broken, *steps), played, holds = MUTATIONS[mutation]
    monkeypatch.setattr(module, name, broken)
    for replaced in steps:
        monkeypatch.setattr(switch, "_STEPS", {**switch._STEPS, **replaced})
    with pytest.raises(AssertionError):
        list(map(holds, played()))


@pytest.mark.parametrize("played", [runs, endless, aborts])
def test_without_a_mutation_all_holds(played: Callable[[], Iterator[Played]]) -> None:
    for one in played():
        for holds in HOLDS:
            holds(one)
        if played is not aborts:
            assert_it_ends_well(one)
