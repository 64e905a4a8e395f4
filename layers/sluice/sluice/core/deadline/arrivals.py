"""Infers arrivals from successive readings of a queue, and from them the ages of the messages that wait.

Arrivals between two readings = growth of the backlog + messages finished meanwhile. The latter follow from
Little's law: mean messages in flight x elapsed time / mean processing time. A queue is served oldest first,
so the newest arrivals are those that still wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from sluice.core.deadline.state import Arrivals, EngineState
from sluice.core.model import Backlog

RATE_WINDOW_S = 150.0
"""The arrival rate that a fleet is kept for is an average over this window, in seconds."""
OVERDUE_MEMORY_S = 600.0
"""Messages that have waited this much longer than the promise are late in any case: they form one cohort."""
LATE_COHORT_S = 60.0
"""Messages that have waited longer than the promise are equally urgent: they form cohorts of this length."""
MAX_COHORTS = 100
"""Cohorts per promise: arrivals that are closer together form one, as old as its beginning."""
INTERVALS_PER_BOOT = 8
"""Where the arrivals of a boot ago are kept, shorter intervals form one."""


def arrivals_since(
    state: EngineState, now_s: float, backlog: Backlog, processing_s: float
) -> tuple[Arrivals, float]:
    """Arrivals since the state's reading, and the deficit that the next estimate begins with.

    A negative estimate corrects an earlier one that was too high: it is carried over.
    """
    elapsed_s = now_s - state.read_s
    finished = (state.backlog.in_flight + backlog.in_flight) / 2 * elapsed_s / processing_s
    grown = backlog.total - state.backlog.total + finished + state.deficit
    return Arrivals(until_s=now_s, elapsed_s=elapsed_s, messages=max(grown, 0.0)), min(grown, 0.0)


def still_waiting(
    earlier: Sequence[Arrivals], newest: Arrivals, waiting: float, promise_s: float
) -> tuple[Arrivals, ...]:
    """The cohorts of the messages that wait, oldest first; together they hold `waiting` messages.

    Earlier arrivals have started. Where all known arrivals are fewer than the waiting messages, they were
    estimated too low: the oldest cohort takes the rest.
    """
    if not waiting:
        return ()
    ring = [*earlier, newest]
    while len(ring) > 1 and ring[-1].elapsed_s + ring[-2].elapsed_s <= promise_s / MAX_COHORTS:
        ring[-2:] = [_merged(ring[-2], ring[-1])]
    late_s, first = newest.until_s - promise_s, 1
    while first < len(ring) and ring[first].until_s <= late_s:
        older, newer = ring[first - 1], ring[first]
        is_forgotten = newer.until_s <= late_s - OVERDUE_MEMORY_S
        if is_forgotten or newer.until_s - older.since_s <= LATE_COHORT_S:
            ring[first - 1 : first + 1] = [_merged(older, newer)]
        else:
            first += 1
    uncovered, first = waiting, len(ring)
    while uncovered > 0 and first:
        first -= 1
        uncovered -= ring[first].messages
    oldest = ring[first]
    # uncovered < 0: a part of the oldest cohort has started
    begun = Arrivals(until_s=oldest.until_s, elapsed_s=oldest.elapsed_s, messages=oldest.messages + uncovered)
    return (begun, *ring[first + 1 :])


def rate_per_s(recent: Sequence[Arrivals]) -> float:
    """Arrivals per second over `recent`; 0 without any reading."""
    elapsed_s = sum([one.elapsed_s for one in recent])
    return sum([one.messages for one in recent]) / elapsed_s if elapsed_s else 0.0


def rate_before_per_s(recent: Sequence[Arrivals], until_s: float) -> float:
    """Arrivals per second over the RATE_WINDOW_S before this moment."""
    return rate_per_s([one for one in recent if until_s - RATE_WINDOW_S < one.until_s <= until_s])


def recent_arrivals(earlier: Sequence[Arrivals], newest: Arrivals, before_s: float) -> tuple[Arrivals, ...]:
    """The arrivals of the last RATE_WINDOW_S and `before_s` seconds, oldest first."""
    since_s = newest.until_s - RATE_WINDOW_S - before_s
    ring = [*(one for one in earlier if one.until_s > since_s), newest]
    while len(ring) > 1 and ring[-1].elapsed_s + ring[-2].elapsed_s <= before_s / INTERVALS_PER_BOOT:
        ring[-2:] = [_merged(ring[-2], ring[-1])]
    return tuple(ring)


def _merged(older: Arrivals, newer: Arrivals) -> Arrivals:
    """Two intervals as one that begins with the older."""
    return Arrivals(
        until_s=newer.until_s,
        elapsed_s=newer.until_s - older.since_s,
        messages=older.messages + newer.messages,
    )
