"""The deadline engine's decision: how many instances a workload needs now.

Owns the whole law: (workload, observation, state, tick) -> (decision, state). Refuses to lower a fleet on an
unknown reading, while an instance boots, or below what is occupied; and to go to zero unless two successive
readings found the queue empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from sluice.core.bounds import by_schedule, clamp, effective_bounds
from sluice.core.deadline.arrivals import OVERDUE_MEMORY_S, rate_before_per_s
from sluice.core.deadline.boots import (
    LOST_AFTER,
    BootTimes,
    NextBoot,
    boot_times,
    expected_ready,
    launches_at,
    next_boot,
)
from sluice.core.deadline.floor import Floor, floor
from sluice.core.deadline.groups import max_instances
from sluice.core.deadline.learning import MAX_MARGIN_SHARE
from sluice.core.deadline.memory import Tick, booting_instances, next_state
from sluice.core.deadline.plan import MIN_WORK_SHARE, Cohort, Shortage, Supply, fewest_launches
from sluice.core.deadline.promise import is_out_of_reach, ways_out_by_cost, why_out_of_reach
from sluice.core.deadline.state import EngineState
from sluice.core.guard import Guard
from sluice.core.holds import blocked_by, both_bounds, why_unserved
from sluice.core.model import (
    Backlog,
    Bounds,
    BusyInstances,
    Capacity,
    Deadline,
    Decision,
    Kind,
    Limit,
    Mode,
    Observation,
    Reason,
    Trigger,
    Unknown,
    Workload,
)
from sluice.core.pause import Direction, Pause, holds
from sluice.core.schedules import InForce

MAX_STEP_RATIO = 0.1
"""Share of an unprotected fleet that one scale-in may end: AWS may choose instances that work."""
LOG_OUT_OF_REACH_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """A decision, and what it leaves behind."""

    decision: Decision
    state: EngineState | None
    """What to remember; unchanged if a reading is unknown."""
    warning: Decision | None = None
    """That the promise cannot be kept from zero instances; at most once an hour."""


def decide_scale(
    workload: Workload,
    observation: Observation,
    state: EngineState | None,
    tick: Tick,
    pause: Pause | None = None,
    guard: Guard | None = None,
    schedule: InForce | None = None,
) -> Scaling:
    """The size that the fleet should have now.

    `state` is what the previous tick returned, None if that is lost. `pause` and `guard` are those in force:
    the pause holds its direction, the guard what is above the present size, the minimum and one instance;
    the state goes on. `schedule` is the one that has set the fleet's own bounds. A workload without deadline
    settings is a ValueError.
    """
    deadline = workload.deadline
    if deadline is None:
        raise ValueError(f"workload {workload.name} is not scaled by the deadline engine")
    if tick.margin_s is not None and tick.margin_s != deadline.margin_s:
        deadline = _with_margin(deadline, tick.margin_s)
    backlog, capacity = observation.backlog, observation.capacity
    if workload.mode is Mode.PAUSED:
        return Scaling(decision=_decision(workload, observation, Reason.PAUSED), state=state)
    if isinstance(backlog, Unknown) or isinstance(capacity, Unknown) or capacity.unsupported_units:
        reason, detail = why_unserved(workload, backlog, capacity)
        return Scaling(decision=_decision(workload, observation, reason, detail), state=state)
    if state is not None and tick.now_s - state.read_s > deadline.promise_s + OVERDUE_MEMORY_S:
        # Nothing of it says when the messages of now have arrived.
        after = next_state(workload, deadline, backlog, capacity, None, tick)
        after, state = replace(after, boots=state.boots, safety=state.safety), None
    else:
        after = next_state(workload, deadline, backlog, capacity, state, tick)
    bounds, differences = effective_bounds(workload, capacity, schedule)
    if bounds is None:
        detail = both_bounds(workload, capacity)
        decision = _decision(workload, observation, Reason.BOUNDS_DISJOINT, detail)
        return Scaling(decision=decision, state=after)
    plan = _Plan(
        workload=workload,
        deadline=deadline,
        backlog=backlog,
        capacity=capacity,
        bounds=bounds,
        before=state,
        after=after,
        tick=tick,
        boots=boot_times(after.boots, deadline.boot_s),
        schedule=schedule,
    )
    wanted = _wanted(plan)
    since_s, held = _surplus_since_s(plan, wanted), plan.floor_instances
    if (since_s, held) != (after.surplus_since_s, after.floor):
        after = replace(after, surplus_since_s=since_s, floor=held)
    after, warning = _with_warning(plan, after)
    desired, reason, detail, limits = _allowed(plan, wanted, pause, guard)
    decision = _decision(workload, observation, reason, detail, desired, differences + limits)
    if desired is not None:
        after = _with_decision(plan, after, desired)
    return Scaling(
        decision=decision,
        state=after,
        warning=None if warning is None else _decision(workload, observation, *warning),
    )


@lru_cache
def _with_margin(deadline: Deadline, margin_s: float) -> Deadline:
    """A margin learned for a longer promise takes no more of this one than is allowed."""
    return replace(deadline, margin_s=min(margin_s, MAX_MARGIN_SHARE * deadline.promise_s))


def _decision(
    workload: Workload,
    observation: Observation,
    reason: Reason,
    detail: str = "",
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


@dataclass(slots=True, kw_only=True)
class _Plan:
    """What the parts of a decision look at; each value is computed once."""

    workload: Workload
    deadline: Deadline
    backlog: Backlog
    capacity: Capacity
    bounds: Bounds
    before: EngineState | None
    after: EngineState
    tick: Tick
    boots: BootTimes
    schedule: InForce | None
    now_s: float = field(init=False)
    """When queue and fleet were read: never before the last reading, whatever the clocks say."""
    concurrency: float = field(init=False)
    """Slots of an instance."""
    booting: int = field(init=False)
    expected: int = field(init=False)
    """Booting instances that may still become ready."""
    started: int = field(init=False)
    """Instances that run or boot; if AWS does not say which boot, those that may still become ready."""
    staying: int = field(init=False)
    """Of these, those that AWS does not end soon: as many as desired."""
    occupied: int = field(init=False)
    """Instances that work on a message, or that AWS may not terminate."""
    max_instances: int = field(init=False)
    """The most instances that may run, and that the groups of a FIFO queue can use."""
    next_boot: NextBoot = field(init=False)
    floor: Floor | None = field(init=False)
    """None where the promise leaves time for a boot."""
    floor_instances: int = field(init=False)
    """Instances to hold, at most as many as may run; 0 without a floor."""

    def __post_init__(self) -> None:
        capacity, after = self.capacity, self.after
        self.now_s, self.concurrency = after.read_s, self.workload.target.concurrency_per_instance
        self.booting, self.expected = booting_instances(capacity), _expected(self)
        is_told = capacity.booting is not None
        self.started = capacity.running + (self.booting if is_told else self.expected)
        self.staying = min(self.started, capacity.desired)
        self.occupied = max(math.ceil(self.backlog.in_flight / self.concurrency), capacity.protected or 0)
        self.max_instances = _max_instances(self)
        self.next_boot = next_boot(after, self.boots)
        self.floor = _floor(self)
        held_slots = self.floor.held if self.floor else 0.0
        self.floor_instances = min(math.ceil(held_slots / self.concurrency), self.max_instances)


def _expected(plan: _Plan) -> int:
    return sum(
        [
            one.instances
            for one in plan.after.launches
            if plan.now_s - one.at_s <= LOST_AFTER * plan.boots.of(warm=one.warm)[-1]
        ]
    )


def _max_instances(plan: _Plan) -> int:
    if plan.after.groups is None:
        return plan.bounds.max
    usable = max_instances(plan.after.groups, plan.concurrency, plan.now_s)
    return max(plan.bounds.min, min(plan.bounds.max, usable))


def _floor(plan: _Plan) -> Floor | None:
    boot_s = plan.next_boot.mean_s
    if not is_out_of_reach(plan.deadline, boot_s):
        return None
    return floor(
        plan.after.safety,
        plan.after.recent,
        plan.now_s,
        plan.deadline,
        boot_s=boot_s,
        processing_s=plan.tick.processing.mean_s,
    )


def _out_of_reach(plan: _Plan) -> str | None:
    """Why the promise cannot be kept from zero instances; None if it can, or a floor keeps it."""
    floor, boot = plan.floor, plan.next_boot
    if floor is None or (0 < floor.needed == floor.held):
        return None
    if floor.needed > floor.held:
        return ways_out_by_cost(floor, plan.deadline, boot.mean_s, plan.concurrency)
    return why_out_of_reach(plan.deadline, boot.mean_s, warm=boot.warm)


Wanted = tuple[int | None, Reason, str]
"""Instances, None to leave the fleet as it is; why; with which numbers."""


def _wanted(plan: _Plan) -> Wanted:
    """What the waiting messages want, and at least the floor."""
    instances, reason, detail = _for_messages(plan)
    held = plan.floor_instances
    if plan.floor is None or held <= max(instances or 0, plan.capacity.desired):
        return instances, reason, detail
    return held, Reason.FLOOR, f"{detail}; {plan.floor.held:.3g} messages at a time may arrive within a boot"


def _for_messages(plan: _Plan) -> Wanted:
    """More instances if messages would start late; fewer if messages and arrivals need fewer."""
    waiting = plan.backlog.visible + plan.backlog.delayed
    if not waiting:
        return _without_surplus(plan, Reason.ALL_NEEDED, "none waiting")
    oldest_s = plan.now_s - plan.after.waiting[0].since_s
    text = f"{waiting} waiting, the oldest for up to {oldest_s:.0f} s"
    if plan.staying >= plan.bounds.max:
        most = by_schedule([Limit.MAX_INSTANCES], plan.schedule)
        return _without_surplus(plan, Reason.AT_MAXIMUM, _joined(text, most))
    if plan.staying >= plan.max_instances:
        return _without_idle_beyond_groups(plan, text)
    shortage = _shortage(plan)
    if shortage is None:
        return _without_surplus(plan, Reason.STARTS_IN_TIME, text)
    age_s = plan.now_s - shortage.cohort.since_s
    detail = (
        f"{text}; {shortage.messages:.0f} of those that have waited {age_s:.0f} s or longer would start late "
        f"(margin {plan.deadline.margin_s:g} s)"
    )
    wanted = plan.staying + shortage.instances
    if plan.after.groups is not None:
        wanted = min(wanted, plan.max_instances)
    desired = plan.capacity.desired
    if wanted <= desired:
        missing = f"{desired - plan.staying} of the {desired} instances that are asked for have not started"
        return None, Reason.STARTS_LATE, f"{detail}: {missing}"
    if plan.started > desired:
        kept = min(wanted, plan.started) - desired
        return desired + kept, Reason.STARTS_LATE, f"{detail}: keep {kept} of those that are to end"
    return wanted, Reason.STARTS_LATE, f"{detail}: launch {shortage.instances} more"


def _without_idle_beyond_groups(plan: _Plan, text: str) -> Wanted:
    """Keep what the groups in flight can use."""
    detail = f"{text}; {plan.backlog.in_flight} in flight"
    keep = max(plan.max_instances, plan.occupied)
    if plan.expected or plan.before is None or keep >= plan.capacity.desired:
        return None, Reason.LIMITED_BY_GROUPS, detail
    return _lowered(plan, plan.before, keep, Reason.LIMITED_BY_GROUPS, detail)


def _shortage(plan: _Plan) -> Shortage | None:
    deadline, now_s, slots = plan.deadline, plan.now_s, plan.concurrency
    running_slots = min(plan.capacity.running, plan.capacity.desired) * slots
    busy_slots = min(running_slots, plan.backlog.in_flight)
    supply = Supply(
        now_s=now_s,
        busy_slots=busy_slots,
        idle_slots=running_slots - busy_slots,
        booting=[
            (moment, instances * slots)
            for moment, instances in expected_ready(plan.after.launches, now_s, plan.boots)
        ],
        processing=plan.tick.processing,
    )
    # Due from the beginning of their interval: they may all have arrived then.
    within_s = deadline.promise_s - deadline.margin_s
    cohorts = [
        Cohort(since_s := one.until_s - one.elapsed_s, since_s + within_s, one.messages)
        for one in plan.after.waiting
    ]

    def ready(boots_s: Sequence[float]) -> list[tuple[float, float]]:
        share = slots / len(boots_s)
        return [(now_s + boot_s, share) for boot_s in boots_s]

    return fewest_launches(
        cohorts,
        supply,
        launch=ready(plan.boots.cold_s),
        warm_launch=ready(plan.boots.warm_s) if plan.after.warm else (),
        warm_instances=plan.after.warm,
        min_work_s=MIN_WORK_SHARE * deadline.promise_s,
    )


def _without_surplus(plan: _Plan, otherwise: Reason, text: str) -> Wanted:
    """Keep an instance for each message, and what arrivals need; end the others.

    `otherwise` is the reason if there are no others.
    """
    if plan.expected:
        reason = Reason.BOOTING if otherwise is Reason.ALL_NEEDED else otherwise
        return None, reason, f"{text}, {plan.expected} booting"
    busy_slots = rate_before_per_s(plan.after.recent, plan.now_s) * plan.tick.processing.mean_s
    held_slots = busy_slots if plan.floor is None else plan.floor.held
    slots = max(held_slots, plan.backlog.total)
    needed, limits = clamp(math.ceil(slots / plan.concurrency), plan.bounds)
    keep = max(needed, plan.occupied)
    if keep == 0 and not _is_empty_twice(plan):
        keep = 1
    detail = f"{text}, {plan.occupied} instances occupied; arrivals keep {busy_slots:.3g} messages in flight"
    if keep == plan.bounds.min:
        detail = _joined(detail, by_schedule(limits, plan.schedule))
    if plan.before is None or keep >= plan.capacity.desired:
        return None, otherwise, detail
    return _lowered(plan, plan.before, keep, Reason.SURPLUS, detail)


def _lowered(plan: _Plan, before: EngineState, keep: int, reason: Reason, detail: str) -> Wanted:
    """Lower the fleet to `keep`: at once if busy instances are protected, else in steps and after a boot."""
    if plan.deadline.busy_instances is BusyInstances.UNPROTECTED:
        since_s = before.surplus_since_s
        if since_s is None or plan.now_s - since_s < plan.boots.mean_s(warm=False):
            return None, Reason.SURPLUS_TOO_NEW, detail
        desired = plan.capacity.desired
        keep = max(keep, desired - max(1, math.floor(MAX_STEP_RATIO * desired)))
    return keep, reason, detail


def _allowed(
    plan: _Plan, wanted: Wanted, pause: Pause | None, guard: Guard | None
) -> tuple[int | None, Reason, str, tuple[Limit, ...]]:
    """What is wanted, within the bounds and the guard, and unless that direction is paused or blocked.

    A fleet below the minimum is raised.
    """
    (instances, reason, detail), capacity = wanted, plan.capacity
    current = capacity.desired
    if instances is None and current >= plan.bounds.min:
        return None, reason, detail, ()
    desired, limits = _within_bounds(plan, current if instances is None else instances)
    detail = _joined(detail, by_schedule(limits, plan.schedule))
    if desired == current:
        return None, reason, detail, limits
    if paused := holds(pause, Direction.IN if desired < current else Direction.OUT):
        return None, Reason.PAUSED, f"{paused}; {detail}", ()
    blocks = capacity.scale_in_blocked_by if desired < current else capacity.scale_out_blocked_by
    if blocked := blocked_by(plan.workload, blocks, guard):
        return None, Reason.HELD, f"{blocked}; {detail}", ()
    most = max(current, plan.bounds.min, 1)
    if guard is None or plan.workload.guard is None or desired <= most:
        return desired, reason, detail, limits
    if most == current:
        return None, Reason.GUARDED, f"{guard}; {detail}", ()
    return most, reason, f"{guard}; {detail}", (*limits, Limit.GUARD)


def _joined(*details: str) -> str:
    return "; ".join(dict.fromkeys(detail for detail in details if detail))


def _within_bounds(plan: _Plan, wanted: int) -> tuple[int, tuple[Limit, ...]]:
    """`wanted` within the bounds. The maximum does not lower a fleet: it would end instances that work."""
    current = plan.capacity.desired
    if wanted < current:
        return wanted, ()
    desired, limits = clamp(wanted, plan.bounds)
    return (desired, limits) if desired >= current else (current, ())


def _is_empty_twice(plan: _Plan) -> bool:
    return plan.backlog.total == 0 and plan.before is not None and plan.before.backlog.total == 0


def _surplus_since_s(plan: _Plan, wanted: Wanted) -> float | None:
    instances, reason, _ = wanted
    lowers = instances is not None and instances < plan.capacity.desired
    if plan.before is None or not (lowers or reason is Reason.SURPLUS_TOO_NEW):
        return None
    since_s = plan.before.surplus_since_s
    return plan.now_s if since_s is None else since_s


def _with_warning(plan: _Plan, state: EngineState) -> tuple[EngineState, tuple[Reason, str] | None]:
    logged_s, problem = state.out_of_reach_logged_s, _out_of_reach(plan)
    is_recent = logged_s is not None and plan.now_s - logged_s < LOG_OUT_OF_REACH_EVERY_S
    if problem is None or plan.bounds.min > 0 or is_recent:
        return state, None
    return replace(state, out_of_reach_logged_s=plan.now_s), (Reason.PROMISE_OUT_OF_REACH, problem)


def _with_decision(plan: _Plan, state: EngineState, desired: int) -> EngineState:
    """The state with the launches of this decision; nothing is launched in mode observe."""
    if plan.workload.mode is not Mode.ACTIVE:
        return state
    launched = desired - plan.capacity.running - plan.booting
    launches = launches_at(state.read_s, launched, warm=state.warm) if launched > 0 else []
    return replace(state, desired=desired, launches=(*state.launches, *launches))
