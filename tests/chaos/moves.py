"""What an interleaving consists of, as data: the initial state of the workloads, and the moves that follow.

Owns the choices and their frequency; hypothesis and a seed choose from the same ones. A move is one or more
steps in a row, or a step that will happen inside a later handler's calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

from sluice.core.model import Bounds, BusyInstances, SurgeOnAlarms, Tracking, Workload
from tests.chaos.cloud import CRITICAL, MAX_LATE_S, Delays
from tests.chaos.event_storm import EventStorm
from tests.chaos.faults import FAULTS, PLANE_STEPS
from tests.chaos.steps import INSTANCES, MESSAGES, OPERATOR_STEPS, TRACKINGS, Step
from tests.support.builders import (
    alarm_arn,
    deadline,
    dynamic_target,
    ecs_workload,
    workload,
)

Choose = Callable[[Sequence[Any]], Any]
StepInside = tuple[int, Step]
"""(calls of a handler that pass first, the step that then happens)."""
Move = tuple[Step | StepInside, ...]


def each(names: Iterable[str]) -> list[Step]:
    """These steps in every size, for every workload."""
    return [Step(name, index, amount) for name in names for index in range(3) for amount in range(1, 9)]


def alone(steps: Iterable[Step]) -> list[Move]:
    return [(step,) for step in steps]


# Inside a handler's calls other handlers run most often, which race for the same fleet, and messages arrive.
RACES = (
    "minute",
    "deliver",
    "deliver",
    "deliver again",
    "deliver again",
    "deliver a tick",
    "tick again",
    "tick below a minute",
    "tick below a minute again",
    "surge",
    "end surge",
    "arrive",
    "arrive",
)
CALLS_BEFORE = (0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15, 17, 19)  # a tick's repairs come after its ninth call
STEPS_INSIDE: list[StepInside] = [
    (after, step)
    for after in CALLS_BEFORE
    for step in each(
        [*RACES, *RACES, *MESSAGES, "drain", *INSTANCES, *OPERATOR_STEPS, "wait", "run out of time"]
    )
]

TROUBLES_OF_LEARNING = (
    "waits fail",
    "durations fail",
    "state cannot be read",
    "state cannot be written",
    "state is lost",
    "state is unusable",
)


def _learned_by(index: int) -> Move:
    """A tick below a minute remembers the workload, and after the hour a round learns from it."""
    return (
        Step("minute"),
        Step("hour passes", index, 1),
        Step("ask for retune"),
        Step("deliver a tick", 0, -1),
    )


def _launch(index: int, pool: int, end: str) -> Move:
    """A group launches what the engine asks for, from a warm pool of `pool` - 1 first if it has one."""
    return (
        *(Step("fill warm pool", index, pool) for _ in range(min(pool, 1))),
        Step("arrive", index, 8),
        Step("minute"),
        Step("launch", index, 8),
        Step("minute"),
        Step(end, index, 8),
        *_learned_by(index),
    )


def _idle(index: int) -> Move:
    """Instances run, and no message is left."""
    return (Step("set desired", index, 6), Step("boot", index, 8), Step("drain", index))


def _silence(index: int, size: int, trouble: str, minutes: int) -> Move:
    """Messages come to a small fleet while nobody publishes its points; minutes later all is well again."""
    quiet = "minute without tick" if trouble == "minute without tick" else "minute"
    return (
        *(Step(what, index, size) for what in ("set desired", "boot", "stop")),
        Step("minute"),
        Step(trouble, index),
        Step("arrive", index, 8),
        *(Step(quiet),) * minutes,
        Step("boot", index, 8),
        Step("receive", index, 1),
        Step("repair plane"),
        Step("repair", index),
        *(Step("minute"),) * 2,
        Step("drain", index),
        *(Step("minute"),) * 2,
    )


ENDED_BY_AWS: list[Move] = [
    (
        *(Step("repair", index), Step("surge", index, size)),
        *((Step(trouble, index, 8),) if trouble else ()),
        *(Step("minute without tick" if trouble == "minute without tick" else "minute"),) * 9,
    )
    for index in range(3)
    for size in (1, 2)
    for trouble in (
        None,
        "actions are late",
        "minute without tick",
        "fleet fails",
        "drain",
        "acts are refused",
    )
]
ENDED_BY_HAND: list[Move] = [
    (Step("surge", index, size), Step(between, index, size), Step("end surge", index))
    for index in range(3)
    for size in range(1, 9)
    for between in ("minute", "surge", "drain", "set fleet bounds", "surge call fails", "fleet fails")
]
SURGES_AT_ONCE: list[Move] = [
    (Step("repair", index), (after, Step(what, index, other)), Step("surge", index, size))
    for index in range(3)
    for after in range(20)
    for what in ("surge", "surge", "end surge")
    for other in (3, 4, 5)
    for size in (2, 3, 4, 8)
]
FAILING_SURGES: list[Move] = [
    (Step("surge", index, first), Step("surge call fails", index, call), Step(then, index, 4))
    for index in range(3)
    for first in (1, 2, 3)
    for call in range(1, 9)
    for then in ("surge", "surge", "end surge")
]
CRITICAL_ALARMS: list[Move] = [
    (
        *(Step("measure", index, 2), Step("arrive", index, 8), Step("minute"), Step("minute")),
        *(Step("critical alarm", index, 2), Step("deliver", index, -1)),
    )
    for index in range(3)
]
REFUSED_SURGES: list[Move] = [
    (Step("repair", index), Step(why, index, 8), Step("surge", index, 5))
    for index in range(3)
    for why in ("set fleet bounds", "weights are given", "weights are given")
]


MOVES: Mapping[str, list[Move]] = {
    "ordinary_minutes": [(Step("minute"),) * count for count in (1, 2, 3, 4)],
    "an_event_under_way": alone(each(["deliver", "deliver", "deliver again", "tick again", "lose", "swap"])),
    "a_late_tick": [
        (Step("minute without tick"), Step("wait", 0, late), Step("deliver a tick", 0, -1))
        for late in range(1, 9)
    ],
    "ticks_below_a_minute": alone(
        each(["tick below a minute", "tick below a minute again", "ticks are lost", "process ends"])
    ),
    "a_burst": [
        (
            Step("minute"),
            Step("arrive", index, amount),
            Step("minute"),
            Step("boot", index, 8),
            Step("receive", index, received),
            Step("minute"),
            Step("delete", index, received),
        )
        for index in range(3)
        for amount in (1, 3, 8)
        for received in (1, 3, 8)
    ],
    "alarms_before_the_tick": [
        (Step("minute without tick"), *(Step("deliver", index, -1),) * 2, Step("deliver a tick", 0, -1))
        for index in range(3)
    ],
    "a_stray_alarm": [
        (Step("stray alarm", index, kind), Step("deliver", index, -1))
        for index in range(3)
        for kind in (1, 2, 3)
    ],
    "messages": alone(each(MESSAGES)),
    "a_message_within_a_tick": [
        ((after, Step("arrive", index)), Step("minute")) for after in CALLS_BEFORE for index in range(3)
    ],
    "work_is_done": [
        tuple(Step(what, index, 8) for what in ("boot", "receive", "delete", "drain")) for index in range(3)
    ],
    "instances": alone(each(INSTANCES)),
    "operator_steps": alone(each(OPERATOR_STEPS)),
    "faults": alone(each(FAULTS)),
    "the_plane": alone(each(PLANE_STEPS)),
    "everything_is_repaired": [(Step("repair plane"), Step("repair", index)) for index in range(3)],
    "a_round_of_retuning": [
        (first, Step("ask for retune"), Step("deliver a tick", 0, -1))
        for first in each(["measure", "measure", "set mode", "switch target", "set policy target"])
    ],
    "a_sustained_flow": [
        (
            Step("measure", index, 2),
            Step("keep arriving", index, amount),
            *(Step("minute"),) * minutes,
            trouble,
        )
        for index in range(3)
        for amount in (1, 8)
        for minutes in (1, 6)
        for trouble in (
            Step("arrivals fail", index),
            Step("target fails", index),
            Step("arrivals come late", index),
        )
    ],
    "hours_of_learning": [
        (
            Step("start", index, first),
            *_learned_by(index),
            Step("start", index, then),
            *((Step(trouble, index, 2),) if trouble else ()),
            *_learned_by(index),
        )
        for index in range(3)
        for first in range(1, 9)
        for then in range(1, 9)
        for trouble in (None, None, None, *TROUBLES_OF_LEARNING)
    ],
    "launches": [
        _launch(index, pool, end)
        for index in range(3)
        for pool in (0, 6, 8, 8)
        for end in ("boot", "boot", "boot", "abandon", "warm pool fails")
    ],
    "a_burst_that_others_finish": [
        (
            *(Step("arrive", index, 8), Step("minute")),
            *(Step("launch", index, 8), Step("drain", index), Step("minute")),
        )
        for index in range(3)
    ],
    "an_idle_fleet": [
        (*_idle(index), Step("protect", index, protected), *(Step("minute"),) * 3)
        for index in range(3)
        for protected in (1, 3, 6)
    ],
    "an_unreadable_proof": [
        (*_idle(index), *_idle(index + 1), Step("proof fails", index), *(Step("minute"),) * 4)
        for index in range(3)
    ],
    "an_alarm_after_a_silence": [
        (
            *(Step("arrive", index), Step("minute"), Step("drain", index)),
            *(*(Step("minute"),) * 4, *(Step("minute without tick"),) * silent),
            *(*_idle(index), Step("deliver", index, -1)),
        )
        for index in range(3)
        for silent in (1, 2, 3)
    ],
    "a_silent_plane": [
        _silence(index, size, trouble, minutes)
        for index in range(3)
        for size in (2, 3)
        for trouble in ("minute without tick", "queue fails", "fleet fails", "points are refused")
        for minutes in (3, 4, 6)
    ],
    "surges": alone(each(["surge", "surge", "end surge", "critical alarm", "actions are late"])),
    "a_surge": [*ENDED_BY_AWS, *ENDED_BY_HAND, *REFUSED_SURGES, *CRITICAL_ALARMS],
    "surges_at_once": [*SURGES_AT_ONCE, *FAILING_SURGES],
    "a_stack_change": [
        (Step("measure", index, measured), Step("update stack", index, mode), Step("deliver", index, -1))
        for index in range(3)
        for measured in range(1, 9)
        for mode in (1, 2, 3, 6)
    ],
    "something_inside_a_handler": [(inside,) for inside in STEPS_INSIDE],
}

DEADLINES = (
    *(None,) * 8,
    deadline(tick_s=30, boot_s=60, margin_s=-10),
    deadline(tick_s=60, boot_s=60, busy_instances=BusyInstances.UNPROTECTED),
    deadline(tick_s=60, boot_s=60, promise_s=60, margin_s=25),
)
"""Who decides the size of a workload's fleet: AWS, or the deadline engine."""

