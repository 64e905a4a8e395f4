"""What a promise demands: whether launches alone can keep it, and how much an instance contributes to it."""

from __future__ import annotations

from sluice.core.deadline.plan import MIN_WORK_SHARE, starts
from sluice.core.model import Deadline


def why_out_of_reach(deadline: Deadline, boot_s: float, *, warm: bool = False) -> str | None:
    """Why a message that arrives while no instance runs starts late, and the ways out; None if it does not.

    `boot_s` is the mean seconds from launch to the first message; `warm` if that launch is from a warm pool.
    """
    work_s = MIN_WORK_SHARE * deadline.promise_s
    needed_s = boot_s + deadline.tick_s + deadline.margin_s + work_s
    if deadline.promise_s >= needed_s:
        return None
    kind, ways_out = (" from the warm pool", "") if warm else ("", ", use a warm pool,")
    return (
        f"a start within {deadline.promise_s:g} s needs {needed_s:.0f} s: a boot of {boot_s:.0f} s{kind}, a "
        f"tick of {deadline.tick_s} s, a margin of {deadline.margin_s:g} s, and {work_s:.0f} s for messages "
        f"before it. Set a minimum above zero{ways_out} or promise a longer latency"
    )


def messages_in_time(deadline: Deadline, processing_s: float, concurrency: float) -> float:
    """Messages that an instance launched now starts in time, of those that arrive now."""
    left_s = deadline.promise_s - deadline.margin_s - deadline.boot_s
    return concurrency * starts(max(left_s, MIN_WORK_SHARE * deadline.promise_s), processing_s)
