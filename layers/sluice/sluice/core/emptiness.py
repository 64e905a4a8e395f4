"""The proof that a queue is empty: BacklogPerInstance was published as 0 for every idle minute.

Owns which minutes prove it. Refuses to count a missing data point as 0: such a minute proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sluice.core.minutes import MINUTE, minute_of


def tick_proof_end_minutes(scheduled_minute: datetime) -> tuple[datetime, ...]:
    """The minute with which a tick's proof of emptiness ends: the one before its own scheduled minute.

    It is not counted back from the clock, because a tick may start a minute late. Its own minute does not
    count, because CloudWatch does not yet return the point that the tick has just published.
    """
    return (scheduled_minute - MINUTE,)


def alarm_proof_end_minutes(now: datetime) -> tuple[datetime, ...]:
    """The minutes with which an alarm's proof of emptiness may end, newest first: now to two back.

    An alarm has no scheduled minute, and the points of the last two ticks may be late or not yet readable.
    """
    current = minute_of(now)
    return current, current - MINUTE, current - 2 * MINUTE


def minutes_to_prove(last: datetime, idle_minutes: int) -> list[datetime]:
    """The `idle_minutes` scheduled minutes that end with `last`, oldest first."""
    return [last - MINUTE * back for back in range(idle_minutes - 1, -1, -1)]


def why_not_proven_empty(
    published: Mapping[datetime, float], end_minutes: Sequence[datetime], idle_minutes: int
) -> str | None:
    """Why the published BacklogPerInstance does not prove the queue empty; None if it does.

    `published` is in messages per instance, by scheduled minute. `end_minutes` are the minutes with which the
    proof may end, newest first; it ends with the newest that was published. The minutes after it need no data
    point: one live read of all three message counts covers them.
    """
    last = next((minute for minute in end_minutes if minute in published), end_minutes[-1])
    for minute in minutes_to_prove(last, idle_minutes):
        if minute not in published:
            return f"no BacklogPerInstance was published for {minute:%H:%M}"
        if published[minute] != 0:
            return f"BacklogPerInstance was {published[minute]:g} at {minute:%H:%M}"
    return None
