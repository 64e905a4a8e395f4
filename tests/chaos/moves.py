"""What an interleaving consists of, as data: the initial state of the workloads, and the moves that follow.

Owns the choices and how often each is on offer; hypothesis and a seed choose from the same. A move is one or
more steps in a row, or a step that will happen inside a later handler's calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

from sluice.core.model import Bounds, Workload
from tests.chaos.cloud import MAX_LATE_S, Delays
from tests.chaos.event_storm import EventStorm
from tests.chaos.faults import FAULTS, PLANE_STEPS
from tests.chaos.steps import INSTANCES, MESSAGES, OPERATOR_STEPS, TRACKINGS, Step
from tests.support.builders import (
    dynamic_target,
    ecs_workload,
    workload,
)

Choose = Callable[[Sequence[Any]], Any]
Inside = tuple[int, Step]
"""Calls of a handler to let pass, and what then happens."""
Move = tuple[Step | Inside, ...]


def each(names: Iterable[str]) -> list[Step]:
    """These steps, of every size, to every workload."""
    return [Step(name, who, amount) for name in names for who in range(3) for amount in range(1, 9)]


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
    "arrive",
    "arrive",
)
CALLS_BEFORE = (0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15, 17, 19)  # a tick's repairs come after its ninth call
INSIDE: list[Inside] = [
    (after, step)
    for after in CALLS_BEFORE
    for step in each(
        [*RACES, *RACES, *MESSAGES, "drain", *INSTANCES, *OPERATOR_STEPS, "wait", "run out of time"]
    )
]

MOVES: Mapping[str, list[Move]] = {
    "ordinary_minutes": [(Step("minute"),) * count for count in (1, 2, 3, 4)],
    "an_event_under_way": alone(each(["deliver", "deliver", "deliver again", "tick again", "lose", "swap"])),
    "a_late_tick": [
        (Step("minute without tick"), Step("wait", 0, late), Step("deliver a tick", 0, -1))
        for late in range(1, 9)
    ],
    "alarms_before_the_tick": [
        (Step("minute without tick"), *(Step("deliver", who, -1),) * 2, Step("deliver a tick", 0, -1))
        for who in range(3)
    ],
    "a_stray_alarm": [
        (Step("stray alarm", who, kind), Step("deliver", who, -1)) for who in range(3) for kind in (1, 2)
    ],
    "messages": alone(each(MESSAGES)),
    "a_message_within_a_tick": [
        ((after, Step("arrive", who)), Step("minute")) for after in CALLS_BEFORE for who in range(3)
    ],
    "work_is_done": [
        tuple(Step(what, who, 8) for what in ("boot", "receive", "delete", "drain")) for who in range(3)
    ],
    "instances": alone(each(INSTANCES)),
    "hands": alone(each(OPERATOR_STEPS)),
    "troubles": alone(each(FAULTS)),
    "the_plane": alone(each(PLANE_STEPS)),
    "all_is_mended": [(Step("plane mends"), Step("mend", who)) for who in range(3)],
    "a_round_of_retuning": [
        (first, Step("ask for retune"), Step("deliver a tick", 0, -1))
        for first in each(["measure", "measure", "set mode", "switch target", "set policy target"])
    ],
    "a_sustained_flow": [
        (Step("measure", who, 2), Step("keep arriving", who, amount), *(Step("minute"),) * minutes, trouble)
        for who in range(3)
        for amount in (1, 8)
        for minutes in (1, 6)
        for trouble in (
            Step("arrivals fail", who),
            Step("target fails", who),
            Step("arrivals come late", who),
        )
    ],
    "a_stack_change": [
        (Step("measure", who, measured), Step("update stack", who, mode), Step("deliver", who, -1))
        for who in range(3)
        for measured in range(1, 9)
        for mode in (1, 2, 3, 6)
    ],
    "something_inside_a_handler": [(inside,) for inside in INSIDE],
}

STARTS = ("asleep", "asleep over work", "awake, proven empty", "awake, one taken a moment ago", "awake")


@dataclass(frozen=True)
class InitialState:
    """One to three workloads, how each begins, what happens inside the first handlers, and who is late."""

    workloads: tuple[Workload, ...]
    starts: tuple[str, ...]
    meanwhile: tuple[Inside, ...]
    delays: Delays = field(default_factory=Delays)

    def storm(self) -> EventStorm:
        storm = EventStorm(self.workloads, self.delays)
        for served, start in zip(self.workloads, self.starts, strict=True):
            _start(storm, served, start)
        storm.armed = list(self.meanwhile)
        return storm


def beginning(choose: Choose) -> InitialState:
    names = ("one", "two", "three")[: choose((1, 2, 2, 3))]
    return InitialState(
        workloads=tuple(_workload(name, choose) for name in names),
        starts=tuple(choose(STARTS) for _ in names),
        meanwhile=tuple(choose(INSIDE) for _ in range(choose((0, 0, 1, 2, 4)))),
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


def make(storm: EventStorm, move: Move) -> None:
    for part in move:
        if isinstance(part, Step):
            storm.run_step(part)
        else:
            storm.armed.append(part)


def play(start: InitialState, moves: Iterable[Move]) -> EventStorm:
    """One whole interleaving, to its quiet end."""
    storm = start.storm()
    for move in moves:
        make(storm, move)
    storm.end_quietly()
    return storm


@cache
def _plain(on_ecs: bool, name: str) -> Workload:
    return ecs_workload(name) if on_ecs else workload(name)


def _workload(name: str, choose: Choose) -> Workload:
    plain = _plain(choose((False, True)), name)
    url = plain.queue_url + choose(("", "", ".fifo"))
    dynamic = dynamic_target(max_messages_per_instance=50, min_samples=3)
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


def _start(storm: EventStorm, served: Workload, start: str) -> None:
    """Where the two decisions can be raced: awake over an empty queue, or asleep over work."""
    cloud = storm.cloud
    if start == "asleep over work":
        cloud.account.queues.change(served.queue_url, visible=60)
    if start.startswith("awake"):
        cloud.change(served, desired=5, running=5)
    if start.startswith("awake, "):
        cloud.account.publish_idle_minutes(served)
        cloud.minutes_empty[served.name] = served.idle_minutes
    if start == "awake, one taken a moment ago":
        cloud.account.queues.change(served.queue_url, in_flight=1)
