"""Why messages were late: what the fleet was doing while they waited.

Owns which cause a minute is put down to. Pure: a minute's row says what the fleet was at its end, and that
stands for the minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sluice_sim.embedded.timeline import (
    Cause,
    Minute,
)

MINUTE_S = 60


def causes(
    late_s: Sequence[tuple[float, float]],
    minutes: Sequence[Minute],
    *,
    maximum: int,
    slots: int,
    is_fifo: bool,
) -> dict[Cause, float]:
    """The shares of the late messages' waiting that fall to each cause, the largest first.

    `late_s` holds when each late message arrived and when it started, in seconds since the first minute
    began; `slots` is how many messages an instance works on at a time.
    """
    spent_s: dict[Cause, float] = {}
    by_minute = [_cause(row, maximum, slots, is_fifo=is_fifo) for row in minutes]
    for index, cause in enumerate(by_minute):
        begins_s, ends_s = index * MINUTE_S, (index + 1) * MINUTE_S
        waited_s = sum(max(0.0, min(until_s, ends_s) - max(from_s, begins_s)) for from_s, until_s in late_s)
        if waited_s:
            spent_s[cause] = spent_s.get(cause, 0.0) + waited_s
    return _shares(spent_s)


def _cause(row: Minute, maximum: int, slots: int, *, is_fifo: bool) -> Cause:
    if not row.running:
        return Cause.NONE_RUNNING
    if is_fifo and row.visible and row.in_flight < row.running * slots:
        return Cause.BUSY_GROUPS
    if row.running < row.desired:
        return Cause.BOOTING
    if row.desired >= maximum:
        return Cause.AT_MAXIMUM
    tracked_per_instance = (row.visible + row.in_flight) / row.running + row.arriving_per_instance
    if row.target is None or tracked_per_instance > row.target:
        return Cause.NOT_REQUESTED
    return Cause.WITHIN_TARGET


def _shares(spent_s: Mapping[Cause, float]) -> dict[Cause, float]:
    total_s = sum(spent_s.values())
    return {cause: spent / total_s for cause, spent in sorted(spent_s.items(), key=lambda pair: -pair[1])}
