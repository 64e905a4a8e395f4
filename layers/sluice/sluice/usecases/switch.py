"""Entry point: one step of a switch between the colors of a blue/green workload, as the state machine asks.

The record of the switch is stored before anything is touched, and is the last thing to go: whatever ends a
switch, the way back finds in it what to undo. Every step may be repeated, and finds its work done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from sluice.core.model import (
    AutoScalingGroup,
    Capacity,
    Color,
    ColoredFleet,
    Decision,
    EcsService,
    Fleet,
    Kind,
    Observation,
    Reason,
    Trigger,
    Unknown,
    Workload,
)
from sluice.core.surge import Refusal
from sluice.core.switch import (
    IDLE,
    Next,
    Wait,
    colored,
    drained,
    fades_in_s,
    growing,
    held,
    is_at_zero,
    needed,
    only_flips,
    reading_of,
    ready,
    seen_from,
    shows_work,
    thawed,
    undone_fades_in_s,
    why_not_begun,
    why_not_raised,
)
from sluice.core.switch_record import Step, Switch, Was
from sluice.core.target import initial_target
from sluice.errors import ConfigError, TransientError
from sluice.events import SwitchRequest
from sluice.ports import (
    Colors,
    EngineStates,
    Freezes,
    Occupancy,
    Outcome,
    Ports,
    RemainingS,
    Report,
    Surges,
    first_half,
)
from sluice.usecases.observe import observe
from sluice.usecases.pauses import holds_in_force

Reading = TypeVar("Reading")
BEFORE_THE_FLIP = (Step.FREEZE, Step.RAISE, Step.READY)
SHORT_S = 10
"""How long the state machine waits for what takes AWS a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """What the state machine is told."""

    workload: str
    to: Color | None
    outcome: Next
    detail: str
    wait_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Switching:
    """What the steps share."""

    request: SwitchRequest
    ports: Ports
    states: EngineStates
    freezes: Freezes
    colors: Colors
    occupancy: Occupancy
    surges: Surges
    report: Report
    remaining_s: RemainingS

    @property
    def now(self) -> datetime:
        return self.ports.now()


def switch_step(request: SwitchRequest, ports: Ports, report: Report, remaining_s: RemainingS) -> StepDone:
    """Do one step; raises ConfigError for one that is refused, TransientError where a retry may help."""
    if (
        ports.states is None
        or ports.freezes is None
        or ports.colors is None
        or ports.occupancy is None
        or ports.surges is None
    ):
        raise ConfigError("this function knows no table of switches: template.yaml sets SLUICE_STATE_TABLE")
    switching = _Switching(
        request=request,
        ports=ports,
        states=ports.states,
        freezes=ports.freezes,
        colors=ports.colors,
        occupancy=ports.occupancy,
        surges=ports.surges,
        report=report,
        remaining_s=remaining_s,
    )
    stored = _stored(switching)
    if request.step is Step.BEGIN:
        return _begin(switching, stored)
    own = stored is not None and stored.execution == request.execution
    if stored is None or not own:
        if request.step in (Step.FINISH, Step.ROLL_BACK, Step.RESTORE):
            return _done(switching, Next.NOTHING_TO_DO, f"{Reason.NO_SWITCH}: nothing is to be put back")
        lost = f"; there is {stored}" if stored is not None else ""
        raise ConfigError(
            f"{request.workload} is in no switch of {request.execution}{lost}: it was undone meanwhile"
        )
    workload = ports.registry.one(request.workload, remaining_s)
    if workload.idle is None:
        raise ConfigError(
            f"{request.workload} has one fleet only since its stack was updated in the middle of {stored}: "
            "give the stack its green fleet again, so that the switch can be undone"
        )
    _check_fleets(workload, stored)
    _check_order(request.step, workload, stored)
    return _STEPS[request.step](switching, workload, stored)


def _check_fleets(workload: Workload, switch: Switch) -> None:
    """Raise ConfigError if a color is another fleet than the one that the switch has touched."""
    for color, was in switch.was.items():
        fleet = str(colored(workload, color).fleet)
        if fleet != was.fleet:
            raise ConfigError(
                f"{color} of {workload.name} was {was.fleet}, and is {fleet} since its stack was updated in "
                f"the middle of {switch}: give the stack {was.fleet} again, so that the switch can be undone"
            )


