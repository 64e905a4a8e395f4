"""Interleavings of a switch between two colors: executions, and everything else that acts on the workload.

The state machine's steps are the deployed use case's; ticks, alarms, surges, pauses, the guard, AWS's own
tracking, people and other executions act between two steps, and inside one. Each action of Sluice's is judged
by the true state of that moment; at the end nothing may be left of any switch.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from sluice.core.model import Bounds, Color, Fleet, Reason, Trigger
from sluice.core.pause import BOTH, Pause
from sluice.core.surge import Asked
from sluice.core.switch import colored
from sluice.core.switch_record import Step as SwitchStep
from sluice.errors import ConfigError, SluiceError, TransientError
from sluice.usecases.alarms import on_bootstrap_alarm, on_shutdown_alarm
from sluice.usecases.surge import surge
from sluice.usecases.tick import publish_backlog
from tests.support.builders import alarm, backlog, guard, guard_settings
from tests.support.fakes import FakeAccount
from tests.support.switch_machine import ENDED, ENDS, FAILED, RESTORED_AFTER_S, STAYS, after, after_failure
from tests.support.switching import ALICE, Switched, pair

EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:sluice-switch"
TOLD_FOR = timedelta(seconds=60)
RETRIED_AFTER = timedelta(seconds=10)
ALARMS_SEE = timedelta(minutes=5)
"""What a target-tracking alarm on three minutes looks at."""
FROZEN_STEPS = (SwitchStep.RAISE, SwitchStep.READY)
"""While the record is at them, neither AWS nor Sluice lowers a color.

After the flip Sluice may: an empty queue has no message in flight that the old color could hold.
"""
HELD_STEPS = (*FROZEN_STEPS, SwitchStep.FLIP, SwitchStep.DRAIN, SwitchStep.RETIRE)
"""While the record is at them, AWS lowers no active color."""
LAST_STEP = 400
SAID_ONLY = (Reason.NO_SWITCH, Reason.ALARMS_FADE)
"""What the state machine is told, and no decision says."""
NESTED, REFUSED_SECOND = "inside a step of a switch", "second switches that were refused"
STOPPED, STOPPED_INSIDE, RESTORED = "executions stopped", "executions stopped inside a step", "restores"
OUTLIVED = "records that only an operator's abort could end"
RAISED_WITH_THE_OLD = "new colors that were raised with the old one"
FLIPPED = "colors flipped"


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that happens, and how much of it: 0 to 7."""

    what: str
    amount: int = 0


@dataclass(eq=False)
class Execution:
    """One execution of the state machine; a restore is about the one that was stopped."""

    about: str
    step: str
    due: datetime
    to: Color | None = None
    attempts: int = 0
    restores: bool = False
    at_work: bool = False
    """Whether a step of it runs."""


@dataclass(eq=False)
class Handler:
    """A handler of Sluice's that runs, and what was so when it began."""

    what: str
    active: Color
    was_frozen: bool
    meets_others: bool = False
    """Whether somebody else has set a size while it ran."""


