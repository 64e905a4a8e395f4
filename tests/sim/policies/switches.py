"""Runs of blue/green workloads with switches and whatever else happens meanwhile, and what must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from sluice.core.model import Bounds, Color
from sluice.core.switch_record import Step
from sluice_sim import policies, switching
from sluice_sim.simulator.color_ports import colors
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import Conditions, ScaleIn, SimulatedFleet
from sluice_sim.simulator.run import START_S, Load, Run, simulate
from sluice_sim.template import deployment
from sluice_sim.template.deployment import Deployed

ROOT = Path(__file__).resolve().parents[3]
MINUTE_S = 60.0
PROMISE_S = 300.0
SIZED_BY = {Step.RAISE, Step.READY, Step.RETIRE, Step.FINISH, Step.ROLL_BACK, Step.RESTORE}
"""The steps that may size the color that is not active; the first two only raise it."""
RAISES = {Step.RAISE, Step.READY}
WORKLOADS = {
    "group": ("transcription", {"GreenAutoScalingGroupName": "transcription-green"}),
    "fifo": ("transcription", {"GreenAutoScalingGroupName": "green", "QueueName": "transcription.fifo"}),
    "service": ("queue-proc", {"GreenServiceName": "queue-proc-green"}),
}


@cache
def workload(kind: str, minimum: int = 0) -> Deployed:
    environment, given = WORKLOADS[kind]
    target = {"TargetType": "static", "MessagesPerInstance": "2"}
    bounds = {"MinCapacity": str(minimum), "MaxCapacity": "5"}
    return deployment.deployed(ROOT, deployment.environments(ROOT)[environment] | given | target | bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a switch changes of a fleet, and puts back."""

    bounds: Bounds
    held: dict[str, bool]
    receives: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resized:
    """A change of a fleet's desired count."""

    at_s: float
    color: Color
    active: Color
    before: int
    after: int
    step: Step | None
    """The step of a switch that made it; None for anything else."""
    in_switch: Step | None
    """The step at which the stored record of a switch was; None without one."""
    busy: int
    """Instances of the fleet that had a message."""


@dataclass(slots=True, kw_only=True)
class Played:
    """A run, and what was seen of it."""

    run: Run
    resized: list[Resized]
    before: dict[Color, Held]
    after: dict[Color, Held]
    active: Color
    """At the end."""
    record: object
    """What is stored of a switch at the end."""
    failures: Sequence[tuple[float, str]]


@dataclass
class Watch:
    """Notes every change of a desired count."""

    context: ScalingContext | None = None
    plane: Any = None
    step: Step | None = None
    resized: list[Resized] = field(default_factory=list)
    before: dict[Color, Held] = field(default_factory=dict)

    def held(self) -> dict[Color, Held]:
        assert self.context is not None
        found = {}
        for color, key in colors(self.context.deployed.workload):
            fleet = self.context.fleets[key]
            fields = {name: value for name, value in fleet.held.items() if value}
            found[color] = Held(bounds=fleet.bounds, held=fields, receives=fleet.receives)
        return found

    @property
    def record(self) -> Any:
        assert self.context is not None
        return self.plane.ports.states.switches.get(self.context.deployed.workload.name)

    @contextmanager
    def watching(self) -> Iterator[None]:
        set_desired, switch_step = SimulatedFleet.set_desired, switching.switch_step

        def noted(fleet: SimulatedFleet, desired: int) -> None:
            if self.context is not None and desired != fleet.desired:
                self._note(fleet, desired)
            set_desired(fleet, desired)

        def stepped(request: Any, *rest: Any) -> Any:
            self.step = request.step
            try:
                return switch_step(request, *rest)
            finally:
                self.step = None

        with (
            mock.patch.object(SimulatedFleet, "set_desired", noted),
            mock.patch.object(switching, "switch_step", stepped),
        ):
            yield

    def _note(self, fleet: SimulatedFleet, desired: int) -> None:
        assert self.context is not None
        of = self.context.deployed.workload
        [color] = [color for color, key in colors(of) if self.context.fleets[key] is fleet]
        assert of.color is not None
        self.resized.append(
            Resized(
                at_s=self.context.queue.now_s,
                color=color,
                active=of.color,
                before=fleet.desired,
                after=desired,
                step=self.step,
                in_switch=None if self.record is None else self.record.step,
                busy=fleet.size().busy,
            )
        )


