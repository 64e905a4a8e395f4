"""Typed conditions of a workload, as Kubernetes has them: True, False or Unknown, a reason and a message.

Owns what each condition means, and whether its present value is wrong, so that a person has to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sluice.core.backlog import backlog_per_instance
from sluice.core.bounds import effective_bounds
from sluice.core.capacity_units import why_not_served
from sluice.core.holds import blocked_by, both_bounds
from sluice.core.model import Backlog, Capacity, Mode, Unknown, Workload
from sluice.core.pause import Direction, Pause
from sluice.core.switch_record import Switch
from sluice_operator.core.readings import Readings, Starts, promise_percent, promise_s
from sluice_operator.core.schedules import (
    described,
    limits_maximum,
    resized_in_spite_of,
    schedule_in_force,
    suspend_command,
    why_not_held,
)

PUBLISHED_WITHIN = timedelta(minutes=4)
"""A data point bears the minute at whose end or later it is published: one of 12:04 comes by 12:06, and the
next by 12:07. Three minutes of silence, as the workload's own alarm counts them, are four from its minute."""
BOOTSTRAPPED_WITHIN_S = 180
"""Age of the oldest message by which an alarm or a tick has started a fleet at zero."""


class Kind(StrEnum):
    """The conditions, in the order in which they are shown."""

    REGISTERED = "Registered"
    READING = "Reading"
    PUBLISHING = "Publishing"
    AWAKE = "Awake"
    SCALING_LIMITED = "ScalingLimited"
    SCHEDULED = "Scheduled"
    PAUSED = "Paused"
    KEEPING = "Keeping"


class Status(StrEnum):
    """A condition's value."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition. `reason` is one word for programs, `message` a sentence for people."""

    kind: Kind
    status: Status
    reason: str
    message: str
    wrong: bool = False


def conditions(readings: Readings, now: datetime) -> tuple[Condition, ...]:
    """Every condition of a workload that is registered."""
    return (
        Condition(
            kind=Kind.REGISTERED,
            status=Status.TRUE,
            reason="DocumentServed",
            message=f"mode {readings.workload.mode}, {readings.workload.fleet}{_colors(readings)}",
        ),
        _reading(readings),
        _publishing(readings, now),
        _awake(readings),
        _scaling_limited(readings, now),
        _scheduled(readings, now),
        _paused(readings, now),
        _keeping(readings),
    )


def _colors(readings: Readings) -> str:
    """The two colors of a blue/green workload and the switch in progress, as the end of a sentence."""
    idle = readings.workload.idle
    if idle is None:
        return ""
    other = readings.observation.idle
    size = (
        f"{other.desired} desired, {other.running} running"
        if isinstance(other, Capacity)
        else "its instances are unknown"
    )
    said = f", {readings.workload.color}, is active; {idle.color}, {idle.fleet}: {size}"
    if isinstance(readings.switch, Unknown):
        return f"{said}; whether a switch is in progress is unknown: {readings.switch.reason}"
    if readings.switch is None:
        return said
    return (
        f"{said}; in {in_words(readings.switch)}; `sluice switch {readings.workload.name} --follow` shows it"
    )


def in_words(switch: Switch) -> str:
    """A switch in progress: to what, by whom, since when, and how far it is."""
    since = f"{switch.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"a switch to {switch.to} by {switch.by} since {since}, at {switch.step}"


def refused(reason: str) -> tuple[Condition, ...]:
    """The conditions of a document that is not served: nothing is known of its queue and fleet."""
    registered = Condition(
        kind=Kind.REGISTERED, status=Status.FALSE, reason="DocumentRefused", message=reason, wrong=True
    )
    return (
        registered,
        *(
            _unknown(kind, "DocumentRefused", "the document is not served")
            for kind in Kind
            if kind is not Kind.REGISTERED
        ),
    )


def _unknown(kind: Kind, reason: str, message: str) -> Condition:
    return Condition(kind=kind, status=Status.UNKNOWN, reason=reason, message=message)


def _reading(readings: Readings) -> Condition:
    unread = _unread(readings)
    if unread:
        return Condition(
            kind=Kind.READING,
            status=Status.UNKNOWN,
            reason="ReadFailed",
            message="; ".join(unread),
            wrong=True,
        )
    capacity = readings.observation.capacity
    if isinstance(capacity, Capacity) and capacity.unsupported_units:
        return Condition(
            kind=Kind.READING,
            status=Status.FALSE,
            reason="InstanceWeights",
            message=why_not_served(readings.workload, capacity),
            wrong=True,
        )
    return Condition(
        kind=Kind.READING, status=Status.TRUE, reason="QueueAndFleetRead", message="queue and fleet are read"
    )


def _unread(readings: Readings) -> Sequence[str]:
    observed = (readings.observation.backlog, readings.observation.capacity)
    return [reading.reason for reading in observed if isinstance(reading, Unknown)]