@dataclass
class ColorStorm:
    """One blue/green workload, and what happens to it."""

    switched: Switched
    executions: list[Execution] = field(default_factory=list)
    running: list[Handler] = field(default_factory=list)
    """The handlers that run, the innermost last."""
    pending: list[tuple[int, Act]] = field(default_factory=list)
    """(calls that pass first, what then happens inside a step of a switch)."""
    failing: tuple[int, SluiceError] | None = None
    """(calls that pass first, what the next one raises) inside a step of a switch."""
    violations: list[str] = field(default_factory=list)
    reached: collections.Counter[str] = field(default_factory=collections.Counter)
    log: list[str] = field(default_factory=list)
    moved: bool = False
    """Whether anything but a switch has changed a size since the new color was looked at."""
    _breached_at: dict[Color, datetime] = field(default_factory=dict)
    """When the metric of each color was last above its target."""
    _told_at: datetime | None = None
    """Since when the color that drains is the same one."""
    _begun: int = 0

    def __post_init__(self) -> None:
        account = self.switched.account
        account.calls.between = self._between
        set_desired, colors = account.fleets.set_desired, account.colors
        set_active, set_draining = colors.set_active, colors.set_draining

        def resize(fleet: Fleet, instances: int) -> None:
            self._judge_size(fleet, instances)
            set_desired(fleet, instances)

        def flip(workload: str, color: Color) -> None:
            self._judge_flip(color)
            set_active(workload, color)
            self.reached[FLIPPED] += 1

        def tell(workload: str, color: Color | None) -> bool:
            if self.switched.draining is not color:
                self._told_at = account.clock()
            return set_draining(workload, color)

        account.fleets.set_desired = resize  # type: ignore[method-assign]
        colors.set_active, colors.set_draining = flip, tell  # type: ignore[method-assign]

    # ---- what happens ------------------------------------------------------------------------------------

    def act(self, act: Act) -> None:
        """Let it happen; raises AssertionError for what must not."""
        self.reached[f"color step: {act.what}"] += 1
        self.log.append(f"{'  ' * len(self.running)}{act.what} {act.amount}")
        ACTS[act.what](self, act.amount)
        assert self.violations == [], "\n".join([*self.violations, *self.log[-40:]])

    def handle(self, what: str, use_case: Callable[[], object]) -> Exception | None:
        """Run one of Sluice's handlers; what it raises, which only a SluiceError may be."""
        active = self.switched.active
        assert active is not None
        self.running.append(Handler(what, active, was_frozen=self._is_at(FROZEN_STEPS)))
        try:
            use_case()
        except SluiceError as failure:
            return failure
        finally:
            self.running.pop()
        return None

    def _is_at(self, steps: Sequence[SwitchStep]) -> bool:
        record = self.switched.record
        return record is not None and record.step in steps

    def _between(self) -> None:
        if not self.running or not self.running[-1].what.startswith("switch"):
            return
        if self.pending:
            wait, act = self.pending[0]
            if wait > 0:
                self.pending[0] = (wait - 1, act)
            else:
                self.pending.pop(0)
                self.reached[NESTED] += 1
                self.log.append(f"{'  ' * len(self.running)}{act.what} {act.amount}")
                self.reached[f"color step: {act.what}"] += 1
                ACTS[act.what](self, act.amount)
        if self.failing:
            wait, error = self.failing
            self.failing = (wait - 1, error) if wait > 0 else None
            if wait <= 0:
                raise error

    # ---- the executions ----------------------------------------------------------------------------------

    def begin(self, to: Color | None = None) -> None:
        """Somebody starts an execution, whether one runs or not."""
        self._begun += 1
        about = f"{EXECUTION}:{self._begun}"
        self.executions.append(Execution(about, "begin", self.switched.account.clock(), to))

    def go_on(self) -> None:
        """Each execution that waits for nothing makes its next step."""
        now = self.switched.account.clock()
        for execution in [each for each in self.executions if each.due <= now]:
            if execution.at_work or execution not in self.executions:
                continue  # a step of it is at work, or it has ended inside another one's
            execution.at_work = True
            self._step(execution)
            execution.at_work = False

    def stop(self) -> None:
        """Somebody stops an execution, perhaps inside a step, which goes on; a rule restores it."""
        running = [each for each in self.executions if not each.restores]
        for execution in running[:1]:
            inside = any(each.what.startswith("switch") for each in self.running)
            self.reached[STOPPED_INSIDE if inside else STOPPED] += 1
            self.executions.remove(execution)
            self._restore(execution.about)

    def _restore(self, about: str) -> None:
        due = self.switched.account.clock() + timedelta(seconds=RESTORED_AFTER_S)
        self.executions.append(Execution(about, "restore", due, restores=True))

    def _step(self, execution: Execution) -> None:
        switched, account, step = self.switched, self.switched.account, execution.step
        was = switched.record
        failure = self.handle(
            f"switch: {step}",
            lambda: switched.step(step, to=execution.to, execution=execution.about, drain_s=1800.0),
        )
        if step in ("raise", "ready"):
            self.moved = False
            now = switched.record
            grown = was and now and was.needed is not None and was.needed < (now.needed or 0)
            self.reached[RAISED_WITH_THE_OLD] += bool(grown)
        if execution not in self.executions:
            return  # somebody has stopped it inside this step
        if failure is not None:
            is_second = step == "begin" and was is not None and was.execution != execution.about
            self.reached[REFUSED_SECOND] += is_second and isinstance(failure, ConfigError)
            then, execution.attempts = after_failure(step, failure, execution.attempts)
            execution.due = account.clock() + RETRIED_AFTER
            self.log.append(f"      {step} fails: {failure}")
        else:
            done = switched.log[-1]
            for reason in SAID_ONLY:
                self.reached[f"switch said: {reason.name}"] += reason in done.detail
            then, execution.attempts = after(step, str(done.outcome)), 0
            execution.due = account.clock() + timedelta(seconds=done.wait_s)
        execution.step = then
        if then in ENDS:
            self.reached[f"{'restore' if execution.restores else 'switch'}: {then}"] += 1
            self.executions.remove(execution)
            if then != ENDED and not execution.restores:
                self._restore(execution.about)
            self.reached[RESTORED] += execution.restores and then != FAILED

    # ---- what must hold ----------------------------------------------------------------------------------

    def _color_of(self, fleet: Fleet) -> Color:
        return Color.BLUE if fleet == self.switched.blue else Color.GREEN

    def _fleet(self, color: Color) -> Fleet:
        return self.switched.blue if color is Color.BLUE else self.switched.green

    def _judge_size(self, fleet: Fleet, instances: int) -> None:
        """Whether Sluice may set this size now, by the true state."""
        if not self.running:
            return
        switched, handler = self.switched, self.running[-1]
        color, active = self._color_of(fleet), switched.active
        has = switched.account.fleets.capacities[fleet].desired
        said = f"{handler.what} sets {color} from {has} to {instances} while {active} is active"
        if not handler.what.startswith("switch"):
            # What was decided for the color that has been flipped a moment ago cannot be known better.
            if color not in (active, handler.active):
                self.violations.append(f"{said}: the idle color scales")
            if instances < has and handler.was_frozen and color is active is handler.active:
                self.violations.append(f"{said}, in a switch")
            self._others_move()
            return
        if color is active:
            self.violations.append(f"{said}: a switch sizes the idle color alone")
        if instances > has and handler.what not in ("switch: raise", "switch: ready"):
            self.violations.append(f"{said}: it is raised by the wrong step")
        if instances < has and not (
            handler.meets_others and handler.what in ("switch: raise", "switch: ready")
        ):
            busy = switched.account.occupancy.protected.get(fleet, 0)
            told_for = switched.account.clock() - (self._told_at or switched.account.clock())
            is_told = switched.draining is color and told_for >= TOLD_FOR
            if not is_told or busy:
                self.violations.append(
                    f"{said}, told for {told_for}, {switched.draining} drains, {busy} are busy"
                )

    def _judge_flip(self, color: Color) -> None:
        """Whether what runs for the queue is not less after the flip."""
        old, new = (
            self.switched.account.fleets.capacities[self._fleet(each)] for each in (color.other, color)
        )
        if new.running < old.running and not self.moved:
            self.violations.append(f"{color} takes over with {new.running} instances from {old.running}")

    def track(self, color: Color, by: int) -> None:
        """AWS's own policy of this color acts, as far as nothing holds it."""
        switched, fleet = self.switched, self._fleet(color)
        has, held = switched.account.fleets.capacities[fleet], switched.held(fleet)
        assert has.bounds is not None
        both = {"AlarmNotificationSuspended"}
        blocked = both | ({"DynamicScalingOutSuspended"} if by > 0 else {"DynamicScalingInSuspended"})
        blocked |= set() if by > 0 else {"DisableScaleIn"}
        wanted = min(max(has.desired + by, has.bounds.min, 1), has.bounds.max)
        if held & blocked or has.desired == 0 or wanted == has.desired:
            return
        if color is not switched.active:
            breached_at = self._breached_at.get(color)
            now = switched.account.clock()
            if by > 0 and breached_at is not None and now - breached_at < ALARMS_SEE:
                self.violations.append(f"AWS raises {color}, which is not active, by alarms of {breached_at}")
            return
        if by < 0 and self._is_at(HELD_STEPS):
            self.violations.append(f"AWS lowers {color}, which is active, at {switched.record}")
        self._resize(fleet, wanted)

    def _resize(self, fleet: Fleet, instances: int) -> None:
        """Somebody else than Sluice sets a size."""
        capacities = self.switched.account.fleets.capacities
        capacities[fleet] = replace(capacities[fleet], desired=instances)
        self._others_move()

    def _others_move(self) -> None:
        self.moved = True
        for handler in self.running:
            handler.meets_others = True

    def published(self) -> None:
        """The active color's metric shows that work waits."""
        active, switched = self.switched.active, self.switched
        if active is not None and switched.has_messages:
            self._breached_at[active] = minute_of(switched.account.clock())

    # ---- the end -----------------------------------------------------------------------------------------

    def end_and_check(self) -> None:
        """Repair every fault; every execution ends, nothing is left of it, and a switch can be made."""
        self.pending.clear()
        self.failing = None
        for what in ("repair", "end of pauses", "end of surges"):
            ACTS[what](self, 0)
        self._let_executions_end()
        if self.switched.record is not None:
            # An execution could not be undone while things failed: `sluice switch --abort` does it now.
            self.reached[OUTLIVED] += 1
            self._restore(self.switched.record.execution)
            self._let_executions_end()
        switched = self.switched
        assert switched.record is None, f"the lock outlives its switch: {switched.record}"
        assert switched.draining is None, f"{switched.draining} receives nothing for ever"
        for fleet in (switched.blue, switched.green):
            assert switched.held(fleet) == set(), f"{fleet} stays held: {switched.held(fleet)}"
        capacities = switched.account.fleets.capacities
        for fleet in (switched.blue, switched.green):
            bounds = Bounds(min=0, max=10)
            capacities[fleet] = replace(capacities[fleet], bounds=bounds)
        ACTS["arrive"](self, 3)
        ACTS["settles"](self, 0)
        before = switched.active
        self.begin()
        self._let_executions_end()
        reasons = "\n".join(self.log[-40:])
        assert switched.active is not before, f"no switch can be made any more: {reasons}"
        self.reached["interleavings of colors"] += 1

    def _let_executions_end(self) -> None:
        for _ in range(LAST_STEP):
            if not self.executions:
                return
            self.act(Act("to the next step"))
        raise AssertionError("\n".join(["an execution never ends", *self.log[-40:]]))


