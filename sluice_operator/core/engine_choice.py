"""Which engine keeps a promise, how soon a fleet at zero works, and the target that follows."""

from __future__ import annotations

from enum import StrEnum

from sluice.core.deadline.promise import is_out_of_reach, messages_in_time
from sluice_operator.core.demand import Demand

TICK_S = 60.0
"""A fleet at zero is started by its alarm or at the next minute."""
TRACKING_S = 240.0
"""Until target tracking has asked for more instances: three or four minutes."""
LARGEST_TARGET = 999_999
"""What workload.yaml takes."""


class Scaling(StrEnum):
    """Who decides the size; the values are those of workload.yaml's Scaling."""

    TARGET_TRACKING = "target_tracking"
    DEADLINE = "deadline"


HELD_BUCKETS = {Scaling.TARGET_TRACKING: 2, Scaling.DEADLINE: 1}
"""Five minutes for which a size is held: target tracking scales in slowly, the engine at once."""


def chosen(demand: Demand) -> tuple[Scaling, str]:
    """The engine for a promise, and why (docs/choosing.md)."""
    boot_s, promise_s = demand.boot_s, demand.promise_s
    if tracked_target(demand) < 1:
        return (
            Scaling.DEADLINE,
            "messages take longer than the promise leaves, so each needs a slot of its own",
        )
    if promise_s >= boot_s + TRACKING_S:
        return (
            Scaling.TARGET_TRACKING,
            f"the promise leaves the {TRACKING_S:g} s that target tracking takes, and a boot",
        )
    because = (
        f"target tracking takes {TRACKING_S:g} s to ask for more, and with a boot of {boot_s:g} s that "
        f"exceeds the promise of {promise_s:g} s"
    )
    return Scaling.DEADLINE, because


def start_s(demand: Demand, scaling: Scaling) -> float:
    """Seconds from a message's arrival at a fleet of zero until an instance processes it."""
    if scaling is Scaling.TARGET_TRACKING:
        return TICK_S + demand.boot_s
    return demand.deadline.tick_s + demand.deadline.margin_s + demand.boot_s


def more_s(demand: Demand, scaling: Scaling) -> float:
    """The same at a fleet that runs but is too small."""
    if scaling is Scaling.TARGET_TRACKING:
        return TRACKING_S + demand.boot_s
    return start_s(demand, scaling)


def target(demand: Demand, scaling: Scaling) -> float:
    """Messages per instance: of target tracking, or what an instance launched now starts in time."""
    if scaling is Scaling.DEADLINE:
        return messages_in_time(demand.deadline, demand.processing_s, demand.concurrency)
    return tracked_target(demand)


def tracked_target(demand: Demand) -> float:
    """What an instance starts in the time that the promise leaves after the start of a fleet at zero.

    Where it leaves none, the minimum runs already, and the whole promise counts.
    """
    left_s = demand.promise_s - start_s(demand, Scaling.TARGET_TRACKING)
    if left_s <= 0:
        left_s = demand.promise_s
    return messages_per_instance(left_s, demand.concurrency, demand.processing_s)


def messages_per_instance(within_s: float, concurrency: float, processing_s: float) -> float:
    """Messages that an instance starts within a time: the formula of a dynamic target."""
    return within_s * concurrency / processing_s


def is_late_from_zero(demand: Demand, scaling: Scaling) -> bool:
    """Whether a message that arrives while no instance runs starts late."""
    if scaling is Scaling.DEADLINE:
        return is_out_of_reach(demand.deadline, demand.boot_s)
    return start_s(demand, scaling) > demand.promise_s
