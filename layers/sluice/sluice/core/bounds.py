"""How many instances a backlog needs, and the bounds that every desired count is clamped to.

Owns the chain demand -> bounds: no other module clamps a desired count.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from sluice.core.model import Bounds, Capacity, Limit, Workload
from sluice.core.schedules import InForce


def instances_for(messages: float, target_per_instance: float) -> int:
    """The fewest instances with at most `target_per_instance` messages each: ceil(messages / target).

    AWS's target tracking uses the same formula: ceil(N x BacklogPerInstance / target).
    """
    # A rounding error must not cost an instance: 21 / 0.7 = 30.000000000000004. The tolerance is relative, so
    # that one message against a huge target still needs one instance.
    return math.ceil(messages / target_per_instance * (1 - 1e-12))


def effective_bounds(
    workload: Workload, capacity: Capacity, schedule: InForce | None = None
) -> tuple[Bounds | None, tuple[Limit, ...]]:
    """The intersection of the document's bounds and the fleet's own (None if they do not overlap).

    Where a schedule of the document has set the fleet's own, the difference is as intended.
    """
    document, fleet = workload.bounds, capacity.bounds
    if fleet is None:
        return document, ()
    limits = () if document == fleet or schedule else (Limit.BOUNDS_DIFFER,)
    both = Bounds(min=max(document.min, fleet.min), max=min(document.max, fleet.max))
    return (both if both.min <= both.max else None), limits


def clamp(instances: int, bounds: Bounds) -> tuple[int, tuple[Limit, ...]]:
    """`instances` clamped to `bounds`, and the limit that changed it, if any."""
    if instances < bounds.min:
        return bounds.min, (Limit.MIN_INSTANCES,)
    if instances > bounds.max:
        return bounds.max, (Limit.MAX_INSTANCES,)
    return instances, ()


def by_schedule(limits: Collection[Limit], schedule: InForce | None) -> str:
    """Until when a limit that changed a decision is in force; empty if no schedule has set it."""
    if schedule and Limit.MIN_INSTANCES in limits:
        return schedule.limits("minimum")
    if schedule and Limit.MAX_INSTANCES in limits:
        return schedule.limits("maximum")
    return ""