def minute_of(moment: datetime) -> datetime:
    """The minute that a point is of."""
    return moment.replace(second=0, microsecond=0)


# ---- the acts --------------------------------------------------------------------------------------------


def _tick(storm: ColorStorm, _: int) -> None:
    account = storm.switched.account
    storm.handle(
        "tick", lambda: publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)
    )
    storm.published()


def _bootstrap(storm: ColorStorm, _: int) -> None:
    account, name = storm.switched.account, storm.switched.workload.name
    told = alarm("bootstrap", name)
    storm.handle(
        "bootstrap", lambda: on_bootstrap_alarm(told, account.ports, account.report, account.remaining_s)
    )


def _shutdown(storm: ColorStorm, _: int) -> None:
    account, switched = storm.switched.account, storm.switched
    active = switched.active
    assert active is not None
    account.publish_idle_minutes(switched.workload.with_active(active))
    told = alarm("shutdown", switched.workload.name)
    storm.handle(
        "shutdown", lambda: on_shutdown_alarm(told, account.ports, account.report, account.remaining_s)
    )


def _surge(storm: ColorStorm, amount: int) -> None:
    account = storm.switched.account
    asked = Asked(by=ALICE, hold_s=600, to=1 + amount)

    def ask() -> None:
        workload = account.registry.one(storm.switched.workload.name, account.remaining_s)
        surge(workload, asked, account.ports, Trigger.OPERATOR, account.report, account.remaining_s)

    storm.handle("surge", ask)


