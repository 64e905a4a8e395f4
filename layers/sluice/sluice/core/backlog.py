"""BacklogPerInstance, and the proof that a queue is empty.

Owns what a backlog amounts to. Refuses to take silence for emptiness: a minute without a data point proves
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def minutes_to_prove(now: datetime, idle_minutes: int) -> list[datetime]:
    """The `idle_minutes` scheduled minutes that end one before the present one, oldest first."""
    present = minute_of(now)
    return [present - MINUTE * back for back in range(idle_minutes, 0, -1)]


def gap_in_proof(published: Mapping[datetime, float], now: datetime, idle_minutes: int) -> str | None:
    """Why the published BacklogPerInstance does not prove the queue empty, or None where it does.

    The present minute is not asked for here: one live read of all three counts stands for it.
    """
    for minute in minutes_to_prove(now, idle_minutes):
        if minute not in published:
            return f"no BacklogPerInstance was published for {minute:%H:%M}"
        if published[minute] != 0:
            return f"BacklogPerInstance was {published[minute]:g} at {minute:%H:%M}"
    return None
