"""The deadline engine's decision: how many instances a workload needs now.

Owns the whole law: (workload, observation, state, now) -> (decision, state). Refuses to lower a fleet on an
unknown reading, while an instance boots, or below what is occupied; and to go to zero unless two successive
readings found the queue empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluice.core.bounds import clamp, effective_bounds
from sluice.core.deadline.arrivals import (
    arrivals_since,
    faded_peak_per_s,
    rate_per_s,
    recent_arrivals,
    still_waiting,
)
from sluice.core.deadline.boots import booting_launches, expected_ready, quantiles_s, with_samples
from sluice.core.deadline.plan import MIN_WORK_SHARE, Cohort, Processing, Shortage, Supply, fewest_launches
from sluice.core.deadline.state import Arrivals, EngineState, Launch
from sluice.core.model import (
    Backlog,
    Bounds,
    BusyInstances,
    Capacity,
    Deadline,
    Decision,
    Kind,
    Limit,
    Observation,
    Reason,
    Trigger,
    Unknown,
    Workload,
)

UNPROTECTED_STEP = 0.1
"""Share of an unprotected fleet that one scale-in may end: AWS may choose instances that work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """When a decision is made, and what is measured beside the reading."""

    scheduled_s: float
    """The moment that the tick is for, seconds since the epoch."""
    now_s: float
    """When queue and fleet were read."""
    processing: Processing


def decide_scale(
    workload: Workload, observation: Observation, state: EngineState | None, tick: Tick
) -> tuple[Decision, EngineState | None]:
    """The size of the fleet, and what to remember; the state is unchanged where a reading is unknown."""
    backlog, capacity, deadline = observation.backlog, observation.capacity, _deadline(workload)
    if isinstance(backlog, Unknown) or isinstance(capacity, Unknown):
        reasons = [one.reason for one in (backlog, capacity) if isinstance(one, Unknown)]
        return _decision(workload, observation, Reason.UNKNOWN_READING, "; ".join(reasons)), state
    after = next_state(deadline, backlog, capacity, state, tick)
    bounds, differences = effective_bounds(workload, capacity)
    if bounds is None:
        return _decision(workload, observation, Reason.BOUNDS_DISJOINT), after
    plan = _Plan(
        deadline=deadline,
        concurrency=workload.target.concurrency_per_instance,
        backlog=backlog,
        capacity=capacity,
        before=state,
        after=after,
        tick=tick,
    )
    if backlog.visible or backlog.delayed:
        wanted, reason, detail = _while_messages_wait(plan, bounds)
    else:
        wanted, reason, detail = _while_none_waits(plan, bounds)
        lowered = reason in (Reason.SURPLUS, Reason.SURPLUS_TOO_NEW)
        since_s = after.surplus_since_s or tick.now_s
        after = replace(after, surplus_since_s=since_s if lowered else None)
    if wanted is None:
        return _decision(workload, observation, reason, detail), after
    desired, clamps = clamp(wanted, bounds)
    if desired == capacity.desired:
        return _decision(workload, observation, reason, detail, limits=differences + clamps), after
    decision = _decision(
        workload, observation, reason, detail, desired=desired, limits=differences + clamps
    )
    return decision, _with_launch(after, desired - plan.launched)


def _with_launch(state: EngineState, instances: int) -> EngineState:
    """The state with instances that are launched at its reading; one that AWS refuses does not boot next time."""
    if instances <= 0:
        return state
    return replace(state, launches=(*state.launches, Launch(at_s=state.read_s, instances=instances)))


def next_state(
    deadline: Deadline, backlog: Backlog, capacity: Capacity, state: EngineState | None, tick: Tick
) -> EngineState:
    """The memory after this reading.

    Without a memory the waiting messages are taken to have arrived just now, and the booting instances to be
    launched just now: whatever older ones need was launched by earlier ticks.
    """
    now_s, booting = tick.now_s, booting_instances(capacity)
    refused = max(0, capacity.desired - capacity.running - booting)
    if state is None:
        state = EngineState(
            tick_s=tick.scheduled_s, since_s=now_s, read_s=now_s, backlog=backlog
        )
        newest, deficit = Arrivals(until_s=now_s, elapsed_s=0.0, messages=0.0), 0.0
        recent: tuple[Arrivals, ...] = ()
    else:
        newest, deficit = arrivals_since(state, now_s, backlog, tick.processing.mean_s)
        recent = recent_arrivals(state.recent, newest)
    boots = booting_launches(state, now_s, booting=booting, refused=refused)
    return replace(
        state,
        tick_s=tick.scheduled_s,
        read_s=now_s,
        backlog=backlog,
        deficit=deficit,
        recent=recent,
        waiting=still_waiting(
            state.waiting, newest, backlog.visible + backlog.delayed, deadline.promise_s
        ),
        peak_per_s=faded_peak_per_s(state.peak_per_s, rate_per_s(recent), newest.elapsed_s),
        launches=boots.launches,
        ready=boots.ready,
        ready_since_s=boots.ready_since_s,
        boots=with_samples(state.boots, boots.complete),
    )