INITIAL_STATES = (
    "at zero",
    "at zero, work waits",
    "running, proven empty",
    "running, one in flight",
    "running",
)


@dataclass(frozen=True)
class InitialState:
    """One to three workloads, the state of each, the steps inside the first handlers, and the delays."""

    workloads: tuple[Workload, ...]
    initial_states: tuple[str, ...]
    steps_inside: tuple[StepInside, ...]
    delays: Delays = field(default_factory=Delays)

    def storm(self) -> EventStorm:
        storm = EventStorm(self.workloads, self.delays)
        for served, start in zip(self.workloads, self.initial_states, strict=True):
            _start(storm, served, start)
        storm.pending_steps = list(self.steps_inside)
        return storm


def beginning(choose: Choose) -> InitialState:
    names = ("one", "two", "three")[: choose((1, 2, 2, 3))]
    return InitialState(
        workloads=tuple(_workload(name, choose) for name in names),
        initial_states=tuple(choose(INITIAL_STATES) for _ in names),
        steps_inside=tuple(choose(STEPS_INSIDE) for _ in range(choose((0, 0, 1, 2, 4)))),
        delays=Delays(
            ticks_s=tuple(choose(range(MAX_LATE_S + 1)) for _ in range(choose((1, 7)))),
            points_s=choose((0, 10, 30, 45)),
        ),
    )


