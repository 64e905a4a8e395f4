"""What may happen next in a state: the world moves, an invocation starts, or one goes on by a step.

A step of an invocation ends before its next change of AWS. So whatever happens between a reading and the
act on it, another invocation's act included, is a state of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.states.invariants import at_call, at_end
from tests.states.model import MISSING, Actor, Answer, Point, Scope, StoredSurge, World
from tests.states.replay import Call, End, next_call

MAX_AGE = 1
"""Minutes that pass while an invocation is under way."""
LATE_MIN = 2
"""AWS executes a scheduled action up to two minutes late."""


class Move(NamedTuple):
    """What happens, and what is wrong with it."""

    label: str
    world: World
    violations: tuple[str, ...] = ()


def moves(world: World, scope: Scope) -> Iterator[Move]:
    """Every move of this state."""
    if scope.meanwhile is None:
        yield from world_moves(world, scope)
    elif all(actor.moved < scope.meanwhile for actor in world.actors):
        actors = tuple(actor._replace(moved=actor.moved + 1) for actor in world.actors)
        yield from world_moves(_sorted(world._replace(actors=actors)), scope)
    yield from invocations_start(world, scope)
    for actor in dict.fromkeys(world.actors):
        yield from goes_on(world, actor, scope)


def world_moves(world: World, scope: Scope) -> Iterator[Move]:
    """What messages, instances, operators and the clock do."""
    yield from messages_move(world, scope)
    yield from instances_move(world, scope)
    yield from operators_move(world, scope)
    yield from time_passes(world)


def messages_move(world: World, scope: Scope) -> Iterator[Move]:
    visible, in_flight = world.visible, world.in_flight
    if world.total < scope.messages:
        yield Move("a message arrives", world._replace(visible=visible + 1))
    if visible and in_flight < world.running:
        received = world._replace(visible=visible - 1, in_flight=in_flight + 1)
        yield Move("a message is received", received)
    if in_flight:
        yield Move("a message is deleted", world._replace(in_flight=in_flight - 1))
        returned = world._replace(visible=visible + 1, in_flight=in_flight - 1)
        yield Move("a message is returned", returned)


def instances_move(world: World, scope: Scope) -> Iterator[Move]:
    """An instance that fails to boot changes no count; AWS launches the next one."""
    desired, running = world.desired, world.running
    if running < desired:
        yield Move("an instance boots", world._replace(running=running + 1))
    if running:
        why = "is ended by AWS" if running > desired else "fails"
        yield Move(f"an instance {why}", world._replace(running=running - 1))
    if desired and world.pause != "both":
        if desired < scope.instances and world.pause != "out":
            yield Move("target tracking adds an instance", _sized(world, desired + 1, scope))
        if desired > max(world.minimum, 1) and world.pause != "in":
            yield Move("target tracking removes an instance", _sized(world, desired - 1, scope))


def operators_move(world: World, scope: Scope) -> Iterator[Move]:
    for held in scope.pauses:
        if held != world.pause:
            yield Move(f"an operator pauses {held}", _paused(world, held))
    if world.pause:
        yield Move("an operator resumes", _paused(world, ""))


def time_passes(world: World) -> Iterator[Move]:
    if any(each.left <= 0 for each in world.surges):
        yield Move("AWS ends the surge that is due", hands_back(world))
    if any(actor.age == MAX_AGE for actor in world.actors):
        return
    if all(each.left > -LATE_MIN for each in world.surges):
        yield Move("a minute passes", a_minute_later(world))


def a_minute_later(world: World) -> World:
    readable = tuple(None if point is None else (point[0], True) for point in world.points[:-1])
    return _sorted(
        world._replace(
            points=(MISSING, *readable),
            desired_before=world.desired,
            surges=tuple(each._replace(left=each.left - 1) for each in world.surges),
            actors=tuple(actor._replace(age=actor.age + 1) for actor in world.actors),
        )
    )


def hands_back(world: World) -> World:
    """AWS executes every scheduled action that is due."""
    for each in world.surges:
        if each.left <= 0:
            world = world._replace(
                minimum=each.before,
                desired=max(world.desired, each.before),
                surges=tuple(other for other in world.surges if other != each),
            )
    return world


def invocations_start(world: World, scope: Scope) -> Iterator[Move]:
    if len(world.actors) >= scope.actors:
        return
    for kind in scope.kinds:
        actor = Actor(kind, 0, (), world.pause)
        yield from goes_on(_with(world, actor), actor, scope, began=True)


def goes_on(world: World, actor: Actor, scope: Scope, *, began: bool = False) -> Iterator[Move]:
    """The invocation makes its next change, or reads up to it; each thing that it may read is a move."""
    others = _without(world, actor)
    for label, after, on, violations in _steps(others, actor, scope):
        moved = after if on is None else _with(after, on)
        yield Move(f"{actor.kind}{' begins and' if began else ''} {label}", moved, tuple(violations))


def _steps(world: World, actor: Actor, scope: Scope) -> Iterator[tuple[str, World, Actor | None, list[str]]]:
    call = following(actor, scope)
    if isinstance(call, Call) and call.changes:
        violations = at_call(actor, call, scope)
        after, value = changed(world, actor, call, scope)
        on = _answered(actor, call, value)
        done = following(on, scope)
        said = f"{_said(call)}" + ("" if value == "done" else f", and AWS has {value} it")
        if isinstance(done, End):
            yield said, after, None, violations + at_end(on, done, scope)
        else:
            yield said, after, on, violations
        return
    yield from _reads(world, actor, scope, [], is_fresh=True)


def _reads(
    world: World, actor: Actor, scope: Scope, seen: list[str], *, is_fresh: bool
) -> Iterator[tuple[str, World, Actor | None, list[str]]]:
    """Read until the next change; at most one of the readings is stale or unknown."""
    call = following(actor, scope)
    if isinstance(call, End):
        said = ", ".join(seen) or "has nothing to read"
        yield f"reads {said}; {_ended(call)}", world, None, at_end(actor, call, scope)
        return
    if call.changes or (scope.every_call and seen):
        yield f"reads {', '.join(seen)}", world, actor, []
        return
    fresh = reading(world, actor, call)
    on = _answered(actor, call, fresh)
    yield from _reads(world, on, scope, [*seen, _shown(call, fresh)], is_fresh=is_fresh)
    if is_fresh:
        for what, value in _not_fresh(world, call, fresh, scope):
            on = _answered(actor, call, value)
            shown = f"{what}: {_shown(call, value)}"
            yield from _reads(world, on, scope, [*seen, shown], is_fresh=False)


def reading(world: World, actor: Actor, call: Call) -> object:
    """What AWS answers now, with every minute counted since the invocation began."""
    match call.name:
        case "queue":
            return world.visible, world.in_flight
        case "fleet":
            return world.desired, world.running, world.minimum
        case "pause":
            return world.pause
        case "surges":
            return tuple(each._replace(left=each.left + actor.age) for each in world.surges)
        case "proof":
            start, end = call.detail
            return tuple(
                (actor.age - back, point[0])
                for back, point in enumerate(world.points)
                if point is not None and point[1] and start <= actor.age - back < end
            )
    raise AssertionError(call)


def _not_fresh(world: World, call: Call, fresh: object, scope: Scope) -> Iterator[tuple[str, object]]:
    if scope.is_unknown and call.name in ("queue", "fleet", "pause", "proof"):
        yield "unknown", None
    if scope.is_stale and call.name == "queue":
        if world.visible:
            yield "stale", (world.visible - 1, world.in_flight)
        if world.total < scope.messages:
            yield "stale", (world.visible + 1, world.in_flight)
    if scope.is_stale and call.name == "fleet" and world.desired != world.desired_before:
        yield "stale", (world.desired_before, world.running, world.minimum)


def changed(world: World, actor: Actor, call: Call, scope: Scope) -> tuple[World, str]:
    """The world after the change, and AWS's answer."""
    match call.name:
        case "publish":
            minute, value = call.detail
            return _published(world, actor.age - minute, value > 0, scope), "done"
        case "set_desired":
            if not world.minimum <= call.detail <= scope.instances:
                return world, "refused"
            return _sized(world, call.detail, scope), "done"
        case "set_minimum":
            if call.detail > scope.instances:
                return world, "refused"
            return _sized(world._replace(minimum=call.detail), max(world.desired, call.detail), scope), "done"
        case "schedule_end":
            surge: StoredSurge = call.detail._replace(left=call.detail.left - actor.age)
            others = tuple(each for each in world.surges if _name(each) != _name(surge))
            if surge.left <= 0 or any(each.left == surge.left for each in others):
                return world, "refused"
            return world._replace(surges=tuple(sorted((*others, surge)))), "done"
        case "cancel":
            left = tuple(each for each in world.surges if _name(each) != _name(call.detail))
            return world._replace(surges=left), "done"
    raise AssertionError(call)