def _check_order(step: Step, workload: Workload, switch: Switch) -> None:
    """Raise ConfigError for a step that comes late, when a slower invocation of it was repeated long ago."""
    if step in BEFORE_THE_FLIP and workload.color is switch.to:
        raise ConfigError(f"{switch.to} of {workload.name} is active already: it is too late to {step}")
    if step in (*BEFORE_THE_FLIP, Step.FLIP) and switch.step is Step.ROLL_BACK:
        raise ConfigError(f"the switch of {workload.name} is being undone: it is too late to {step}")


def _begin(switching: _Switching, stored: Switch | None) -> StepDone:
    """Store the record, which is the lock, if nothing speaks against a switch."""
    request, ports, remaining_s = switching.request, switching.ports, switching.remaining_s
    if stored is not None and stored.execution != request.execution:
        raise ConfigError(
            f"{request.workload} is in {stored}: wait for its end, or stop that execution, which undoes it"
        )
    workload = ports.registry.one(request.workload, remaining_s)
    if workload.idle is None:
        raise ConfigError(
            f"{workload.name} has one fleet only, {workload.fleet}, so there is nothing to switch to: give "
            "its stack a GreenAutoScalingGroupName or a GreenServiceName"
        )
    observation = _observed_with_refreshes(switching, workload)
    if stored is not None:
        return _done(switching, _after_begin(stored), str(stored), to=stored.to)
    if request.to is not None and request.to is workload.color:
        _decided(switching, workload, observation, request.to, Reason.COLOR_IS_ACTIVE, outcome=Outcome.HELD)
        return _done(switching, Next.NOTHING_TO_DO, f"{request.to} is active already")
    to = workload.idle.color
    busy = busy_by_color(switching.ports, workload, switching.remaining_s)
    if refusal := refusal_to_begin(switching.ports, workload, observation, busy, switching.remaining_s):
        _refuse(switching, workload, observation, refusal)
    record = _record(switching, workload, observation, busy)
    if not switching.states.put_switch(workload.name, None, record):
        raise TransientError(f"somebody else has begun to switch {workload.name} meanwhile: look at it")
    if refusal := _held_meanwhile(switching, workload):
        switching.states.put_switch(workload.name, record, None)
        _refuse(switching, workload, observation, refusal)
    reason = Reason.ONLY_FLIPS if record.flips_only else Reason.SWITCH_BEGUN
    _decided(switching, workload, observation, to, reason, detail=f"to {to}; by {request.by}")
    return _done(switching, _after_begin(record), f"{reason}: {to}", to=to)


def _after_begin(record: Switch) -> Next:
    return Next.FLIP_ONLY if record.flips_only else Next.NEXT


def busy_by_color(ports: Ports, workload: Workload, remaining_s: RemainingS) -> Mapping[Color, int | Unknown]:
    """The instances of both colors of a blue/green workload that are protected from scale-in."""
    assert ports.occupancy is not None
    assert workload.idle is not None
    assert workload.color is not None
    busy = ports.occupancy.busy(workload.fleets, first_half(remaining_s))
    return {workload.color: busy[workload.fleet], workload.idle.color: busy[workload.idle.fleet]}


def refusal_to_begin(
    ports: Ports,
    workload: Workload,
    observation: Observation,
    busy: Mapping[Color, int | Unknown],
    remaining_s: RemainingS,
) -> Refusal | None:
    """Why no switch may begin now, with what else is read for that; None if one may."""
    assert ports.occupancy is not None
    assert ports.surges is not None
    holding = holds_in_force(ports, [workload.name], first_half(remaining_s))[workload.name]
    return why_not_begun(
        workload,
        observation,
        holding,
        {fleet: ports.surges.read(fleet) for fleet in workload.fleets},
        busy,
        ports.occupancy.finishes(workload.fleet, remaining_s),
        ports.now(),
    )


def _held_meanwhile(switching: _Switching, workload: Workload) -> Refusal | None:
    """Why the switch gives way to what began while it did: whoever is second sees the other."""
    name = workload.name
    holding = holds_in_force(switching.ports, [name], switching.remaining_s)[name]
    surges = [switching.surges.read(fleet).in_force(switching.now) for fleet in workload.fleets]
    guard = None if isinstance(holding, Unknown) or workload.guard is None else holding.guard
    pause = holding if isinstance(holding, Unknown) else holding.pause
    for held_by in (pause, guard, *surges):
        if held_by is not None:
            why = f"{name} was held while the switch began: {held_by}"
            return Refusal(reason=Reason.HELD, why=why, passes=True)
    return None


