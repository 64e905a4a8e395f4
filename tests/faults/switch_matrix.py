"""The switch in the matrix: each AWS call of each step fails, and the execution goes on, or is stopped there.

A healthy run of each scenario is played as the state machine of template.yaml has it. Each cell starts from
what was before one of its invocations, lets one call of that fail, and plays on to the end: either the switch
goes on, or everything is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache

from tests.faults.account import Invocation, understood
from tests.faults.calls import Call, Fault
from tests.faults.colors import KINDS, Pair, World, at_first, deployed_pair
from tests.faults.faults import PASSING, WrongAnswer, no_answer
from tests.faults.responses import corruptions
from tests.faults.timeline import Timeline
from tests.support.switch_machine import AFTER_THE_FLIP, ENDS, RESTORED_AFTER_S, UNDOES, after, after_failure

LAST_INVOCATION = 120
RETRIED_AFTER_S = 10
TOLD_FOR_S = MINUTE_S = 60
SHORT_S, LONG_S = 75, 430
LOST_OR_DONE = (("access denied", False), ("connection reset", False), ("connection reset", True))
"""AWS has not executed the call, or it has and nobody knows; and the execution is stopped then, or not."""
HOW_ELSE = ("timed out", "not found", "garbled", "slow", "connection reset once")
OF_A_SWITCH = (
    "DescribeInstanceRefreshes",
    "GetTaskProtection",
    "ListTasks",
    "PutParameter",
    "ResumeProcesses",
    "SuspendProcesses",
)
"""The operations that no other use case makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How a switch goes without a fault."""

    name: str
    first: World = field(default_factory=at_first)
    stopped_after: tuple[str, int] | None = None
    """The execution is stopped after so many invocations of this step."""
    green_works: bool = True
    """Whether green's workers take messages; else it is never ready."""