def following(actor: Actor, scope: Scope) -> Call | End:
    return next_call(actor.kind, actor.answers, scope.minimum, scope.instances)


def _answered(actor: Actor, call: Call, value: object) -> Actor:
    return actor._replace(answers=(*actor.answers, Answer(call.name, actor.age, value)))


def _name(surge: StoredSurge) -> tuple[str, int]:
    return surge.by, surge.instances


def _published(world: World, back: int, is_above_zero: bool, scope: Scope) -> World:
    """The higher of two points of one minute counts."""
    points: list[Point | None] = list(world.points)
    before = points[back]
    value = max(int(is_above_zero), before[0] if before else 0)
    is_readable = not scope.is_late or back > 0 or bool(before and before[1])
    points[back] = (value, is_readable)
    return world._replace(points=tuple(points))


def _sized(world: World, desired: int, scope: Scope) -> World:
    before = world.desired if scope.is_stale else world.desired_before
    return world._replace(desired=desired, desired_before=before)


def _paused(world: World, held: str) -> World:
    """Another pause: no invocation under way has begun under it."""
    actors = tuple(actor._replace(began_paused="") for actor in world.actors)
    return _sorted(world._replace(pause=held, actors=actors))


def _with(world: World, actor: Actor) -> World:
    return _sorted(world._replace(actors=(*world.actors, actor)))