def _record(
    switching: _Switching, workload: Workload, observation: Observation, busy: Mapping[Color, int | Unknown]
) -> Switch:
    request = switching.request
    assert workload.idle is not None
    assert workload.color is not None
    was = {}
    for color in Color:
        capacity = reading_of(workload, observation, color)
        assert isinstance(capacity, Capacity)
        assert capacity.bounds is not None
        fields = switching.freezes.fields(colored(workload, color))
        was[color] = Was(
            fleet=str(colored(workload, color).fleet),
            minimum=capacity.bounds.min,
            desired=capacity.desired,
            fields=dict(fields),
        )
    old, backlog = observation.capacity, observation.backlog
    assert isinstance(old, Capacity)
    assert not isinstance(backlog, Unknown)
    return Switch(
        to=workload.idle.color,
        by=request.by,
        execution=request.execution,
        since=switching.now,
        step=Step.BEGIN,
        was=was,
        flips_only=only_flips(old, backlog),
        shows_work=shows_work(observation, busy),
    )


def _refuse(switching: _Switching, workload: Workload, observation: Observation, refusal: Refusal) -> None:
    """Log the refusal, and raise it."""
    color = workload.color
    assert color is not None
    _decided(
        switching,
        workload,
        observation,
        color.other,
        refusal.reason,
        detail=refusal.why,
        outcome=Outcome.HELD,
    )
    raise (TransientError if refusal.passes else ConfigError)(refusal.why)


def _freeze(switching: _Switching, workload: Workload, switch: Switch) -> StepDone:
    switch = _began(switching, switch)
    for color in Color:
        of = colored(workload, color)
        switching.freezes.put(of, held(switching.freezes.fields(of)))
    observation = _observed(switching, workload)
    _decided(switching, workload, observation, switch.old, Reason.COLORS_FROZEN)
    return _done(switching, Next.NEXT, Reason.COLORS_FROZEN, to=switch.to)


def _raise(switching: _Switching, workload: Workload, switch: Switch) -> StepDone:
    """Raise the new color: to what it is raised to is stored first, so that it is known what to undo."""
    observation = _observed(switching, workload)
    new, fleet = _known(reading_of(workload, observation, switch.to)), colored(workload, switch.to).fleet
    if switch.step is not Step.RAISE:
        _check_raised(workload, _known(reading_of(workload, observation, switch.old)), new)
        _known(observation.backlog)
        instances = needed(workload, observation, _target(switching, workload))
        switch = _stored_as(
            switching, switch, replace(switch.began(Step.RAISE, switching.now), needed=instances)
        )
    assert switch.needed is not None
    assert new.bounds is not None
    switching.colors.set_draining(workload.name, None)
    if new.bounds.min < workload.bounds.min:
        switching.surges.set_minimum(fleet, workload.bounds.min)
    if new.desired < switch.needed:
        switching.ports.fleets.set_desired(fleet, switch.needed)
    _decided(switching, workload, observation, switch.to, Reason.COLOR_RAISED, desired=switch.needed)
    return _done(switching, Next.NEXT, f"{switch.to} is to run {switch.needed} instances", to=switch.to)


def _check_raised(workload: Workload, old: Capacity, new: Capacity) -> None:
    """Raise ConfigError if the new color cannot get as many instances as the old one has."""
    assert workload.idle is not None
    if refusal := why_not_raised(workload, workload.idle, old, new):
        raise ConfigError(refusal.why)


def _target(switching: _Switching, workload: Workload) -> float:
    """Messages per instance, as the active color's policy has it now."""
    if workload.policy_arn is None:
        return initial_target(workload)
    return switching.ports.policies.read(workload, switching.remaining_s).target


def _ready(switching: _Switching, workload: Workload, switch: Switch) -> StepDone:
    switch = _began(switching, switch)
    observation = _observed_with_refreshes(switching, workload)
    switch = _raised_with_the_old(switching, workload, observation, switch)
    verdict = ready(
        switch,
        observation.backlog,
        reading_of(workload, observation, switch.to),
        _busy(switching, colored(workload, switch.to)),
        switching.now,
        switching.request.ready_s,
    )
    return _after_waiting(switching, workload, observation, switch, verdict, switch.to)


