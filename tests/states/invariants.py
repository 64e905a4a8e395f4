"""What must hold: of every state, of every change, and of every invocation that has ended.

What an invocation has read decides which changes are right. They are judged twice: by the rules of the
random interleavings (`tests/chaos`), and by the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from sluice.core.minutes import MINUTE
from sluice.core.model import Backlog, Decision, Reason, Unknown
from sluice.core.model import Kind as Decided
from sluice.ports import Outcome
from tests.chaos.actions import Snapshot, resize_violations
from tests.chaos.audit import REASONS
from tests.chaos.cloud import Event
from tests.states.model import IDLE_MINUTES, Actor, Answer, Kind, Scope, World
from tests.states.reference import Seen, promised
from tests.states.replay import FAILED, NAME, NOW, Call, End, capacity_of, served
from tests.support.builders import alarm


def of_state(world: World, scope: Scope) -> Iterator[str]:
    """The fleet stays within its bounds, and a minimum that a surge has raised has an end.

    While surges and their ends are under way at once, a minimum may be without its end: the last of them puts
    it back. The fair runs see whether it does.
    """
    if not world.minimum <= world.desired <= scope.instances:
        yield f"{world.desired} are desired, outside {world.minimum}..{scope.instances}"
    if world.minimum < scope.minimum:
        yield f"the minimum is {world.minimum}, below the {scope.minimum} that people have set"
    if any(actor.kind.surges for actor in world.actors):
        return
    if world.minimum > scope.minimum and not any(each.before == scope.minimum for each in world.surges):
        yield f"the minimum stays at {world.minimum}: no scheduled action puts {scope.minimum} back"


def at_call(actor: Actor, call: Call, scope: Scope) -> list[str]:
    """What is wrong with this change, by what the invocation has read and by who has held the fleet."""
    kind, found = actor.kind, []
    if call.name == "set_desired":
        found += _of_resize(kind, actor.answers, actor.age, call.detail, scope)
    if call.name in ("set_desired", "set_minimum", "schedule_end") and _is_held(actor, call):
        found.append(f"changes a fleet that has been paused {actor.began_paused} since before it began")
    return found


def _is_held(actor: Actor, call: Call) -> bool:
    """Whether an operator has held this direction all along; a pause that cannot be read holds no start."""
    if actor.kind is Kind.END_SURGE or not actor.began_paused:
        return False
    fleets = [answer.value for answer in actor.answers if answer.call == "fleet" and answer.value]
    lowers = call.name == "set_desired" and bool(fleets) and call.detail < fleets[-1][0]  # type: ignore[index]
    readings = [answer.value for answer in actor.answers if answer.call == "pause"]
    return actor.began_paused in ("both", "in" if lowers else "out") and readings[-1:] != [None]


@cache
def _of_resize(
    kind: Kind, answers: tuple[Answer, ...], minute: int, instances: int, scope: Scope
) -> tuple[str, ...]:
    seen = seen_by(answers, before_an_act=True)
    read_at = answers[-1].minute if answers else minute
    found = list(resize_violations(_event(kind), _snapshot(kind, seen, read_at, scope), instances))
    if (wanted := promised(kind, seen, read_at, scope.instances)) != instances:
        found.append(f"sets {instances}, and the README promises {wanted} after {seen}")
    return tuple(found)


def at_end(actor: Actor, end: End, scope: Scope) -> list[str]:
    return list(_of_end(actor.kind, actor.answers, end, scope))


@cache
def _of_end(kind: Kind, answers: tuple[Answer, ...], end: End, scope: Scope) -> tuple[str, ...]:
    """Every change has its reason, and nothing that is promised was left undone."""
    found = []
    taken = [answer for answer in answers if answer.call == "set_desired"]
    logged = [
        (decision, outcome)
        for decision, outcome in end.decisions
        if outcome in (Outcome.ACTED, Outcome.FAILED)
        and decision.kind in (Decided.BOOTSTRAP, Decided.SHUTDOWN)
    ]
    if len(taken) != len(logged):
        found.append(f"{len(taken)} changes, and these are logged: {logged}")
    for decision, _ in end.decisions:
        number = decision.desired if isinstance(decision, Decision) else None
        if number is not None and decision.reason is not REASONS[decision.kind]:
            found.append(f"{number} instances by reason of {decision.reason}")
    failed = any(answer.value is None or answer.value == "refused" for answer in answers)
    if failed and not end.error and not kind.is_tick and not kind.surges:
        unread = any(decision.reason is Reason.UNKNOWN_READING for decision, _ in end.decisions)
        if unread:
            found.append("a reading failed, and nobody tries again")
    if not kind.surges and not end.error:
        minute = answers[-1].minute if answers else 0
        if (wanted := promised(kind, seen_by(answers), minute, scope.instances)) is not None:
            found.append(f"ends, and the README promises {wanted} after {seen_by(answers)}")
    return tuple(found)


def seen_by(answers: tuple[Answer, ...], *, before_an_act: bool = False) -> Seen:
    """What was read since the last act; an act counts on nothing that a tick read before it published."""
    seen, last = Seen(), ("set_desired", "publish") if before_an_act else ("set_desired",)
    for call, _, value in answers:
        if call in last:
            seen = Seen()
        elif call == "proof":
            seen.proof = None if value is None else dict(value)  # type: ignore[call-overload]
        elif call in ("queue", "fleet", "pause"):
            setattr(seen, call, value)
    return seen


def _snapshot(kind: Kind, seen: Seen, minute: int, scope: Scope) -> Snapshot:
    """The same for the rules of the random interleavings."""
    document = served(scope.minimum, scope.instances)
    counts = seen.queue
    backlog = (
        Backlog(visible=counts[0], in_flight=counts[1], delayed=0) if isinstance(counts, tuple) else FAILED
    )
    capacity = capacity_of(seen.fleet if isinstance(seen.fleet, tuple) else None, document)  # type: ignore[arg-type]
    proof: list[float | None] | Unknown = FAILED
    if isinstance(seen.proof, dict):
        newest = [end for end in (minute, minute - 1, minute - 2) if end in seen.proof] or [minute - 2]
        last = {Kind.TICK: -1, Kind.LATE_TICK: -2}.get(kind, newest[0])
        proof = [seen.proof.get(last - back) for back in range(IDLE_MINUTES)]
    return Snapshot(document=document, read_at=NOW, backlog=backlog, capacity=capacity, proof=proof)


def _event(kind: Kind) -> Event:
    if kind.is_tick:
        return Event(tick=NOW - MINUTE * (kind is Kind.LATE_TICK))
    return Event(alarm=alarm("bootstrap" if kind is Kind.BOOTSTRAP_ALARM else "shutdown", NAME))
