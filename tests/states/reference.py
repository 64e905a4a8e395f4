"""What Sluice promises of a fleet that target tracking scales, in the words of the README.

It starts a fleet at zero while messages wait, and sets it to its minimum once the queue is proven empty.
Unknown is not zero, and nothing is done in a direction that an operator holds. Between one and N instances,
AWS decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.states.model import IDLE_MINUTES, Kind


class Unread:
    """It has not been looked at."""

    def __repr__(self) -> str:
        return "unread"


UNREAD = Unread()
Counts = tuple[int, ...]


@dataclass
class Seen:
    """What an invocation has read since its last act; None is unknown."""

    queue: Counts | Unread | None = UNREAD
    fleet: Counts | Unread | None = UNREAD
    pause: str | Unread | None = UNREAD
    proof: dict[int, int] | Unread | None = UNREAD
    """By minute since the invocation began: 0, or above 0."""


def promised(kind: Kind, seen: Seen, minute: int, most: int) -> int | None:
    """The desired count that is to be set now, or None: the fleet is left alone."""
    if not isinstance(seen.queue, tuple) or not isinstance(seen.fleet, tuple):
        return None
    (visible, in_flight), (desired, _, minimum) = seen.queue, seen.fleet
    if desired == 0 and visible > 0:  # a fleet at zero starts even if nobody knows whether it is paused
        is_held = isinstance(seen.pause, Unread) or seen.pause in ("out", "both")
        return None if is_held else min(max(visible + in_flight, minimum), most)
    if kind is Kind.BOOTSTRAP_ALARM or visible + in_flight or desired <= minimum:
        return None
    is_free = seen.pause in ("", "out")
    return minimum if is_free and is_proven(kind, seen.proof, minute) else None


def is_proven(kind: Kind, proof: dict[int, int] | Unread | None, minute: int) -> bool:
    """Whether 0 was published for every idle minute.

    They end with the minute before a tick's own, or with the newest published of an alarm's and two before.
    """
    if not isinstance(proof, dict):
        return False
    ends = [{Kind.TICK: -1, Kind.LATE_TICK: -2}.get(kind, minute)]
    if not kind.is_tick:
        ends = [end for end in (minute, minute - 1, minute - 2) if end in proof][:1]
    return any(all(proof.get(end - back) == 0 for back in range(IDLE_MINUTES)) for end in ends)