def play(
    kind: str,
    policy: str,
    load: Load,
    switch_at_s: float,
    *,
    boot_s: float = 60.0,
    boots_s: Iterable[float] = (),
    seed: int = 0,
    minimum: int = 0,
    then: Callable[[ScalingContext, switching.Switches], object] = lambda _, __: None,
    **conditions: Any,
) -> Played:
    """Run the load with a switch; `then` schedules what else happens.

    The first instances boot for `boots_s`, one after the other, the later ones for `boot_s`.
    """
    watch, first_s = Watch(), iter(boots_s)

    class Watched:
        def __init__(self) -> None:
            self._policy: Any = policies.named(policy)
            self.name, self.scale_in = policy, None

        def attach(self, context: ScalingContext) -> None:
            self._policy.attach(context)
            watch.context, watch.plane = context, self._policy._plane
            watch.before = watch.held()
            then(context, watch.plane.switches)

    with watch.watching():
        run = simulate(
            workload(kind, minimum),
            load,
            Conditions(boot_s=lambda: next(first_s, boot_s), **({"scale_in": ScaleIn.PROTECT} | conditions)),
            Watched(),
            promise_s=PROMISE_S,
            boot_s=min(boot_s, 100.0),
            seed=seed,
            switch_at_s=switch_at_s,
        )
    assert watch.context is not None
    active = watch.context.deployed.workload.color
    assert active is not None
    return Played(
        run=run,
        resized=watch.resized,
        before=watch.before,
        after=watch.held(),
        active=active,
        record=watch.record,
        failures=watch.plane.report.failures,
    )


def load_of(
    arrivals_s: Sequence[float], service_s: float, *, hours: float = 2.0, groups: int | None = None
) -> Load:
    arrival_s = np.sort(np.asarray(arrivals_s, float))
    return Load(
        arrival_s=arrival_s,
        service_s=np.full(arrival_s.size, service_s),
        horizon_s=hours * 3600.0,
        groups=None if groups is None else np.arange(arrival_s.size) % groups,
    )


def at(context: ScalingContext, at_s: float, action: Callable[[], object]) -> None:
    context.clock.at(START_S + at_s, action)


# ---- what must hold ----------------------------------------------------------------------------------------


def assert_nothing_was_lost_or_repeated(played: Played) -> None:
    run = played.run
    assert run.lost == 0
    assert run.redelivered == 0, "killed in flight"
    assert set(run.messages.receives.tolist()) <= {1}, "received twice"


def assert_groups_were_in_order(played: Played) -> None:
    messages = played.run.messages
    for message, following in enumerate(messages.next_in_group.tolist()):
        if following >= 0:
            ended_s = messages.started_s[message] + messages.service_s[message]
            assert messages.started_s[following] >= ended_s - 1e-6


def assert_only_a_switch_sizes_the_idle_color(played: Played) -> None:
    idle = [one for one in played.resized if one.color is not one.active]
    assert [one for one in idle if one.step not in SIZED_BY] == []
    assert [one for one in idle if one.step in RAISES and one.after < one.before] == []


def assert_the_active_color_is_not_lowered_while_both_are_held(played: Played) -> None:
    held = {Step.FREEZE, Step.RAISE, Step.READY}
    wrong = [
        one
        for one in played.resized
        if one.color is one.active and one.in_switch in held and one.after < one.before
    ]
    assert wrong == []


def assert_a_color_that_is_set_to_zero_works_on_nothing(played: Played) -> None:
    lowers = {Step.RETIRE, Step.ROLL_BACK, Step.RESTORE, Step.FINISH}
    wrong = [one for one in played.resized if one.step in lowers and one.after < one.before and one.busy]
    assert wrong == []


def assert_all_is_put_back(played: Played) -> None:
    """Whatever a switch has changed is as before; the minimum moves with the active color."""
    assert played.record is None
    own = played.before[Color.BLUE].bounds.min
    for color, was in played.before.items():
        now = played.after[color]
        assert now.held == was.held, color
        assert now.receives, color
        assert now.bounds.max == was.bounds.max, color
    if played.active is Color.BLUE and len(played.run.switches) == 1:
        assert {color: now.bounds for color, now in played.after.items()} == {
            color: was.bounds for color, was in played.before.items()
        }
    assert played.after[played.active].bounds.min >= own


HOLDS = (
    assert_nothing_was_lost_or_repeated,
    assert_groups_were_in_order,
    assert_only_a_switch_sizes_the_idle_color,
    assert_the_active_color_is_not_lowered_while_both_are_held,
    assert_a_color_that_is_set_to_zero_works_on_nothing,
    assert_all_is_put_back,
)
