"""What a promise demands: whether launches alone can keep it, and how much an instance contributes to it."""

from __future__ import annotations

import math

from sluice.core.deadline.floor import Floor
from sluice.core.deadline.plan import MIN_WORK_SHARE, starts
from sluice.core.model import Deadline


def why_out_of_reach(deadline: Deadline, boot_s: float, *, warm: bool = False) -> str | None:
    """Why a message that arrives while no instance runs starts late, and the ways out; None if it does not.

    `boot_s` is the mean seconds from launch to the first message; `warm` if that launch is from a warm pool.
    """
    if not is_out_of_reach(deadline, boot_s):
        return None
    work_s = MIN_WORK_SHARE * deadline.promise_s
    needed_s = boot_s + deadline.tick_s + deadline.margin_s + work_s
    kind, ways_out = (" from the warm pool", "") if warm else ("", ", use a warm pool,")
    return (
        f"a start within {deadline.promise_s:g} s needs {needed_s:.0f} s: a boot of {boot_s:.0f} s{kind}, a "
        f"tick of {deadline.tick_s} s, a margin of {deadline.margin_s:g} s, and {work_s:.0f} s for messages "
        f"before it. Set a minimum above zero{ways_out} or promise a longer latency"
    )


def is_out_of_reach(deadline: Deadline, boot_s: float) -> bool:
    """Whether a message that arrives while no instance runs starts late."""
    return boot_s > longest_boot_s(deadline)


def shortest_promise_s(deadline: Deadline, boot_s: float) -> float:
    """The shortest promise that launches keep from zero instances; a share of it is for earlier messages."""
    return (boot_s + deadline.tick_s + deadline.margin_s) / (1 - MIN_WORK_SHARE)


def longest_boot_s(deadline: Deadline) -> float:
    """The longest boot with which launches keep the promise from zero instances; below 0 for none."""
    return (1 - MIN_WORK_SHARE) * deadline.promise_s - deadline.tick_s - deadline.margin_s


def ways_out_by_cost(floor: Floor, deadline: Deadline, boot_s: float, concurrency: float) -> str:
    """What keeps a promise whose floor does not pay, cheapest first."""
    instances = math.ceil(floor.needed / concurrency)
    mean_instances = floor.mean_load / concurrency
    ways = [f"a promise of {math.ceil(shortest_promise_s(deadline, boot_s))} s, which needs none of them"]
    if (start_s := longest_boot_s(deadline)) > 0:
        ways.append(
            f"a warm pool of {instances} that start within {start_s:.0f} s, which costs their volumes while "
            "they are stopped"
        )
    ways.append(f"MinCapacity={instances}")
    return (
        f"At this load {instances} instances would have to be held for {deadline.promise_percent:g} % of the "
        f"messages to start in time, and the work of a day keeps {mean_instances:.3g} busy; "
        f"{math.ceil(floor.held / concurrency)} are held. Cheapest first: {'; '.join(ways)}"
    )


def messages_in_time(deadline: Deadline, processing_s: float, concurrency: float) -> float:
    """Messages that an instance launched now starts in time, of those that arrive now."""
    left_s = deadline.promise_s - deadline.margin_s - deadline.boot_s
    return concurrency * starts(max(left_s, MIN_WORK_SHARE * deadline.promise_s), processing_s)