def drawn(seed: int) -> tuple[InitialState, list[Move]]:
    """The interleaving of this seed; some moves are frequent in it, some are missing."""
    random = Random(seed)
    weights = [random.choice((0, 1, 1, 4)) for _ in MOVES]
    weights[0] = 3
    names = random.choices(list(MOVES), weights, k=random.randint(6, 40))
    return beginning(random.choice), [random.choice(MOVES[name]) for name in names]


def make_move(storm: EventStorm, move: Move) -> None:
    for part in move:
        if isinstance(part, Step):
            storm.run_step(part)
        else:
            storm.pending_steps.append(part)


def run_interleaving(start: InitialState, moves: Iterable[Move]) -> EventStorm:
    """Run one whole interleaving, up to and including its final check."""
    storm = start.storm()
    for move in moves:
        make_move(storm, move)
    storm.end_and_check()
    return storm


@cache
def _plain(on_ecs: bool, name: str) -> Workload:
    return ecs_workload(name) if on_ecs else workload(name)


def _workload(name: str, choose: Choose) -> Workload:
    plain = replace(_plain(choose((False, True)), name), surge=_surge_on_alarms(name))
    url = plain.queue_url + choose(("", "", ".fifo"))
    dynamic = dynamic_target(max_messages_per_instance=50, min_samples=3)
    by_deadline = choose(DEADLINES)
    if by_deadline:
        return replace(
            plain,
            queue_url=url,
            bounds=Bounds(min=choose((0, 0, 0, 1, 2)), max=5),
            idle_minutes=choose((1, 2, 3)),
            count_in_flight=True,
            policy_arn=choose((None, plain.policy_arn, plain.policy_arn)),
            tracking=Tracking(processing_s=30),
            deadline=by_deadline,
        )
    return replace(
        plain,
        queue_url=url,
        bounds=Bounds(min=choose((0, 0, 0, 1, 2)), max=5),
        bootstrap_instances=choose((1, 2, 3, None)),
        idle_minutes=choose((1, 2, 3)),
        count_in_flight=choose((True, False)),
        target=choose((plain.target, dynamic)),
        tracking=choose(TRACKINGS),
    )


def _surge_on_alarms(name: str) -> SurgeOnAlarms:
    return SurgeOnAlarms(alarm_arns=(alarm_arn(name, CRITICAL),), drain_in_s=1800, hold_s=600)


def _start(storm: EventStorm, served: Workload, start: str) -> None:
    """Put a workload into a state in which decisions can race: running without work, or at zero with work."""
    cloud = storm.cloud
    if start == "at zero, work waits":
        cloud.account.queues.change(served.queue_url, visible=60)
    if start.startswith("running"):
        cloud.change(served, desired=5, running=5)
    if start.startswith("running, "):
        cloud.account.publish_idle_minutes(served)
        cloud.minutes_empty[served.name] = served.idle_minutes
    if start == "running, one in flight":
        cloud.account.queues.change(served.queue_url, in_flight=1)
