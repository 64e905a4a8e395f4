"""Fewer instances run than desired: whether AWS gives a reason.

Owns that decision, which is logged and never acted on: AWS retries by itself. Refuses to count an
instance that is still booting as failed: without a failure message from AWS there is no decision.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sluice.core.model import (
    AutoScalingGroup,
    Decision,
    Fleet,
    Kind,
    LaunchAttempt,
    Observation,
    Reason,
    Trigger,
    Unknown,
    Workload,
)

GROUP_FAILURE_MAX_AGE = timedelta(minutes=15)
"""A group retries and records each attempt; an older failure may belong to an earlier scale-out."""
SERVICE_FAILURE_MAX_AGE = timedelta(hours=6, minutes=15)
"""ECS repeats an event with an unresolved cause only after six hours."""
MAX_MESSAGE_CHARS = 400
"""The part of AWS's message that is logged; the longest messages list zones or link to pages."""


def lacks_instances(observation: Observation) -> bool:
    """Whether the reason is worth a call: messages wait, and fewer instances run than desired."""
    if isinstance(observation.backlog, Unknown) or isinstance(observation.capacity, Unknown):
        return False
    lacking = (
        observation.capacity.running < observation.capacity.desired
        and not observation.capacity.unsupported_units
    )
    return observation.backlog.visible > 0 and lacking


def decide_held_launch(workload: Workload, observation: Observation, trigger: Trigger) -> Decision | None:
    """A group whose launches are suspended, or that is being deleted: it starts no instance at all."""
    if isinstance(observation.capacity, Unknown) or not isinstance(workload.fleet, AutoScalingGroup):
        return None
    if not observation.capacity.scale_out_blocked_by:
        return None
    return Decision(
        workload=workload.name,
        kind=Kind.LAUNCH,
        trigger=trigger,
        reason=Reason.HELD,
        observation=observation,
        detail=", ".join(observation.capacity.scale_out_blocked_by),
    )


def decide_no_capacity(
    workload: Workload,
    observation: Observation,
    attempts: Collection[LaunchAttempt],
    trigger: Trigger,
    *,
    now: datetime,
) -> Decision | None:
    """The failure of AWS's newest attempt; None if that did not fail, or failed too long ago."""
    if not attempts:
        return None
    # AWS attempts to start all instances of one scale-out at the same moment: one failure is enough.
    newest = max(attempts, key=lambda attempt: (attempt.at, attempt.failure is not None))
    if newest.failure is None or now - newest.at > failure_max_age(workload.fleet):
        return None
    return Decision(
        workload=workload.name,
        kind=Kind.LAUNCH,
        trigger=trigger,
        reason=Reason.NO_CAPACITY,
        observation=observation,
        detail=f"at {newest.at:%Y-%m-%d %H:%M} UTC: {_shortened(newest.failure)}",
    )


def failure_max_age(fleet: Fleet) -> timedelta:
    """How long a failure counts as the current state, unless another attempt follows it."""
    return GROUP_FAILURE_MAX_AGE if isinstance(fleet, AutoScalingGroup) else SERVICE_FAILURE_MAX_AGE


def _shortened(message: str) -> str:
    message = " ".join(message.split())
    return message if len(message) <= MAX_MESSAGE_CHARS else f"{message[: MAX_MESSAGE_CHARS - 3]}..."
