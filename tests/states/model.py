"""One state of the world, in small whole numbers: queue, fleet, data points, holds, and what is under way.

The abstraction, which is what makes the states finite:

- at most `Scope.messages` messages, each visible or in flight, and `Scope.instances` instances;
- time is whole minutes, and an invocation lasts while at most one minute passes;
- a published BacklogPerInstance is 0, above 0, or missing, in the `SLOTS` newest minutes alone, and may be
  readable only from the next minute on;
- an alarm or a tick may start whenever there is room for it: on time, late, or twice;
- an invocation goes from one change of AWS to the next in one step, with all that it reads in between; with
  `Scope.every_call` each call is a step of its own;
- while an invocation is under way, the world moves `Scope.meanwhile` times at most;
- of the readings of one step at most one is stale or unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

IDLE_MINUTES = 2
SLOTS = IDLE_MINUTES + 2
"""Minutes whose data point a proof may need: an alarm's may end with this minute or one of the two before it,
of which the oldest counts only where both newer ones are missing."""

MISSING, ZERO, ABOVE_ZERO = None, 0, 1
Point = tuple[int, bool]
"""A published value, and whether it can be read."""


class Kind(StrEnum):
    """What starts an invocation, as a story names it."""

    TICK = "the tick of this minute"
    LATE_TICK = "the tick of the minute before"
    BOOTSTRAP_ALARM = "the bootstrap alarm"
    SHUTDOWN_ALARM = "the shutdown alarm"
    SURGE_TO_2 = "alice's surge to 2"
    SURGE_TO_3 = "bob's surge to 3"
    END_SURGE = "the end of the surge"

    @property
    def is_tick(self) -> bool:
        return self in (Kind.TICK, Kind.LATE_TICK)

    @property
    def surges(self) -> bool:
        return self in SURGES


ALARMS_AND_TICKS = (Kind.TICK, Kind.LATE_TICK, Kind.BOOTSTRAP_ALARM, Kind.SHUTDOWN_ALARM)
SURGES = {Kind.SURGE_TO_2: ("alice", 2), Kind.SURGE_TO_3: ("bob", 3), Kind.END_SURGE: ("", 0)}
"""Who asks, and for how many instances."""


class Answer(NamedTuple):
    """What AWS has answered to a call; None if that is unknown, or if AWS has refused."""

    call: str
    minute: int
    """Minutes since the invocation began."""
    value: object


class Actor(NamedTuple):
    """An invocation under way: what started it, and every answer it has had."""

    kind: Kind
    age: int
    """Minutes since it began."""
    answers: tuple[Answer, ...]
    began_paused: str = ""
    """The pause that has been in force ever since it began."""
    moved: int = 0
    """How often the world has moved since it began, if the scope bounds that."""


class StoredSurge(NamedTuple):
    """AWS's scheduled action that ends a surge."""

    by: str
    instances: int
    left: int
    """Minutes from now."""
    before: int
    """The minimum that it puts back."""


class World(NamedTuple):
    """One state; equal states are one."""

    visible: int = 0
    in_flight: int = 0
    desired: int = 0
    running: int = 0
    desired_before: int = 0
    """What a stale reading of the fleet shows: the desired count before its last change of this minute."""
    minimum: int = 0
    """The fleet's own; a surge raises it."""
    points: tuple[Point | None, ...] = (MISSING,) * SLOTS
    """By minute, the newest first."""
    pause: str = ""
    """The directions that an operator holds: `in`, `out`, `both`, or none."""
    surges: tuple[StoredSurge, ...] = ()
    actors: tuple[Actor, ...] = ()
    """In the order of their contents: which of two alike is which does not matter."""

    @property
    def total(self) -> int:
        return self.visible + self.in_flight

    def __str__(self) -> str:
        shown = "".join("-" if point is None else "0+"[point[0]] for point in self.points)
        late = "" if all(point is None or point[1] for point in self.points) else " (the newest not readable)"
        parts = [
            f"{self.visible} visible, {self.in_flight} in flight",
            f"{self.running} of {self.desired} run" + (f", minimum {self.minimum}" if self.minimum else ""),
            f"published {shown}{late}",
        ]
        parts += [f"paused {self.pause}"] if self.pause else []
        parts += [f"{each.by}'s surge ends in {each.left} min" for each in self.surges]
        return "; ".join(parts)


@dataclass(frozen=True)
class Scope:
    """The bounds of one search, and what may happen in it."""

    name: str
    messages: int = 3
    instances: int = 3
    actors: int = 2
    minimum: int = 0
    kinds: tuple[Kind, ...] = ALARMS_AND_TICKS
    pauses: tuple[str, ...] = ()
    """What an operator may hold."""
    is_stale: bool = False
    is_unknown: bool = False
    is_late: bool = False
    """Whether a data point may be readable only in the next minute."""
    every_call: bool = False
    meanwhile: int | None = None
    """How often the world moves while an invocation is under way, others' steps apart; None: as it likes."""

    def starts(self) -> list[World]:
        """At the minimum and idle; as large as it may be, and idle; the same with work for everybody."""
        low, high = self.minimum, self.instances
        idle, busy = ((ZERO, True),) * SLOTS, ((ABOVE_ZERO, True),) * SLOTS
        return [
            World(desired=low, running=low, desired_before=low, minimum=low, points=idle),
            World(desired=high, running=high, desired_before=high, minimum=low, points=idle),
            World(
                *(self.messages, 0, high, high, high),
                minimum=low,
                points=busy,
            ),
        ]