SCENARIOS = (
    Scenario(name="switch"),
    Scenario(name="flip only", first=at_first(minimum=0, blue=0, has_messages=False)),
    Scenario(name="time-out", green_works=False),
    Scenario(name="abort before the flip", stopped_after=("raise", 1)),
    Scenario(name="abort after the flip", stopped_after=("drain", 1)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What there is before an invocation: the account, and where the state machine is."""

    world: World
    step: str
    at_s: float = 0
    told_s: float | None = None
    """Since when the draining color receives no more; None while both receive."""
    attempts: int = 0
    made: tuple[str, ...] = ()
    """The steps that were asked for."""


@dataclass(eq=False)
class Play:
    """A switch of a pair, invocation by invocation, and what must hold at each."""

    pair: Pair
    scenario: Scenario
    moment: Moment
    hurries: bool = False
    """Whether it waits for longer than it is told to, which takes fewer invocations."""

    @property
    def is_over(self) -> bool:
        """Whether the execution has ended."""
        return self.moment.step in ENDS

    def invoke(
        self, target: tuple[Call, Fault] | None = None, *, stopped: bool = False, warm: bool = False
    ) -> Invocation:
        """One invocation; after it, the state machine goes on, or is stopped and restored."""
        before = self.moment
        event = {"step": before.step, "ready_minutes": 2, "drain_minutes": 60}
        ended = self.pair.invoke(event, at_s=before.at_s, target=target, warm=warm)
        found = self.pair.world()
        self._stays_safe(before, found)
        made = (*before.made, before.step)
        at_s = before.at_s + ended.elapsed_s
        is_told = found.draining != "none"
        told_s = before.told_s if is_told and found.draining == before.world.draining else None
        now = replace(
            before,
            world=found,
            at_s=at_s,
            told_s=at_s if is_told and told_s is None else told_s,
            made=made,
        )
        limit = self.scenario.stopped_after
        if stopped or (limit is not None and made.count(limit[0]) == limit[1] and made[-1] == limit[0]):
            self.moment = self._later(replace(now, step="restore", attempts=0), RESTORED_AFTER_S)
        else:
            self.moment = self._onward(now, ended)
        return ended

    def _onward(self, now: Moment, ended: Invocation) -> Moment:
        step = now.step
        if ended.failure is not None:
            then, attempts = after_failure(step, ended.failure, now.attempts)
            if then == step:
                return self._later(replace(now, attempts=attempts), RETRIED_AFTER_S)
            return replace(now, step=then, attempts=0)
        outcome = ended.answer["outcome"]
        if outcome == "wait":
            return self._later(replace(now, attempts=0), ended.answer["wait_s"])
        return replace(now, step=after(step, outcome), attempts=0)

    def _later(self, now: Moment, seconds: float) -> Moment:
        """Meanwhile the workers finish what they have, and take more where they may."""
        world = now.world
        busy = {
            color: min(world.of(color).desired, 2) if world.draining != color and world.has_messages else 0
            for color in ("blue", "green")
        }
        if not self.scenario.green_works:
            busy["green"] = 0
        world = world.with_busy(**busy)
        self.pair.put(world)
        if self.hurries:
            seconds = LONG_S if now.step in UNDOES and seconds >= MINUTE_S else max(seconds, SHORT_S)
        return replace(now, world=world, at_s=now.at_s + seconds)

    def _stays_safe(self, before: Moment, after: World) -> None:
        """Whatever this invocation was told, it has ended no work, and left the active color as it was."""
        was, told_s = before.world, before.told_s
        for color in ("blue", "green"):
            had, has = was.of(color), after.of(color)
            if has.desired < had.desired:
                is_proven = (
                    told_s is not None and before.at_s - told_s >= TOLD_FOR_S and was.draining == color
                )
                assert had.busy == 0, f"{before.step} lowers {color}, which works: {before}"
                assert is_proven, f"{before.step} lowers {color} without a proof: {before}"
                assert color != after.active, f"{before.step} lowers {color}, which is active: {before}"
            if has.desired > had.desired:
                assert before.step in ("raise", "ready"), f"{before.step} raises {color}: {before}"
                assert color == "green", f"{before.step} raises {color}, which is active: {before}"
        if after.active != was.active:
            assert before.step == "flip"
            assert after.green.desired >= self.scenario.first.blue.desired
        assert after.has_messages == was.has_messages

    def to_the_end(self) -> None:
        """Play on without a fault; the whole rest of it must be safe."""
        self.hurries = True
        for _ in range(LAST_INVOCATION):
            if self.is_over:
                return
            ended = self.invoke(warm=True)
            assert understood(ended.failure), f"a defect: {ended.failure!r}"
        raise AssertionError(f"no end after {LAST_INVOCATION} steps: {self.moment}")

    def has_ended_well(self) -> None:
        """Either the new color is in charge, or all is as it was; and nothing of the switch is left."""
        world, first = self.pair.world(), self.scenario.first
        assert (world.record, world.draining) == (None, "none"), f"left behind: {self.moment}"
        assert [of.held for of in world.colors] == [of.held for of in first.colors], f"still held: {world}"
        if world.active == "blue":
            assert [of.size for of in world.colors] == [of.size for of in first.colors], f"changed: {world}"
            # A target that was copied before the flip stays with the color that is not active.
            assert world.blue.target == first.blue.target
            return
        assert world.blue.size in ((0, 0), first.blue.size), f"blue is left half way: {world}"
        assert world.green.desired >= first.blue.desired
        assert world.green.target == first.blue.target
        assert world.blue.target == first.blue.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoked:
    """One invocation of a healthy run."""

    kind: str
    scenario: Scenario
    place: int
    moment: Moment
    ended: Invocation

    def __str__(self) -> str:
        return f"{self.scenario.name} {self.kind}: {self.place} {self.moment.step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One fault in one call of one invocation, after which the execution goes on, or is stopped."""

    of: Invoked
    call: Call
    fault: str | WrongAnswer
    stopped: bool = False

    def __str__(self) -> str:
        return f"{self.of}: {self.call}: {self.fault}" + (", then stopped" if self.stopped else "")

    @property
    def kind(self) -> str:
        return self.fault if isinstance(self.fault, str) else self.fault.kind

    def on(self, timeline: Timeline) -> Fault:
        return no_answer(self.fault, timeline) if isinstance(self.fault, str) else self.fault


@cache
def healthy_runs() -> tuple[Invoked, ...]:
    """Of each scenario and kind, the invocations that differ by step, outcome or calls."""
    return tuple(found for kind in KINDS for found in _of_kind(kind))


def _of_kind(kind: str) -> Iterator[Invoked]:
    with deployed_pair(kind) as pair:
        for scenario in SCENARIOS:
            seen = set()
            pair.put(scenario.first)
            play = Play(pair, scenario, Moment(world=scenario.first, step="begin"))
            while not play.is_over:
                moment = play.moment
                ended = play.invoke()
                assert ended.failure is None, ended.failure
                calls = tuple(sorted({(call.operation, call.workloads) for call in ended.made.calls}))
                found = (moment.step, ended.answer["outcome"], calls)
                if found not in seen and not _is_of_another(scenario, moment.step):
                    yield Invoked(
                        kind=kind,
                        scenario=scenario,
                        place=len(moment.made),
                        moment=moment,
                        ended=ended,
                    )
                seen.add(found)
            play.has_ended_well()


def _is_of_another(scenario: Scenario, step: str) -> bool:
    """Whether the scenario `switch` has this invocation alike."""
    return scenario.first == at_first() and scenario.name != "switch" and step not in UNDOES


@cache
def cells() -> tuple[Cell, ...]:
    """A sample, always the same and in the same order.

    A call that changes something fails in each step, once without being executed and twice after it was: the
    execution then goes on, or is stopped. A reading fails once before the flip, once after it, and once
    on the way back. A wrong answer of each kind comes once at each operation, and some other ways
    of getting none at those that no other use case makes.
    """
    chosen: dict[tuple[str, ...], Cell] = {}
    for found in healthy_runs():
        for call in sorted(found.ended.made.calls):  # several are made at the same time, in any order
            for key, cell in _of_call(found, call):
                chosen.setdefault(key, cell)
    return tuple(sorted(chosen.values(), key=lambda cell: (cell.of.kind, str(cell))))


def _of_call(found: Invoked, call: Call) -> Iterator[tuple[tuple[str, ...], Cell]]:
    """The cells of a call, and by what they are the same as another one."""
    made, step, of_kind = found.ended.made, found.moment.step, (found.kind, call.operation)
    if call.reads or call.operation == "PutEvents":
        cell = Cell(of=found, call=call, fault="access denied")
        yield (*of_kind, _phase(step), cell.kind), cell
    else:
        for fault, stopped in LOST_OR_DONE:
            cell = Cell(of=found, call=call, fault=fault, stopped=stopped)
            yield (*of_kind, step, *map(str, call.workloads), fault, str(stopped)), cell
    if call.operation in OF_A_SWITCH:
        for kind in HOW_ELSE:
            yield (call.operation, kind), Cell(of=found, call=call, fault=kind)
    if call in made.responses:
        for each in corruptions(made.responses[call], made.read[call]):
            yield (call.operation, str(each)), Cell(of=found, call=call, fault=WrongAnswer(spoiling=each))


def _phase(step: str) -> str:
    if step in AFTER_THE_FLIP:
        return "after"
    return "back" if step in UNDOES else "before"


def run_cell(cell: Cell, pairs: Pairs) -> None:
    """Let the call fail, play on, and check every step and the end."""
    pair = pairs.of(cell.of.kind)
    pair.put(cell.of.moment.world)
    play = Play(pair, cell.of.scenario, cell.of.moment)
    fault = cell.on(pair.timeline)
    ended = play.invoke((cell.call, fault), stopped=cell.stopped)
    assert ended.made.attempts[cell.call], f"{cell.call} was never made"
    assert understood(ended.failure), f"a defect: {ended.failure!r}"
    assert ended.elapsed_s <= ended.timeout_s, f"took {ended.elapsed_s} of {ended.timeout_s} s"
    _is_reported(cell, ended)
    play.to_the_end()
    play.has_ended_well()


def _is_reported(cell: Cell, ended: Invocation) -> None:
    """What is not answered ends the invocation, is waited for, or changes nothing; its name is told."""
    if cell.kind in PASSING:
        assert ended.failure is None, f"a second attempt mends {cell.fault}"
        return
    healthy = cell.of.ended.answer["outcome"]
    if cell.call in ended.made.responses or (ended.failure is None and ended.answer["outcome"] == healthy):
        return
    told = " / ".join(str(line.get("message")) for line in ended.lines)
    told += f" / {ended.failure} / {ended.answer}"
    assert cell.call.operation in told or _another_name(cell.call) in told, f"nothing names it: {told}"


def _another_name(call: Call) -> str:
    """How a reading of several calls is named."""
    of_protection = ("ListTasks", "GetTaskProtection", "DescribeAutoScalingGroups")
    return "the protection from scale-in" if call.operation in of_protection else call.operation


@dataclass(eq=False)
class Pairs:
    """An account of each kind, made when it is first asked for."""

    _stack: ExitStack = field(default_factory=ExitStack)
    _present: dict[str, Pair] = field(default_factory=dict)

    def of(self, kind: str) -> Pair:
        """The account of this kind; that of the other one is closed, as both stand for the whole of AWS."""
        if kind not in self._present:
            self.close()
            self._present = {kind: self._stack.enter_context(deployed_pair(kind))}
        return self._present[kind]

    def close(self) -> None:
        """End the account that is open."""
        self._stack.close()
        self._present = {}