def booting_instances(capacity: Capacity) -> int:
    """Instances that boot; where AWS does not say, those that are asked for and do not run."""
    if capacity.booting is not None:
        return capacity.booting
    return max(0, capacity.desired - capacity.running)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What both halves of the decision look at."""

    deadline: Deadline
    concurrency: float
    backlog: Backlog
    capacity: Capacity
    before: EngineState | None
    after: EngineState
    tick: Tick

    @property
    def boots_s(self) -> Sequence[float]:
        return quantiles_s(self.after.boots, self.deadline.boot_s)

    @property
    def mean_boot_s(self) -> float:
        return sum(self.boots_s) / len(self.boots_s)

    @property
    def launched(self) -> int:
        return self.capacity.running + booting_instances(self.capacity)

    @property
    def is_reachable(self) -> bool:
        """Whether a launch is in time for a message that arrives while no instance runs."""
        deadline = self.deadline
        latest_s = self.mean_boot_s + deadline.tick_s + deadline.margin_s + MIN_WORK_SHARE * deadline.promise_s
        return deadline.promise_s >= latest_s


Wanted = tuple[int | None, Reason, str]
"""Instances, None to leave the fleet as it is; why; with which numbers."""


def _while_messages_wait(plan: _Plan, bounds: Bounds) -> Wanted:
    oldest_s = plan.tick.now_s - plan.after.waiting[0].since_s
    text = f"{plan.backlog.visible + plan.backlog.delayed} wait, the oldest up to {oldest_s:.0f} s"
    if plan.launched >= bounds.max:
        return None, Reason.AT_MAXIMUM, text
    shortage = _shortage(plan)
    if shortage is None:
        return None, Reason.STARTS_IN_TIME, text
    age_s = plan.tick.now_s - shortage.cohort.since_s
    detail = (
        f"{text}; {shortage.messages:.0f} that arrived up to {age_s:.0f} s ago or earlier would start late "
        f"(margin {plan.deadline.margin_s:g} s): {shortage.instances} more"
    )
    return max(plan.launched + shortage.instances, plan.capacity.desired), Reason.STARTS_LATE, detail


def _shortage(plan: _Plan) -> Shortage | None:
    deadline, now_s, slots = plan.deadline, plan.tick.now_s, plan.concurrency
    running_slots = plan.capacity.running * slots
    busy_slots = min(running_slots, plan.backlog.in_flight)
    supply = Supply(
        now_s=now_s,
        busy_slots=busy_slots,
        idle_slots=running_slots - busy_slots,
        booting=[
            (moment, instances * slots)
            for moment, instances in expected_ready(plan.after.launches, now_s, plan.boots_s)
        ],
        processing=plan.tick.processing,
    )
    # Due from the beginning of their tick: they may all have arrived then.
    within_s = deadline.promise_s - deadline.margin_s
    cohorts = [
        Cohort(since_s=one.since_s, due_s=one.since_s + within_s, messages=one.messages)
        for one in plan.after.waiting
    ]
    launch = [(now_s + boot_s, slots / len(plan.boots_s)) for boot_s in plan.boots_s]
    return fewest_launches(cohorts, supply, launch=launch, min_work_s=MIN_WORK_SHARE * deadline.promise_s)


def _while_none_waits(plan: _Plan, bounds: Bounds) -> Wanted:
    """Keep what is occupied, and what arrivals need."""
    capacity, deadline = plan.capacity, plan.deadline
    if booting_instances(capacity):
        return None, Reason.BOOTING, ""
    rate = rate_per_s(plan.after.recent) if plan.is_reachable else plan.after.peak_per_s
    busy_slots = rate * plan.tick.processing.mean_s
    needed = math.ceil(busy_slots / plan.concurrency)
    occupied = max(math.ceil(plan.backlog.in_flight / plan.concurrency), capacity.protected or 0)
    detail = f"none waits, {occupied} occupied; arrivals keep {busy_slots:.3g} slots busy"
    keep = max(needed, occupied, bounds.min)
    if keep == 0 and not _empty_twice(plan):
        keep = 1
    if plan.before is None or keep >= capacity.desired:
        return None, Reason.ALL_NEEDED, detail
    if deadline.busy_instances is BusyInstances.UNPROTECTED:
        since_s = plan.after.surplus_since_s
        if since_s is None or plan.tick.now_s - since_s < plan.mean_boot_s:
            return None, Reason.SURPLUS_TOO_NEW, detail
        step = max(1, math.floor(UNPROTECTED_STEP * capacity.desired))
        keep = max(keep, capacity.desired - step)
    return keep, Reason.SURPLUS, detail


def _empty_twice(plan: _Plan) -> bool:
    return plan.backlog.total == 0 and plan.before is not None and plan.before.backlog.total == 0


def _deadline(workload: Workload) -> Deadline:
    if workload.deadline is None:
        raise ValueError(f"workload {workload.name} is not scaled by the deadline engine")
    return workload.deadline


def _decision(
    workload: Workload,
    observation: Observation,
    reason: Reason,
    detail: str = "",
    *,
    desired: int | None = None,
    limits: tuple[Limit, ...] = (),
) -> Decision:
    return Decision(
        workload=workload.name,
        kind=Kind.SCALE,
        trigger=Trigger.TICK,
        reason=reason,
        observation=observation,
        desired=desired,
        limits=limits,
        detail=detail,
    )