def _without(world: World, actor: Actor) -> World:
    actors = list(world.actors)
    actors.remove(actor)
    return world._replace(actors=tuple(actors))


def _sorted(world: World) -> World:
    if len(world.actors) < 2:
        return world
    return world._replace(actors=tuple(sorted(world.actors, key=_number)))


def _number(actor: Actor) -> int:
    """Actors in the order in which they were first met, which is cheaper than comparing what they read."""
    return _NUMBERS.setdefault(actor, len(_NUMBERS))


_NUMBERS: dict[Actor, int] = {}


def _said(call: Call) -> str:
    match call.name:
        case "publish":
            return f"publishes {call.detail[1]:g}"
        case "set_desired":
            return f"sets the desired count to {call.detail}"
        case "set_minimum":
            return f"sets the minimum to {call.detail}"
        case "schedule_end":
            return f"schedules that AWS sets the minimum to {call.detail.before} in {call.detail.left} min"
    return "cancels a scheduled end"


def _shown(call: Call, value: object) -> str:
    if value is None:
        return f"{call.name} unknown"
    match call.name:
        case "queue":
            return "{} visible and {} in flight".format(*value)  # type: ignore[misc]
        case "fleet":
            return "{1} of {0} running, minimum {2}".format(*value)  # type: ignore[misc]
        case "pause":
            return f"paused {value}" if value else "no pause"
    return f"{call.name} {value}"


def _ended(end: End) -> str:
    said = [f"{decision.reason}" for decision, _ in end.decisions]
    return "ends" + (f": {'; '.join(said)}" if said else "") + (f" ({end.error})" if end.error else "")