def _publishing(readings: Readings, now: datetime) -> Condition:
    kind, newest = Kind.PUBLISHING, readings.backlog_per_instance
    if isinstance(newest, Unknown):
        return _unknown(kind, "ReadFailed", newest.reason)
    fresh = newest is not None and now - newest.at <= PUBLISHED_WITHIN
    flipped_at = readings.switch.flipped_at if isinstance(readings.switch, Switch) else None
    if not fresh and flipped_at is not None and now - flipped_at <= PUBLISHED_WITHIN:
        message = (
            f"{readings.workload.color} is active since {flipped_at.astimezone(UTC):%H:%M:%S} UTC, and has "
            "its first BacklogPerInstance in CloudWatch a minute or two later"
        )
        return _unknown(kind, "JustSwitched", message)
    if newest is None:
        return Condition(
            kind=kind,
            status=Status.FALSE,
            reason="Silent",
            message="CloudWatch has no BacklogPerInstance of the last minutes: look at the publisher's log",
            wrong=True,
        )
    return Condition(
        kind=kind,
        status=Status.TRUE if fresh else Status.FALSE,
        reason="Fresh" if fresh else "Silent",
        message=f"newest BacklogPerInstance: {newest.value:.4g} at {newest.at:%H:%M} UTC",
        wrong=not fresh,
    )


def _awake(readings: Readings) -> Condition:
    kind, backlog, capacity = Kind.AWAKE, readings.observation.backlog, readings.observation.capacity
    if isinstance(capacity, Unknown):
        return _unknown(kind, "ReadFailed", capacity.reason)
    if capacity.desired:
        size = f"{capacity.desired} desired, {capacity.running} running{_surge(readings)}"
        return Condition(kind=kind, status=Status.TRUE, reason="Running", message=size)
    if isinstance(backlog, Unknown) or not backlog.visible:
        waits = "" if isinstance(backlog, Unknown) else ", and no visible message waits"
        return Condition(
            kind=kind, status=Status.FALSE, reason="AtZero", message=f"the fleet is at zero{waits}"
        )
    age_s = readings.oldest_age_s
    return Condition(
        kind=kind,
        status=Status.FALSE,
        reason="WorkWaits",
        message=f"{backlog.visible} messages wait, and the fleet is at zero",
        wrong=isinstance(age_s, int | float) and age_s > BOOTSTRAPPED_WITHIN_S,
    )


def _surge(readings: Readings) -> str:
    """Who holds the fleet up, and until when, as the end of a sentence."""
    if isinstance(readings.surge, Unknown):
        return f"; whether a surge holds them is unknown: {readings.surge.reason}"
    return f"; held by {readings.surge}" if readings.surge else ""


def _scaling_limited(readings: Readings, now: datetime) -> Condition:
    kind, workload, capacity = Kind.SCALING_LIMITED, readings.workload, readings.observation.capacity
    if isinstance(capacity, Unknown):
        return _unknown(kind, "ReadFailed", capacity.reason)

    def limited(reason: str, message: str, *, wrong: bool = True) -> Condition:
        return Condition(kind=kind, status=Status.TRUE, reason=reason, message=message, wrong=wrong)

    bounds, _ = effective_bounds(workload, capacity)
    if bounds is None:
        return limited("BoundsDisjoint", f"the bounds do not overlap: {both_bounds(workload, capacity)}")
    if readings.guard is not None:
        return limited("Guarded", f"the downstream fails: {readings.guard}")
    if blocked := blocked_by(workload, capacity.scale_out_blocked_by):
        return limited("ScaleOutBlocked", blocked, wrong=not isinstance(readings.pause, Pause))
    if capacity.desired >= bounds.max and _wants_more(readings):
        by = limits_maximum(workload, bounds.max, now)
        maximum = f"{bounds.max} by {by}" if by else f"{bounds.max}"
        return limited(
            "AtMaximum", f"the fleet is at its maximum of {maximum}, and the backlog is above its target"
        )
    if blocked := blocked_by(workload, capacity.scale_in_blocked_by):
        until = (
            f", until the switch to {readings.switch.to} ends" if isinstance(readings.switch, Switch) else ""
        )
        return limited("ScaleInBlocked", f"{blocked}{until}", wrong=False)
    return Condition(
        kind=kind,
        status=Status.FALSE,
        reason="WithinBounds",
        message=f"{capacity.desired} desired, within {bounds.min} to {bounds.max}",
    )


