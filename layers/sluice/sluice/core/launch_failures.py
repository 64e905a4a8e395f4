"""Fewer instances run than are asked for: whether AWS has said why it starts none.

Owns that judgement, which is told and never acted on: AWS tries again by itself. Refuses to take an instance
that still boots for one that cannot start: without AWS's own words on a failure there is no decision.
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

GROUP_FAILURE_HOLDS = timedelta(minutes=15)
"""A group tries again and tells of each attempt; an older failure may be that of an earlier need."""
SERVICE_FAILURE_HOLDS = timedelta(hours=6, minutes=15)
"""ECS repeats an event whose cause is not resolved only after six hours."""
MAX_WORDS = 400
"""Characters of AWS's words in a log line; its longest messages list zones or link to pages."""


def lacks_instances(observation: Observation) -> bool:
    """Whether asking AWS is worth a call: work waits and fewer instances run than are asked for."""
    if isinstance(observation.backlog, Unknown) or isinstance(observation.capacity, Unknown):
        return False
    lacking = (
        observation.capacity.running < observation.capacity.desired and not observation.capacity.counted_by
    )
    return observation.backlog.visible > 0 and lacking


def decide_held_launch(workload: Workload, observation: Observation, trigger: Trigger) -> Decision | None:
    """A group whose launches are suspended, or that is being deleted: it starts nothing, whatever AWS has."""
    if isinstance(observation.capacity, Unknown) or not isinstance(workload.fleet, AutoScalingGroup):
        return None
    if not observation.capacity.scale_out_held_by:
        return None
    return Decision(
        workload=workload.name,
        kind=Kind.LAUNCH,
        trigger=trigger,
        reason=Reason.HELD,
        observation=observation,
        detail=", ".join(observation.capacity.scale_out_held_by),
    )


def decide_no_capacity(
    workload: Workload,
    observation: Observation,
    attempts: Collection[LaunchAttempt],
    trigger: Trigger,
    *,
    now: datetime,
) -> Decision | None:
    """AWS's newest attempt failed: its words; None where another followed, or the failure is too old."""
    if not attempts:
        return None
    # Several instances of one scale-out are attempted at the same moment: one that failed is enough.
    newest = max(attempts, key=lambda attempt: (attempt.at, attempt.failure is not None))
    if newest.failure is None or now - newest.at > failure_holds(workload.fleet):
        return None
    return Decision(
        workload=workload.name,
        kind=Kind.LAUNCH,
        trigger=trigger,
        reason=Reason.NO_CAPACITY,
        observation=observation,
        detail=f"at {newest.at:%Y-%m-%d %H:%M} UTC: {_shortened(newest.failure)}",
    )


def failure_holds(fleet: Fleet) -> timedelta:
    """For how long a failure that nothing followed is taken for the present state."""
    return GROUP_FAILURE_HOLDS if isinstance(fleet, AutoScalingGroup) else SERVICE_FAILURE_HOLDS


def _shortened(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= MAX_WORDS else f"{words[: MAX_WORDS - 3]}..."
