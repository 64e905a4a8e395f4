"""FIFO queues: how many instances the message groups can keep busy.

A message in flight blocks its group, so instances beyond the groups in work only wait. Owns that judgement,
which today is a warning: it is told, never acted on. Refuses to judge by minutes that are not known in full.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from sluice.core.plan import clamp, effective_bounds

MINUTES = 3
"""So many minutes must agree: a boot, a gap between two messages or a late metric looks alike for one."""


def may_exceed_groups(workload: Workload, saw: Observation) -> bool:
    """Whether asking for the metrics is worth a call: work waits in a FIFO queue though several run."""
    if isinstance(saw.backlog, Unknown) or isinstance(saw.capacity, Unknown):
        return False
    return workload.is_fifo and saw.backlog.visible > 0 and saw.capacity.running > 1


def decide_cap(
    workload: Workload, saw: Observation, minutes: Sequence[GroupMinute], trigger: Trigger
) -> Decision | None:
    """As many instances as message groups are in work, where more run; None where that cannot be said.

    `minutes` are those known in full, oldest first. No group in work at all says that nobody receives, which
    no count of instances would change.
    """
    last = minutes[-MINUTES:]
    if not isinstance(saw.capacity, Capacity) or len(last) < MINUTES:
        return None
    groups = max(minute.groups for minute in last)
    idle = all(minute.waiting > 0 and minute.running > groups for minute in last)
    bounds, differences = effective_bounds(workload, saw.capacity)
    if not idle or groups < 1 or bounds is None:
        return None
    desired, clamps = clamp(int(groups), bounds)
    if desired >= saw.capacity.desired:
        return None
    return Decision(
        workload=workload.name,
        kind=Kind.CAP,
        trigger=trigger,
        reason=Reason.BEYOND_MESSAGE_GROUPS,
        saw=saw,
        desired=desired,
        limits=differences + clamps,
        detail=f"at most {groups:g} in flight for {MINUTES} min while messages waited",
    )