def _pause(storm: ColorStorm, _: int) -> None:
    """`sluice pause` is refused during a switch, by the condition of its write."""
    if storm.switched.record is None:
        account = storm.switched.account
        account.states.pause(
            storm.switched.workload.name, Pause(directions=BOTH, by=ALICE, at=account.clock())
        )


def _end_pauses(storm: ColorStorm, _: int) -> None:
    states, name = storm.switched.account.states, storm.switched.workload.name
    states.pause(name, None)
    states.guard(name, None)


def _guard(storm: ColorStorm, _: int) -> None:
    """The downstream fails: the guard leaves a workload alone that is being switched."""
    switched = storm.switched
    registered = switched.account.registry.registered
    if switched.record is None:
        name = switched.workload.name
        registered[name] = replace(registered[name], guard=guard_settings())
        switched.account.states.guard(name, guard())


def _end_surges(storm: ColorStorm, _: int) -> None:
    account = storm.switched.account
    ends = [each.until for own in account.surges.stored.values() for each in own.values()]
    account.clock.at = max([account.clock.at, *ends])
    account.surges.end_due()


def _arrive(storm: ColorStorm, amount: int) -> None:
    storm.switched.account.queues.change(storm.switched.workload.queue_url, visible=3 * amount + 1)


def _empty(storm: ColorStorm, _: int) -> None:
    storm.switched.account.queues.backlogs[storm.switched.workload.queue_url] = backlog()


