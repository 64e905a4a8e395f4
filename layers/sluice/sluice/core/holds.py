"""Why nothing is decided for a workload, or not in one direction."""

from __future__ import annotations

from sluice.core.capacity_units import why_not_served
from sluice.core.guard import Guard
from sluice.core.model import (
    DYNAMIC_SCALING_IN_SUSPENDED,
    DYNAMIC_SCALING_OUT_SUSPENDED,
    Backlog,
    Capacity,
    Mode,
    Reason,
    Unknown,
    Workload,
)
from sluice.core.schedules import InForce

SUSPENDED_BY_MODE = frozenset({DYNAMIC_SCALING_OUT_SUSPENDED, DYNAMIC_SCALING_IN_SUSPENDED})


def why_unserved(
    workload: Workload, backlog: Backlog | Unknown, capacity: Capacity | Unknown
) -> tuple[Reason, str]:
    """Reason and detail where a reading is unknown, or the fleet's sizes are not counted in instances."""
    if isinstance(backlog, Unknown) or isinstance(capacity, Unknown):
        return Reason.UNKNOWN_READING, _unknowns(backlog, capacity)
    return Reason.INSTANCE_WEIGHTS, why_not_served(workload, capacity)


def blocked_by(workload: Workload, blocks: tuple[str, ...], guard: Guard | Unknown | None = None) -> str:
    """What blocks a direction.

    A suspension by the stack itself, in mode observe, does not count; nor does that of the downstream guard,
    which lets one instance start.
    """
    own = SUSPENDED_BY_MODE if workload.mode is Mode.OBSERVE else frozenset()
    if isinstance(guard, Guard) and guard.suspends_scale_out:
        own |= {DYNAMIC_SCALING_OUT_SUSPENDED}
    return ", ".join(block for block in blocks if block not in own)


def _unknowns(backlog: Backlog | Unknown, capacity: Capacity | Unknown) -> str:
    return "; ".join(reading.reason for reading in (backlog, capacity) if isinstance(reading, Unknown))


def both_bounds(workload: Workload, capacity: Capacity, schedule: InForce | None = None) -> str:
    """The document's bounds and the fleet's own, for the log; `schedule` is the one that set these."""
    document, fleet = workload.bounds, capacity.bounds or workload.bounds
    ends = f" {schedule.ends()}" if schedule else ""
    return f"document {document.min}..{document.max}, fleet {fleet.min}..{fleet.max}{ends}"