def _raised_with_the_old(
    switching: _Switching, workload: Workload, observation: Observation, switch: Switch
) -> Switch:
    """Raise the new color further where the old one has grown: what is active never drops at the flip."""
    old = reading_of(workload, observation, switch.old)
    new = reading_of(workload, observation, switch.to)
    if isinstance(old, Unknown) or isinstance(new, Unknown) or switch.needed is None:
        return switch
    has = max(old.running, old.desired)
    if has > switch.needed:
        _check_raised(workload, old, new)
        switch = _stored_as(switching, switch, replace(switch, needed=has))
    if new.desired < (switch.needed or 0):
        switching.ports.fleets.set_desired(colored(workload, switch.to).fleet, switch.needed or 0)
        _decided(switching, workload, observation, switch.to, Reason.COLOR_RAISED, desired=switch.needed)
    return switch


def _flip(switching: _Switching, workload: Workload, switch: Switch) -> StepDone:
    """Make the new color the active one, with the target of the old one."""
    observation = _observed(switching, workload)
    if workload.color is not switch.to:
        _still_as_decided(workload, observation, switch)
        switch = _began(switching, switch)
        old = colored(workload, switch.old)
        _copy_target(switching, workload, switch)
        if isinstance(old.fleet, EcsService) and not switch.flips_only:
            switching.freezes.put(old, held(switching.freezes.fields(old), IDLE))
        switching.colors.set_active(workload.name, switch.to)
    if switch.flipped_at is None:
        switch = _stored_as(
            switching, switch, replace(switch.began(Step.FLIP, switching.now), flipped_at=switching.now)
        )
        _decided(switching, workload, observation, switch.to, Reason.COLOR_FLIPPED)
    return _done(switching, _after_begin(switch), f"{switch.to} is active", to=switch.to)


def _still_as_decided(workload: Workload, observation: Observation, switch: Switch) -> None:
    """Raise if what the steps before have seen is not so any more."""
    new = _known(reading_of(workload, observation, switch.to))
    if switch.flips_only:
        old, backlog = _known(observation.capacity), _known(observation.backlog)
        if not only_flips(old, backlog):
            raise ConfigError(
                f"{workload.name} was empty and its fleet at zero when the switch began, and work has come "
                "meanwhile: give the command again"
            )
    elif switch.needed is None:
        raise ConfigError(f"{switch.to} of {workload.name} was not raised yet, so it cannot be active")
    elif new.running < switch.needed:
        raise TransientError(
            f"{switch.to} of {workload.name} runs {new.running} instances, and had {switch.needed} before"
        )


def _copy_target(switching: _Switching, workload: Workload, switch: Switch) -> None:
    new, policies = colored(workload, switch.to), switching.ports.policies
    if workload.policy_arn is None or new.policy_arn is None:
        return
    target = policies.read(workload, switching.remaining_s).target
    policy = policies.read(workload.with_active(switch.to), switching.remaining_s)
    if policy.target != target:
        policies.put_target(policy, target)


def _drain(switching: _Switching, workload: Workload, switch: Switch) -> StepDone:
    """Let AWS scale out the new color again; the old one receives no more, and finishes what it has."""
    _check_flipped(workload, switch)
    new = colored(workload, switch.to)
    switching.freezes.put(new, growing(switch, switching.freezes.fields(new)))
    switch = _told(switching, workload, _began(switching, switch, Step.DRAIN), switch.old)
    observation = _observed(switching, workload)
    return _after_waiting(
        switching,
        workload,
        observation,
        switch,
        _drained(switching, workload, observation, switch, switch.old),
    )


def _told(switching: _Switching, workload: Workload, switch: Switch, color: Color) -> Switch:
    """Let the workers of this color receive no more; if they did not know, the proof begins anew."""
    is_new = switching.colors.set_draining(workload.name, color)
    if switch.told_at is not None and not is_new:
        return switch
    return _stored_as(switching, switch, replace(switch, told_at=switching.now, quiet_since=None))


def _check_flipped(workload: Workload, switch: Switch) -> None:
    if workload.color is not switch.to:
        raise ConfigError(f"{switch.old} of {workload.name} is active, so it is neither drained nor retired")


def _drained(
    switching: _Switching, workload: Workload, observation: Observation, switch: Switch, color: Color
) -> Wait:
    return drained(
        switch,
        reading_of(workload, observation, color),
        _busy(switching, colored(workload, color)),
        switching.now,
        switching.request.drain_s,
    )


