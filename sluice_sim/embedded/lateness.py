"""Why messages were late: assigns every minute that they waited to a cause.

Pure. A row holds the fleet's state at the end of a minute, which is taken for the whole minute.
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
    """The share of each cause in the late messages' waiting time, largest first.

    `late_s` holds (arrival, start) of each late message in seconds since the first minute began; `slots` is
    the number of messages that an instance processes concurrently.
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
