"""Pausing and resuming: when a pause may replace another, with the sentences of a refusal."""

from __future__ import annotations

from datetime import datetime

from sluice.core.pause import Direction, Pause


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