def _after_waiting(
    switching: _Switching,
    workload: Workload,
    observation: Observation,
    switch: Switch,
    verdict: Wait,
    color: Color | None = None,
) -> StepDone:
    if verdict.switch != switch:
        _stored_as(switching, switch, verdict.switch)
    outcome = {Next.NEXT: Outcome.ACTED, Next.WAIT: Outcome.HELD}.get(verdict.next, Outcome.FAILED)
    color = color or switch.old
    _decided(switching, workload, observation, color, verdict.reason, detail=verdict.detail, outcome=outcome)
    detail = f"{color}: {verdict.reason} ({verdict.detail})"
    return _done(switching, verdict.next, detail, to=switch.to, wait_s=verdict.wait_s)


def _retire(switching: _Switching, workload: Workload, switch: Switch) -> StepDone:
    """Set the old color to zero, once it is proven again that it works on nothing, and wait until it is."""
    if switch.step not in (Step.DRAIN, Step.RETIRE):
        return _drain(switching, workload, switch)
    _check_flipped(workload, switch)
    switch = _told(switching, workload, switch, switch.old)
    observation = _observed(switching, workload)
    old, of = reading_of(workload, observation, switch.old), colored(workload, switch.old)
    if switch.step is Step.DRAIN or _known(old).desired > 0:
        verdict = _drained(switching, workload, observation, switch, switch.old)
        if verdict.next is not Next.NEXT:
            return _after_waiting(switching, workload, observation, switch, verdict)
        switch = _began(switching, switch)
    if _known(old).desired > 0:
        # To ask for less than the group's own minimum is refused.
        _set_minimum(switching, _known(old), of.fleet, 0)
        switching.ports.fleets.set_desired(of.fleet, 0)
        _decided(switching, workload, observation, switch.old, Reason.COLOR_RETIRED, desired=0)
    elif is_at_zero(_known(old)):
        return _done(switching, Next.NEXT, f"{switch.old} is at zero", to=switch.to)
    return _ending(switching, switch, switch.old)


def _ending(switching: _Switching, switch: Switch, color: Color) -> StepDone:
    """Wait for AWS to end instances, which still could receive if they were told that they may."""
    waited = switching.now - (switch.waits_since or switching.now)
    is_late = waited.total_seconds() >= switching.request.drain_s
    detail = f"{color} ends its instances"
    if is_late:
        return _done(switching, Next.TIMED_OUT, detail, to=switch.to)
    return _done(switching, Next.WAIT, detail, to=switch.to, wait_s=SHORT_S)


def _finish(switching: _Switching, workload: Workload, switch: Switch) -> StepDone:
    """Put back what the switch has held; the record goes last."""
    if workload.color is not switch.to:
        return _roll_back(switching, workload, switch)
    switch = _began(switching, switch)
    _thaw(switching, workload, switch, switch.to)
    observation = _observed(switching, workload)
    if left_s := fades_in_s(switch, switching.now):
        _decided(switching, workload, observation, switch.old, Reason.ALARMS_FADE, outcome=Outcome.HELD)
        return _done(switching, Next.WAIT, Reason.ALARMS_FADE, to=switch.to, wait_s=left_s)
    old, of = _known(reading_of(workload, observation, switch.old)), colored(workload, switch.old)
    # One that stays up keeps its minimum; to put back that of one at zero would start it.
    minimum = min(switch.was[switch.old].minimum, old.desired)
    if old.bounds is not None and old.bounds.min != minimum:
        switching.surges.set_minimum(of.fleet, minimum)
    _thaw(switching, workload, switch, switch.old)
    switching.colors.set_draining(workload.name, None)
    _end(switching, workload, switch)
    if old.desired > 0:
        detail = f"{switch.old}, {of.fleet}, {old.desired} instances"
        _decided(
            switching,
            workload,
            observation,
            switch.old,
            Reason.COLOR_STAYS,
            detail=detail,
            outcome=Outcome.FAILED,
        )
        return _done(switching, Next.TIMED_OUT, f"{Reason.COLOR_STAYS}: {detail}", to=switch.to)
    _decided(switching, workload, observation, switch.to, Reason.SWITCH_FINISHED)
    return _done(switching, Next.NEXT, f"{switch.to} is active, {switch.old} is at zero", to=switch.to)