def _wait(storm: ColorStorm, seconds: float) -> None:
    storm.switched.wait(seconds)


def _nothing_starts(storm: ColorStorm, amount: int) -> None:
    storm.switched.account.clock.advance(seconds=60 * amount)


def _people_size(storm: ColorStorm, amount: int) -> None:
    """Somebody sets a color's size by hand, or another controller does."""
    fleet = storm.switched.green if amount % 2 else storm.switched.blue
    bounds = storm.switched.account.fleets.capacities[fleet].bounds
    assert bounds is not None
    storm._resize(fleet, min(max(amount, bounds.min), bounds.max))


def _people_bounds(storm: ColorStorm, amount: int) -> None:
    fleet = storm.switched.green if amount % 2 else storm.switched.blue
    capacities = storm.switched.account.fleets.capacities
    bounds = (Bounds(min=0, max=10), Bounds(min=1, max=6), Bounds(min=0, max=3), Bounds(min=2, max=10))[
        amount // 2
    ]
    has = capacities[fleet]
    desired = min(max(has.desired, bounds.min), bounds.max)
    capacities[fleet] = replace(has, bounds=bounds, desired=desired)
    storm._others_move()


def _track(storm: ColorStorm, amount: int) -> None:
    storm.track(tuple(Color)[amount % 2], 1 if amount < 4 else -1)


def _fault(storm: ColorStorm, amount: int) -> None:
    """A reading, or a change of size, fails until it is repaired."""
    account, switched = storm.switched.account, storm.switched
    name = switched.workload.name
    match amount:
        case 0:
            account.queues.failing[switched.workload.queue_url] = "throttled"
        case 1:
            account.fleets.failing[switched.blue] = "throttled"
        case 2:
            account.fleets.failing[switched.green] = "throttled"
        case 3:
            account.occupancy.failing[switched.blue] = "throttled"
        case 4:
            account.occupancy.failing[switched.green] = "throttled"
        case 5:
            account.states.failing[name] = "throttled"
        case 6:
            account.fleets.refusing = ConfigError("denied")
        case _:
            account.registry.failing = TransientError("throttled")


def _repair(storm: ColorStorm, _: int) -> None:
    account = storm.switched.account
    for failing in (
        account.queues.failing,
        account.fleets.failing,
        account.occupancy.failing,
        account.states.failing,
    ):
        failing.clear()  # type: ignore[attr-defined]
    account.fleets.refusing = account.registry.failing = None


def _fail_inside(storm: ColorStorm, amount: int) -> None:
    error: SluiceError = TransientError("throttled") if amount % 2 else ConfigError("denied")
    storm.failing = (amount * 2, error)


