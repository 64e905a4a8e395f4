"""How many instances a backlog asks for, and the bounds every answer passes through.

Owns the chain demand -> bounds. Refuses to clamp anywhere else: the decisions in `wake` call this.
"""

from __future__ import annotations

import math

from sluice.core.model import Bounds, Capacity, Limit, Workload


def instances_for(messages: float, target_per_instance: float) -> int:
    """The fewest instances with at most `target_per_instance` messages each: ceil(messages / target).

    The same law AWS's target tracking follows: ceil(N x BacklogPerInstance / target).
    """
    # A float's last bit must not decide over an instance (21 / 0.7 = 30.000000000000004). The slack is
    # relative: one message against a huge target still asks for one.
    return math.ceil(messages / target_per_instance * (1 - 1e-12))


def effective_bounds(workload: Workload, capacity: Capacity) -> tuple[Bounds | None, tuple[Limit, ...]]:
    """The intersection of the document's bounds and the fleet's own (None where they do not overlap)."""
    document, fleet = workload.bounds, capacity.bounds
    if fleet is None:
        return document, ()
    limits = () if document == fleet else (Limit.BOUNDS_DIFFER,)
    both = Bounds(min=max(document.min, fleet.min), max=min(document.max, fleet.max))
    return (both if both.min <= both.max else None), limits


def clamp(instances: int, bounds: Bounds) -> tuple[int, tuple[Limit, ...]]:
    """`instances` within `bounds`, and the limit that bit."""
    if instances < bounds.min:
        return bounds.min, (Limit.MIN_INSTANCES,)
    if instances > bounds.max:
        return bounds.max, (Limit.MAX_INSTANCES,)
    return instances, ()
