"""What one reading adds to the memory of a workload."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.core.deadline.arrivals import (
    arrivals_since,
    recent_arrivals,
    still_waiting,
)
from sluice.core.deadline.boots import boot_times, booting_launches, next_boot, warm_lead_s, with_samples
from sluice.core.deadline.floor import with_arrivals
from sluice.core.deadline.groups import next_groups
from sluice.core.deadline.plan import Processing
from sluice.core.deadline.promise import is_out_of_reach
from sluice.core.deadline.state import Arrivals, EngineState
from sluice.core.model import Backlog, Capacity, Deadline, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """When a decision is made, and what it reckons with by then."""

    scheduled_s: float
    """The moment that the tick is for, seconds since the epoch."""
    now_s: float
    """When queue and fleet were read."""
    processing: Processing
    margin_s: float | None = None
    """Seconds by which the plan keeps ahead of the promise; None: those of the document."""


def next_state(
    workload: Workload,
    deadline: Deadline,
    backlog: Backlog,
    capacity: Capacity,
    before: EngineState | None,
    tick: Tick,
) -> EngineState:
    """The memory after this reading.

    Without a memory the waiting messages are taken to have arrived just now, and the booting instances to
    have been launched just now: earlier ticks have launched what older messages need.
    """
    # The clock of the function that served the previous tick may be ahead.
    now_s = tick.now_s if before is None else max(tick.now_s, before.read_s)
    booting = booting_instances(capacity)
    state = before or EngineState(
        tick_s=tick.scheduled_s, read_s=now_s, backlog=backlog, desired=capacity.desired
    )
    newest, deficit = Arrivals(until_s=now_s, elapsed_s=0.0, messages=0.0), 0.0
    recent, safety = state.recent, state.safety
    if before is not None:
        processing_s = tick.processing.mean_s
        newest, deficit = arrivals_since(state, now_s, backlog, processing_s)
        boot_s = next_boot(state, boot_times(state.boots, deadline.boot_s)).mean_s
        if is_out_of_reach(deadline, boot_s):
            recent = recent_arrivals(recent, newest, boot_s + newest.elapsed_s)
            safety = with_arrivals(safety, recent, newest, deadline, boot_s, processing_s)
        else:
            recent = recent_arrivals(recent, newest, 0.0)
    # What AWS has not launched, and what never came into effect as the call to AWS failed.
    refused = max(0, capacity.desired - capacity.running - booting) + max(0, state.desired - capacity.desired)
    # Without a memory nothing is known to have booted.
    started = max(0, capacity.running - state.running) if before is not None else 0
    boots = booting_launches(
        state,
        now_s,
        booting=booting,
        refused=refused,
        started=started,
        lead_s=warm_lead_s(state.boots, deadline.boot_s) if any(one.warm for one in state.launches) else 0.0,
    )
    return EngineState(
        tick_s=tick.scheduled_s,
        read_s=now_s,
        backlog=backlog,
        desired=capacity.desired,
        running=capacity.running,
        warm=capacity.warm or 0,
        deficit=deficit,
        recent=recent,
        waiting=still_waiting(state.waiting, newest, backlog.visible + backlog.delayed, deadline.promise_s),
        safety=safety,
        launches=boots.launches,
        ready=boots.ready,
        ready_since_s=boots.ready_since_s,
        boots=with_samples(state.boots, boots.complete),
        groups=next_groups(workload, backlog, capacity, state, now_s) if workload.is_fifo else None,
        surplus_since_s=state.surplus_since_s,
        out_of_reach_logged_s=state.out_of_reach_logged_s,
    )


def booting_instances(capacity: Capacity) -> int:
    """Instances that boot; where AWS does not say, those that are asked for and do not run."""
    if capacity.booting is not None:
        return capacity.booting
    return max(0, capacity.desired - capacity.running)
