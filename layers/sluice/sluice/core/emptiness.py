"""BacklogPerInstance, and the proof that a queue is empty.

Owns what a backlog amounts to. Refuses to take silence for emptiness: a minute without a data point proves
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sluice.core.model import Backlog, Capacity

MINUTE = timedelta(minutes=1)


def backlog_per_instance(backlog: Backlog, capacity: Capacity, *, count_in_flight: bool) -> float:
    """Messages per running instance: (visible, plus in flight by setting) / max(running, 1).

    With nothing running it is the whole backlog, so that the metric still tells how much work waits.
    """
    counted = backlog.visible + (backlog.in_flight if count_in_flight else 0)
    return counted / max(capacity.running, 1)


def minute_of(moment: datetime) -> datetime:
    """The start of the minute that `moment` lies in."""
    return moment.replace(second=0, microsecond=0)


def turn_of(minute: datetime) -> int:
    """The number of the minute: what is rotated by it begins elsewhere each minute."""
    return int(minute.timestamp()) // 60


def before(scheduled_minute: datetime) -> tuple[datetime, ...]:
    """The minute with which a tick's proof of emptiness ends: the one before its own scheduled minute.

    Never counted back from the clock: a tick may start a minute late, and CloudWatch does not return yet what
    this very tick has just put.
    """
    return (scheduled_minute - MINUTE,)


def up_to(now: datetime) -> tuple[datetime, ...]:
    """The minutes with which an alarm's proof of emptiness may end, the newest first: now to two back.

    An alarm has no scheduled minute, and the ticks of the last two may be late or not readable yet.
    """
    present = minute_of(now)
    return present, present - MINUTE, present - 2 * MINUTE


def minutes_to_prove(last: datetime, idle_minutes: int) -> list[datetime]:
    """The `idle_minutes` scheduled minutes that end with `last`, oldest first."""
    return [last - MINUTE * back for back in range(idle_minutes - 1, -1, -1)]


def gap_in_proof(
    published: Mapping[datetime, float], ends: Sequence[datetime], idle_minutes: int
) -> str | None:
    """Why the published BacklogPerInstance does not prove the queue empty, or None where it does.

    `ends` are the minutes with which the proof may end, newest first; the newest published one counts. What
    follows it is not asked for here: one live read of all three counts stands for it.
    """
    last = next((minute for minute in ends if minute in published), ends[-1])
    for minute in minutes_to_prove(last, idle_minutes):
        if minute not in published:
            return f"no BacklogPerInstance was published for {minute:%H:%M}"
        if published[minute] != 0:
            return f"BacklogPerInstance was {published[minute]:g} at {minute:%H:%M}"
    return None
