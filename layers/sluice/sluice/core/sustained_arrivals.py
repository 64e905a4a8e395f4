"""The sustained arrival rate of a queue: the median of its last ten minutes of NumberOfMessagesSent.

Owns which minutes count as known. Refuses to guess: what CloudWatch has not published is Unknown, not zero.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import datetime

from sluice.core.minutes import MINUTE
from sluice.core.model import Unknown

WINDOW_MINUTES = 10
"""Their median is the sustained arrival rate: a burst of fewer than five minutes counts as backlog only."""
MIN_KNOWN_MINUTES = 5
"""Of the window: a queue that has just become active has no older minutes, and its first few prove little."""
MAX_LATE_MINUTES = 3
"""How far behind the newest minute may be. A later one is missing because CloudWatch is late; late is not
zero."""
READ_MINUTES = WINDOW_MINUTES + MAX_LATE_MINUTES
MAX_SENT_PER_MINUTE = 1e9
"""More than any queue receives: a higher count is implausible."""


def has_gaps(sent: Mapping[datetime, float], minute: datetime) -> bool:
    """Whether a minute is missing that even a late CloudWatch would have by now."""
    return any(at not in sent for at in _settled_minutes(minute))


def with_zeros(
    sent: Mapping[datetime, float], active: Container[datetime], minute: datetime
) -> dict[datetime, float]:
    """`sent`, and 0 for each missing minute for which SQS published another metric of the queue (`active`).

    SQS may leave out NumberOfMessagesSent for a minute in which nothing was sent. Without those zeros the
    busy minutes alone would make up the median.
    """
    return {at: 0.0 for at in _settled_minutes(minute) if at in active} | dict(sent)


def _settled_minutes(minute: datetime) -> list[datetime]:
    return [minute - MINUTE * back for back in range(MAX_LATE_MINUTES + 1, READ_MINUTES + 1)]


def sustained_arrivals_per_s(sent: Mapping[datetime, float], minute: datetime) -> float | Unknown:
    """The median of the last ten full minutes before `minute`, in messages per second.

    `sent` holds messages per minute, by the minute's start. The ten end with the newest that is known.
    Unknown if the newest is more than `MAX_LATE_MINUTES` behind, or fewer than `MIN_KNOWN_MINUTES` of the
    ten are known.
    """
    known = {
        at: count for at, count in sent.items() if at < minute and 0 <= count <= MAX_SENT_PER_MINUTE
    }  # no comparison holds for NaN
    newest = max(known, default=None)
    if newest is None:
        return Unknown(reason=f"no NumberOfMessagesSent of the last {READ_MINUTES} minutes")
    if newest < minute - MINUTE * (MAX_LATE_MINUTES + 1):
        return Unknown(reason=f"the newest NumberOfMessagesSent is that of {newest:%H:%M}")
    window = sorted(count for at, count in known.items() if at > newest - MINUTE * WINDOW_MINUTES)
    if len(window) < MIN_KNOWN_MINUTES:
        return Unknown(
            reason=f"NumberOfMessagesSent of {len(window)} minutes, and {MIN_KNOWN_MINUTES} are needed"
        )
    median = (window[(len(window) - 1) // 2] + window[len(window) // 2]) / 2
    return median / MINUTE.total_seconds()
