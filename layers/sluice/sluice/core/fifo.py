"""FIFO queues: how many instances the message groups can keep busy.

SQS delivers no further message of a group while one of its messages is in flight, so instances beyond the
number of groups in flight are idle. Owns that decision, which is only logged as a warning, never acted on.
Refuses to decide from minutes that are not fully known, that are old, or that are not consecutive.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import datetime

from sluice.core.bounds import (
    clamp,
    effective_bounds,
)
from sluice.core.minutes import MINUTE, minutes_since_epoch
from sluice.core.model import (
    Capacity,
    Decision,
    GroupMinute,
    Kind,
    Observation,
    Reason,
    Trigger,
    Unknown,
    Workload,
)
from sluice.core.schedules import in_force_on

MINUTES = 3
"""Consecutive minutes that must agree: a boot or a late metric can look the same in a single minute."""
NEWEST_AGE = 4 * MINUTE
"""How long before the tick's minute the newest of them may begin. AWS's own metrics of a minute can be read
one to three minutes after its end (observed); older ones say nothing about the current state."""
LOOK_BACK = NEWEST_AGE + MINUTE * (MINUTES - 1)
"""How long before the tick's minute the oldest minute that may count begins, and reading starts."""
EVERY_MINUTES = 5
"""GetMetricData is billed per metric: three a minute would cost more than everything else for a workload."""


def is_due(workload: Workload, minute: datetime) -> bool:
    """Whether this scheduled minute is the workload's turn: one minute of five.

    A checksum of the name decides which, because it is the same in every process; hash() of a string is not.
    """
    turn = zlib.crc32(workload.name.encode())
    return (minutes_since_epoch(minute) - turn) % EVERY_MINUTES == 0


def may_exceed_groups(workload: Workload, observation: Observation) -> bool:
    """Whether the metrics are worth a call: messages wait in a FIFO queue although several instances run."""
    if isinstance(observation.backlog, Unknown) or isinstance(observation.capacity, Unknown):
        return False
    several = observation.capacity.running > 1 and not observation.capacity.unsupported_units
    return workload.is_fifo and observation.backlog.visible > 0 and several


def decide_cap(
    workload: Workload,
    observation: Observation,
    minutes: Sequence[GroupMinute],
    trigger: Trigger,
    *,
    minute: datetime,
) -> Decision | None:
    """As many instances as message groups are in flight, if more run; None if that is not certain.

    `minutes` are the minutes of which all three metrics are known; `minute` is the tick's own. If no
    group is in flight, no worker receives at all, and fewer instances would not change that.
    """
    last = _newest_in_a_row(minutes, minute)
    if not isinstance(observation.capacity, Capacity) or not last:
        return None
    groups = max(one.groups for one in last)
    idle = all(one.waiting > 0 and one.running > groups for one in last)
    schedule = in_force_on(workload, observation.capacity.bounds, minute)
    bounds, differences = effective_bounds(workload, observation.capacity, schedule)
    if not idle or groups < 1 or bounds is None:
        return None
    desired, clamps = clamp(int(groups), bounds)
    if desired >= observation.capacity.desired:
        return None
    return Decision(
        workload=workload.name,
        kind=Kind.CAP,
        trigger=trigger,
        reason=Reason.BEYOND_MESSAGE_GROUPS,
        observation=observation,
        desired=desired,
        limits=differences + clamps,
        detail=f"at most {groups:g} in flight for the {MINUTES} min until {last[-1].at + MINUTE:%H:%M} "
        "while messages waited",
    )


def _newest_in_a_row(minutes: Sequence[GroupMinute], minute: datetime) -> list[GroupMinute]:
    """The three minutes that end with the newest known one, oldest first; empty if one of them is missing.

    Only minutes that are over count, and the newest must not be older than `NEWEST_AGE`.
    """
    known = {one.at: one for one in minutes if one.at < minute}
    newest = max(known, default=None)
    if newest is None or newest < minute - NEWEST_AGE:
        return []
    wanted = [newest - MINUTE * back for back in range(MINUTES - 1, -1, -1)]
    return [known[at] for at in wanted] if known.keys() >= set(wanted) else []