def _roll_back(switching: _Switching, workload: Workload, switch: Switch) -> StepDone:
    """Put everything back as it was; after the flip, all but the color and the old one's size."""
    if workload.color is switch.to:
        if switch.flipped_at is None:
            switch = _stored_as(switching, switch, replace(switch, flipped_at=switching.now))
        return _finish(switching, workload, switch)
    switch = _began(switching, switch, Step.ROLL_BACK)
    _thaw(switching, workload, switch, switch.old)
    of = colored(workload, switch.to)
    if switch.flipped_at is not None:
        # Somebody has put the color back by hand; AWS still has points of the new one, which it acts on.
        switching.freezes.put(of, held(switching.freezes.fields(of), IDLE))
    observation = _observed(switching, workload)
    lowered = _lowered(switching, workload, switch, observation)
    if isinstance(lowered, StepDone):
        return lowered
    if left_s := undone_fades_in_s(switch, switching.now):
        return _done(switching, Next.WAIT, Reason.ALARMS_FADE, to=switch.to, wait_s=left_s)
    new = reading_of(workload, observation, switch.to)
    if isinstance(new, Capacity):
        _set_minimum(switching, new, of.fleet, switch.was[switch.to].minimum)
    _thaw(switching, workload, switch, switch.to)
    switching.colors.set_draining(workload.name, None)
    _end(switching, workload, switch)
    if lowered is not None:
        detail = f"{switch.to}, {of.fleet}; {lowered.detail}"
        _decided(
            switching,
            workload,
            observation,
            switch.to,
            Reason.COLOR_STAYS,
            detail=detail,
            outcome=Outcome.FAILED,
        )
        return _done(switching, Next.TIMED_OUT, f"{Reason.COLOR_STAYS}: {detail}", to=switch.to)
    _decided(switching, workload, observation, switch.old, Reason.SWITCH_UNDONE)
    return _done(switching, Next.NEXT, Reason.SWITCH_UNDONE, to=switch.to)


def _lowered(
    switching: _Switching, workload: Workload, switch: Switch, observation: Observation
) -> StepDone | Wait | None:
    """Lower the new color to what it had, once it works on nothing: what to wait for, or None if it has.

    A `Wait` is the proof that did not come in time: the color stays up.
    """
    new, was = reading_of(workload, observation, switch.to), switch.was[switch.to]
    if isinstance(new, Capacity) and max(new.desired, new.running + new.ending) <= was.desired:
        return None
    switch = _told(switching, workload, switch, switch.to)
    verdict = _drained(switching, workload, observation, switch, switch.to)
    if verdict.next is Next.WAIT:
        return _after_waiting(switching, workload, observation, switch, verdict, switch.to)
    if verdict.next is Next.TIMED_OUT:
        return verdict
    if _known(new).desired > was.desired:
        fleet = colored(workload, switch.to).fleet
        _set_minimum(switching, _known(new), fleet, was.minimum)
        switching.ports.fleets.set_desired(fleet, was.desired)
        _decided(switching, workload, observation, switch.to, Reason.COLOR_DRAINED, desired=was.desired)
        detail = f"{switch.to} ends its instances"
        return _done(switching, Next.WAIT, detail, to=switch.to, wait_s=SHORT_S)
    ending = _ending(switching, switch, switch.to)
    return ending if ending.outcome is Next.WAIT else None


def _set_minimum(switching: _Switching, fleet_has: Capacity, fleet: Fleet, minimum: int) -> None:
    if fleet_has.bounds is not None and fleet_has.bounds.min != minimum:
        switching.surges.set_minimum(fleet, minimum)


_STEPS: Mapping[Step, Callable[[_Switching, Workload, Switch], StepDone]] = {
    Step.FREEZE: _freeze,
    Step.RAISE: _raise,
    Step.READY: _ready,
    Step.FLIP: _flip,
    Step.DRAIN: _drain,
    Step.RETIRE: _retire,
    Step.FINISH: _finish,
    Step.ROLL_BACK: _roll_back,
    Step.RESTORE: _roll_back,
}


# --- what the steps have in common ------------------------------------------------------------------------


