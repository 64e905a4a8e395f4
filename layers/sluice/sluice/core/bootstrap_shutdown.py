"""Bootstrap (0 -> 1 or more) and shutdown (-> 0 or min).

Owns the two decisions that AWS's target tracking does not make. A bootstrap only raises the desired count. A
shutdown needs the proof of emptiness; anything unknown, in flight or blocked prevents it, and it ends no
instance of a floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sluice.core.bounds import (
    by_schedule,
    clamp,
    effective_bounds,
    instances_for,
)
from sluice.core.emptiness import why_not_proven_empty
from sluice.core.guard import Guard
from sluice.core.holds import blocked_by, both_bounds, why_unserved
from sluice.core.model import (
    Backlog,
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

STUCK_AFTER = timedelta(hours=1)
"""A deployment this old does not end by itself: the whole fleet is billed until an operator acts."""


def decide_bootstrap(
    workload: Workload,
    observation: Observation,
    trigger: Trigger,
    *,
    target_per_instance: float,
    pause: Pause | None = None,
    guard: Guard | Unknown | None = None,
    schedule: InForce | None = None,
) -> Decision:
    """Start a fleet at zero while messages wait.

    `target_per_instance`, in messages per instance, sizes the fleet if the workload's bootstrap size is
    `backlog`. `pause` and `guard` are those in force; under a guard, or an unknown one, one instance starts.
    `schedule` is the one that has set the fleet's own bounds.
    """

    def hold(reason: Reason, detail: str = "") -> Decision:
        return _hold(workload, Kind.BOOTSTRAP, trigger, observation, reason, detail)

    backlog, capacity = observation.backlog, observation.capacity
    if workload.mode is Mode.PAUSED:
        return hold(Reason.PAUSED)
    if isinstance(backlog, Unknown) or isinstance(capacity, Unknown) or capacity.unsupported_units:
        return hold(*why_unserved(workload, backlog, capacity))
    if capacity.desired > 0:
        return hold(Reason.AWAKE)
    if backlog.visible == 0:
        return hold(Reason.NO_WORK)
    if paused := holds(pause, Direction.OUT):
        return hold(Reason.PAUSED, paused)
    if blocked := blocked_by(workload, capacity.scale_out_blocked_by, guard):
        return hold(Reason.HELD, blocked)
    bounds, differences = effective_bounds(workload, capacity, schedule)
    if bounds is None:
        return hold(Reason.BOUNDS_DISJOINT, both_bounds(workload, capacity))
    # The deadline engine launches what starts the messages in time, whatever has started it.
    size = workload.bootstrap_instances if workload.deadline is None else None
    wanted = instances_for(backlog.total, target_per_instance) if size is None else size
    # A guard that is no longer in the document holds nothing, though AWS may still name its suspension.
    most = wanted if guard is None or workload.guard is None else min(wanted, 1)
    guarded = (Limit.GUARD,) if most < wanted else ()
    desired, clamps = clamp(most, bounds)
    if desired == 0:
        return hold(Reason.NO_ROOM, both_bounds(workload, capacity, schedule))
    details = [
        _planned(workload.deadline, backlog, target_per_instance) if workload.deadline else "",
        _guarded(guard) if guarded else "",
        by_schedule(clamps, schedule),
    ]
    return Decision(
        workload=workload.name,
        kind=Kind.BOOTSTRAP,
        trigger=trigger,
        reason=Reason.WORK_WAITS,
        observation=observation,
        desired=desired,
        limits=differences + guarded + clamps,
        detail="; ".join(detail for detail in details if detail),
    )


def decide_shutdown(
    workload: Workload,
    observation: Observation,
    floor: int | Unknown,
    published: Mapping[datetime, float] | Unknown,
    trigger: Trigger,
    *,
    proof_end_minutes: Sequence[datetime],
    pause: Pause | Unknown | None = None,
    schedule: InForce | None = None,
) -> Decision:
    """Set a fleet to its minimum, or to its floor, once its queue is proven empty.

    `floor` is how many instances the deadline engine holds. `published` is BacklogPerInstance by scheduled
    minute; with the live reading in `observation` it is the whole proof. `proof_end_minutes` are the minutes
    with which the proof may end, newest first (`core/emptiness.py`). `pause` is the one in force, `schedule`
    the one that has set the fleet's own bounds.
    """

    def hold(reason: Reason, detail: str = "") -> Decision:
        return _hold(workload, Kind.SHUTDOWN, trigger, observation, reason, detail)

    backlog, capacity = observation.backlog, observation.capacity
    if workload.mode is Mode.PAUSED:
        return hold(Reason.PAUSED)
    if isinstance(backlog, Unknown) or isinstance(capacity, Unknown) or capacity.unsupported_units:
        return hold(*why_unserved(workload, backlog, capacity))
    bounds, differences = effective_bounds(workload, capacity, schedule)
    if bounds is None:
        return hold(Reason.BOUNDS_DISJOINT, both_bounds(workload, capacity))
    minimum = by_schedule([Limit.MIN_INSTANCES], schedule)
    if capacity.desired <= bounds.min:
        return hold(Reason.AT_MINIMUM, minimum)
    if backlog.total > 0:
        return hold(Reason.NOT_EMPTY)
    if isinstance(floor, Unknown):
        return hold(Reason.UNKNOWN_READING, floor.reason)
    lowest, _ = clamp(floor, bounds)
    if capacity.desired <= lowest:
        return hold(Reason.FLOOR_HELD, _held(lowest))
    if held := _blocked_or_unproven(workload, capacity, pause, published, proof_end_minutes):
        return hold(*held)
    details = [
        f"0 for {workload.idle_minutes} min and now",
        _held(lowest) if lowest > bounds.min else minimum,
    ]
    return Decision(
        workload=workload.name,
        kind=Kind.SHUTDOWN,
        trigger=trigger,
        reason=Reason.PROVEN_EMPTY,
        observation=observation,
        desired=lowest,
        limits=differences,
        detail="; ".join(detail for detail in details if detail),
    )


def reads_empty_above_min(workload: Workload, observation: Observation, floor: int | Unknown = 0) -> bool:
    """Whether the floor, or with it the proof, is worth a call: what is read would allow a shutdown."""
    if (
        isinstance(floor, Unknown)
        or isinstance(observation.backlog, Unknown)
        or isinstance(observation.capacity, Unknown)
        or observation.capacity.unsupported_units
    ):
        return False
    bounds, _ = effective_bounds(workload, observation.capacity)
    # Disjoint bounds pass, so that the decision reports them.
    return observation.backlog.total == 0 and (
        bounds is None or observation.capacity.desired > clamp(floor, bounds)[0]
    )


def _blocked_or_unproven(
    workload: Workload,
    capacity: Capacity,
    pause: Pause | Unknown | None,
    published: Mapping[datetime, float] | Unknown,
    proof_end_minutes: Sequence[datetime],
) -> tuple[Reason, str] | None:
    if isinstance(pause, Unknown):
        return Reason.UNKNOWN_READING, pause.reason
    if paused := holds(pause, Direction.IN):
        return Reason.PAUSED, paused
    if blocked := blocked_by(workload, capacity.scale_in_blocked_by):
        return _held_scale_in(blocked, capacity, proof_end_minutes[0])
    if isinstance(published, Unknown):
        return Reason.UNKNOWN_READING, published.reason
    gap = why_not_proven_empty(published, proof_end_minutes, workload.idle_minutes)
    return (Reason.NOT_PROVEN, gap) if gap else None


def _held(instances: int) -> str:
    return f"{instances} instances are held for messages that arrive within a boot"


def _guarded(guard: Guard | Unknown | None) -> str:
    if isinstance(guard, Unknown):
        return f"whether the downstream guard holds is unknown, so one instance starts: {guard.reason}"
    return str(guard)


def _planned(deadline: Deadline, backlog: Backlog, messages_per_instance: float) -> str:
    return (
        f"{backlog.total} messages, and an instance launched now starts {messages_per_instance:.3g} of them "
        f"in time, with a margin of {deadline.margin_s:g} s"
    )


def _hold(
    workload: Workload, kind: Kind, trigger: Trigger, observation: Observation, reason: Reason, detail: str
) -> Decision:
    return Decision(
        workload=workload.name,
        kind=kind,
        trigger=trigger,
        reason=reason,
        observation=observation,
        detail=detail,
    )


def _held_scale_in(blocked: str, capacity: Capacity, newest: datetime) -> tuple[Reason, str]:
    since = capacity.deploying_since
    if since is None or newest - since <= STUCK_AFTER:
        return Reason.HELD, blocked
    minutes = (newest - since) // timedelta(minutes=1)
    return Reason.DEPLOYMENT_STUCK, f"{blocked}, since {since:%Y-%m-%d %H:%M} UTC, for {minutes} min"