def _next_step(storm: ColorStorm, _: int) -> None:
    """Time passes until an execution has something to do, and it does."""
    clock = storm.switched.account.clock
    if storm.executions:
        due = min(each.due for each in storm.executions)
        if due > clock():
            storm.switched.wait((due - clock()).total_seconds())
        storm.go_on()


ACTS: Mapping[str, Callable[[ColorStorm, int], None]] = {
    "switch": lambda storm, amount: storm.begin((Color.BLUE, Color.GREEN, *[None] * 6)[amount]),
    "to the next step": _next_step,
    "next step": lambda storm, _: storm.go_on(),
    "stop": lambda storm, _: storm.stop(),
    "tick": _tick,
    "bootstrap alarm": _bootstrap,
    "shutdown alarm": _shutdown,
    "surge": _surge,
    "end of surges": _end_surges,
    "pause": _pause,
    "guard": _guard,
    "end of pauses": _end_pauses,
    "arrive": _arrive,
    "empty": _empty,
    "settles": lambda storm, _: _wait(storm, 10),
    "time passes": lambda storm, amount: _wait(storm, 30 * (amount + 1)),
    "nothing starts": _nothing_starts,
    "people size": _people_size,
    "people bounds": _people_bounds,
    "AWS tracks": _track,
    "fault": _fault,
    "fails inside": _fail_inside,
    "repair": _repair,
}
COLORS_REACH = (
    *(NESTED, REFUSED_SECOND, STOPPED, STOPPED_INSIDE, RESTORED, OUTLIVED, RAISED_WITH_THE_OLD, FLIPPED),
    *(f"switch: {end}" for end in ENDS),
    *(f"restore: {end}" for end in (ENDED, STAYS, FAILED)),
    *(f"color step: {what}" for what in ACTS),
)
"""What each share of the interleavings of colors must reach at least once."""
RACES = (
    *("tick", "bootstrap alarm", "shutdown alarm", "surge", "switch", "stop", "stop", "pause", "guard"),
    *("arrive", "empty", "people size", "AWS tracks", "next step"),
)
"""What may happen inside a step."""
OFTEN = ("to the next step",) * 30 + ("switch",) * 3 + ("tick",) * 3 + ("AWS tracks",) * 3 + ("repair",) * 2


@dataclass(frozen=True)
class Beginning:
    """How an interleaving of colors begins."""

    kind: str
    desired: int
    visible: int
    minimum: int
    deaf: bool

    def storm(self) -> ColorStorm:
        """The workload, with nothing of a switch."""
        switched = pair(
            FakeAccount(), self.kind, desired=self.desired, visible=self.visible, minimum=self.minimum
        )
        switched.deaf = self.deaf
        for color in Color:
            switched.account.freezes.fields(colored(switched.workload, color))
        return ColorStorm(switched)


Inside = tuple[int, Act]


def colors_drawn(seed: int) -> tuple[Beginning, list[Act | Inside]]:
    """The interleaving of colors of this seed."""
    random = Random(seed)
    desired = random.choice((0, 1, 4, 4))
    beginning = Beginning(
        kind=random.choice(("asg", "ecs")),
        desired=desired,
        visible=random.choice((0, 5, 20)),
        minimum=random.choice((0, 0, min(desired, 1))),
        deaf=random.random() < 0.05,
    )
    acts: list[Act | Inside] = [Act("switch")]
    for _ in range(random.randint(10, 70)):
        what = random.choice((*OFTEN, *ACTS))
        act: Act | Inside = Act(what, random.randrange(8))
        if random.random() < 0.15:
            act = (random.randrange(25), Act(random.choice(RACES), random.randrange(8)))
        acts.append(act)
    return beginning, acts


def run_colors(beginning: Beginning, acts: Sequence[Act | Inside]) -> ColorStorm:
    """One whole interleaving, up to and including its final check."""
    storm = beginning.storm()
    for act in acts:
        if isinstance(act, Act):
            storm.act(act)
        else:
            storm.pending.append(act)
    storm.end_and_check()
    for decision in storm.switched.decisions():
        outcome = next(o for d, o in storm.switched.account.report.decisions if d is decision)
        storm.reached[f"{decision.kind} {outcome}: {decision.reason.name}"] += 1
    return storm