def _stored(switching: _Switching) -> Switch | None:
    """The switch in progress; raises ConfigError for one that cannot be read."""
    name = switching.request.workload
    found = switching.states.read([name], first_half(switching.remaining_s))[name]
    if isinstance(found, Unknown):
        if found.defect:
            raise found.defect
        raise TransientError(f"whether {name} is switched is unknown: {found.reason}")
    if found is None or found.switch is None:
        return None
    if isinstance(found.switch, Unknown):
        raise ConfigError(
            f"{name}: {found.switch.reason}; look at both fleets, then delete the attribute `switch` of its "
            "item in the table of states"
        )
    return found.switch


def _began(switching: _Switching, switch: Switch, step: Step | None = None) -> Switch:
    """The record of this step, stored, so that what it touches is known before it does."""
    began = switch.began(step or switching.request.step, switching.now)
    return switch if began == switch else _stored_as(switching, switch, began)


def _stored_as(switching: _Switching, switch: Switch, later: Switch) -> Switch:
    name = switching.request.workload
    if not switching.states.put_switch(name, switch, later):
        raise TransientError(f"another invocation goes on with the switch of {name} at the same time")
    return later


def _end(switching: _Switching, workload: Workload, switch: Switch) -> None:
    if not switching.states.put_switch(workload.name, switch, None):
        raise TransientError(f"another invocation goes on with the switch of {workload.name} meanwhile")


def _thaw(switching: _Switching, workload: Workload, switch: Switch, color: Color) -> None:
    """Put back what holds AWS's own scaling of a color."""
    of = colored(workload, color)
    switching.freezes.put(of, thawed(switch, color, switching.freezes.fields(of)))


def _observed(switching: _Switching, workload: Workload) -> Observation:
    return observe(switching.ports, [workload], first_half(switching.remaining_s))[workload.name]


def _observed_with_refreshes(switching: _Switching, workload: Workload) -> Observation:
    return observe_colors(switching.ports, workload, switching.remaining_s)


def observe_colors(ports: Ports, workload: Workload, remaining_s: RemainingS) -> Observation:
    """A reading of queue and fleets in which an instance refresh of a group counts as a deployment does."""
    seen = observe(ports, [workload], first_half(remaining_s))[workload.name]
    groups = [fleet for fleet in workload.fleets if isinstance(fleet, AutoScalingGroup)]
    refreshed: Mapping[Fleet, bool | Unknown] = {}
    if groups:
        assert ports.occupancy is not None
        refreshed = dict(ports.occupancy.refreshed(groups, first_half(remaining_s)).items())
    assert workload.idle is not None
    assert seen.idle is not None
    return replace(
        seen,
        capacity=_with_refresh(seen.capacity, refreshed.get(workload.fleet, False)),
        idle=_with_refresh(seen.idle, refreshed.get(workload.idle.fleet, False)),
    )


def _with_refresh(capacity: Capacity | Unknown, refreshed: bool | Unknown) -> Capacity | Unknown:
    if isinstance(capacity, Unknown) or isinstance(refreshed, Unknown):
        return refreshed if isinstance(refreshed, Unknown) else capacity
    refresh = ("an instance refresh replaces its instances",) if refreshed else ()
    return replace(capacity, scale_in_blocked_by=(*capacity.scale_in_blocked_by, *refresh))


def _busy(switching: _Switching, of: ColoredFleet) -> int | Unknown:
    return switching.occupancy.busy([of.fleet], switching.remaining_s)[of.fleet]


def _known(reading: Reading | Unknown) -> Reading:
    if isinstance(reading, Unknown):
        raise TransientError(f"a reading is missing, and unknown is not zero: {reading.reason}")
    return reading


def _decided(
    switching: _Switching,
    workload: Workload,
    observation: Observation,
    color: Color,
    reason: Reason,
    *,
    detail: str = "",
    desired: int | None = None,
    outcome: Outcome = Outcome.ACTED,
) -> None:
    """Log the decision about this color."""
    decision = Decision(
        workload=workload.name,
        kind=Kind.SWITCH,
        trigger=Trigger.OPERATOR,
        reason=reason,
        observation=seen_from(workload, observation, color),
        desired=desired,
        detail=detail,
        subject=f"{switching.request.step} of {color}",
    )
    switching.report.decided(decision, outcome, colored(workload, color).fleet)


def _done(
    switching: _Switching, outcome: Next, detail: str, *, to: Color | None = None, wait_s: int = 0
) -> StepDone:
    request = switching.request
    return StepDone(
        workload=request.workload, to=to or request.to, outcome=outcome, detail=detail, wait_s=wait_s
    )
