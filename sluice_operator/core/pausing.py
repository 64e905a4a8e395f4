"""Pausing and resuming: how AWS's fields are to be, and when a pause may replace another.

Owns the sentences of a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sluice.core.pause import Direction, Pause

Fields = Mapping[str, bool]
"""AWS's name of a field -> its value; without those that the fleet does not have."""
PROCESS = "AlarmNotification"
"""The process of a group that runs its scaling policies; a pause of both directions suspends it."""


def wanted(pause: Pause | None, previous: Pause | None, now: Fields) -> Fields:
    """All fields as they are to be under this pause, or without one, after the previous pause."""
    return {**put_back(previous, now), **(pause.held if pause else {})}


def put_back(previous: Pause | None, now: Fields) -> Fields:
    """All fields as they were before the pause; what it does not hold stays as it is now."""
    if previous is None:
        return now
    return {**now, **{name: previous.before[name] for name in previous.held if name in now}}


def is_held(pause: Pause, now: Fields) -> bool:
    """Whether AWS's own policy is held as the pause asks."""
    return pause.held.items() <= now.items()


def why_not_replaced(current: Pause, asked: Pause, *, replace: bool) -> str | None:
    """Why a pause may not take the place of another that is in force; None if it may."""
    if not current.directions <= asked.directions:
        [held] = current.directions
        return (
            f"is {current}. One pause has one end and one reason: leave --in and --out out to pause both "
            f"directions, or end this one with `sluice resume --{held}`"
        )
    if current.by != asked.by and not replace:
        return f"is {current}. Add --replace to put your end and your reason in the place of theirs"
    return None


def without(pause: Pause, directions: frozenset[Direction], now: datetime) -> Pause | None:
    """What is left of a pause once these directions are resumed; None for nothing."""
    left = pause.directions - directions
    if not left or not pause.in_force(now):
        return None
    return Pause(
        directions=left, by=pause.by, at=pause.at, until=pause.until, reason=pause.reason, before=pause.before
    )