def _scheduled(readings: Readings, now: datetime) -> Condition:
    kind, workload, capacity = Kind.SCHEDULED, readings.workload, readings.observation.capacity
    held = schedule_in_force(workload, now)
    if isinstance(held, Unknown):
        return _unknown(kind, "NoTimeZone", held.reason)
    if held is None:
        reason, message = "NoSchedules", "its document has no schedules"
        if workload.schedules:
            reason = f"Mode{workload.mode.value.capitalize()}"
            message = f"mode {workload.mode}: its schedules exist in mode active alone"
        return Condition(kind=kind, status=Status.FALSE, reason=reason, message=message)
    message = described(held, now)
    if isinstance(capacity, Unknown):
        return _unknown(kind, "ReadFailed", f"{message}; whether the fleet has these: {capacity.reason}")
    if capacity.schedules_suspended:
        return Condition(
            kind=kind,
            status=Status.FALSE,
            reason="Suspended",
            message="its scheduled actions are suspended, so no schedule starts: "
            f"`{suspend_command(workload.fleet, suspend=False)}` resumes them",
            wrong=not isinstance(readings.pause, Pause),
        )
    if isinstance(readings.surge, Unknown):
        why = f"{message}; whether a surge holds another minimum: {readings.surge.reason}"
        return _unknown(kind, "ReadFailed", why)
    surges = [readings.surge.instances] if readings.surge else []
    if why_not := why_not_held(held, capacity.bounds, surges, now):
        return Condition(kind=kind, status=Status.FALSE, reason="OtherBounds", message=why_not, wrong=True)
    return Condition(kind=kind, status=Status.TRUE, reason="InForce", message=message)


def _wants_more(readings: Readings) -> bool:
    """Whether more messages wait than the fleet is meant to have."""
    backlog, target = readings.observation.backlog, readings.target
    if isinstance(backlog, Unknown):
        return False
    if readings.workload.deadline is not None:
        return backlog.visible > 0
    per_instance = live_backlog_per_instance(readings)
    known = isinstance(per_instance, float) and isinstance(target, int | float)
    return known and per_instance > target  # type: ignore[operator]


def live_backlog_per_instance(readings: Readings) -> float | Unknown:
    """BacklogPerInstance of this moment, in messages; Unknown if queue or fleet could not be read."""
    backlog, capacity = readings.observation.backlog, readings.observation.consuming
    if isinstance(backlog, Unknown):
        return backlog
    if isinstance(capacity, Unknown):
        return capacity
    return float(backlog_per_instance(backlog, capacity, count_in_flight=readings.workload.count_in_flight))


def _paused(readings: Readings, now: datetime) -> Condition:
    workload, backlog, pause = readings.workload, readings.observation.backlog, readings.pause
    waits = isinstance(backlog, Backlog) and backlog.visible > 0
    if isinstance(pause, Unknown):
        return _unknown(Kind.PAUSED, "ReadFailed", pause.reason)
    if pause is not None and workload.mode is not Mode.PAUSED:
        return _paused_by_operator(
            readings, pause, now, out_waits=waits and Direction.OUT in pause.directions
        )
    messages = {
        Mode.ACTIVE: "mode active: decisions act",
        Mode.OBSERVE: "mode observe: decisions are logged, and none acts",
        Mode.PAUSED: "mode paused: nothing is decided; set Mode of the workload's stack to active",
    }
    paused = workload.mode is Mode.PAUSED
    return Condition(
        kind=Kind.PAUSED,
        status=Status.TRUE if paused else Status.FALSE,
        reason=workload.mode.value.capitalize(),
        message=messages[workload.mode],
        wrong=paused and waits,
    )


def _paused_by_operator(readings: Readings, pause: Pause, now: datetime, *, out_waits: bool) -> Condition:
    name, holds = readings.workload.name, readings.aws_holds
    message = str(pause)
    if isinstance(holds, Unknown):
        message += f"; whether AWS's own policy is held is unknown: {holds.reason}"
    elif not holds:
        message += f"; AWS's own policy is not held any more: `sluice pause {name}` again holds it"
    if resized := resized_in_spite_of(pause, readings.workload, readings.observation.capacity, now):
        message += f"; {resized}"
    return Condition(
        kind=Kind.PAUSED,
        status=Status.TRUE,
        reason="".join(word.capitalize() for word in pause.what.split()),
        message=message,
        wrong=out_waits or holds is not True,
    )


def _keeping(readings: Readings) -> Condition:
    kind, starts, promised_s = Kind.KEEPING, readings.starts, promise_s(readings.workload)
    if promised_s is None:
        return _unknown(kind, "NoPromise", "the settings name no promise: set ProcessingSeconds")
    if isinstance(starts, Unknown):
        return _unknown(kind, "ReadFailed", starts.reason)
    if starts is None:
        return _unknown(
            kind,
            "NoWaits",
            "the workers published no MsgWaitDuration in the last hour, or no message started",
        )
    return _kept(readings.workload, starts, promised_s)


def _kept(workload: Workload, starts: Starts, promised_s: float) -> Condition:
    percent = promise_percent(workload)
    kept = 100 * starts.in_time_share >= percent
    return Condition(
        kind=Kind.KEEPING,
        status=Status.TRUE if kept else Status.FALSE,
        reason="InTime" if kept else "TooManyLate",
        # Cut off, not rounded: 98.996 % must not read 99 %.
        message=f"{int(1000 * starts.in_time_share) / 10:g} % of {starts.messages:,.0f} messages of the last "
        f"hour started within {promised_s:g} s, and {percent:g} % are promised",
        wrong=not kept,
    )
