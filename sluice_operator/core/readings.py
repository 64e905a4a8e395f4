"""What was read of one workload. A reading that failed is Unknown with its reason, never 0."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sluice.core.guard import Guard
from sluice.core.model import DynamicTarget, Observation, Unknown, Workload
from sluice.core.pause import Pause
from sluice.core.surge import Surge
from sluice.core.switch_record import Switch

DEFAULT_PROMISE_PERCENT = 99.0
"""Share of the messages that start in time, for a workload whose settings name none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The newest value of a metric; `at` is the start of its minute."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """The messages that started in some time, by the workers' wait metric."""

    messages: float
    in_time_share: float
    """Share of them that started within the promise, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDecision:
    """A decision as the functions have logged it."""

    at: datetime
    message: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Everything that the list of workloads needs of one; None is "AWS answered, and there is none"."""

    workload: Workload
    observation: Observation
    oldest_age_s: float | Unknown | None
    """Age of the oldest message."""
    backlog_per_instance: Point | Unknown | None
    """BacklogPerInstance as published."""
    tracked: Point | Unknown | None
    """What target tracking reads, as published; None for the deadline engine."""
    target: float | Unknown | None
    """Messages per instance of the workload's policy; None without a policy."""
    margin_s: float | Unknown | None
    """The margin that the deadline engine has learned; None for a workload without it."""
    arrivals_per_s: float | Unknown | None
    deletions_per_s: float | Unknown | None
    """Messages that the workers have deleted."""
    starts: Starts | Unknown | None
    """In the last hour; None if the workers published no waits."""
    last_decision: LoggedDecision | Unknown | None
    pause: Pause | Unknown | None = None
    """The pause that an operator has set and that is in force."""
    guard: Guard | None = None
    """The hold of the downstream guard that is in force; `pause` is Unknown if that could not be read."""
    aws_holds: bool | Unknown = True
    """Whether AWS's own policy is held as the pause asks."""
    switch: Switch | Unknown | None = None
    """The switch between two colors that is in progress."""
    surge: Surge | Unknown | None = None
    """The surge in force; looked for where the fleet's minimum is above the document's."""


def promise_s(workload: Workload) -> float | None:
    """Seconds within which a message shall start; None if the settings do not say.

    For the deadline engine it is the engine's, for a dynamic target the acceptable latency, for a static
    target the time in which one instance starts its target: target x processing time / concurrency.
    """
    if workload.deadline is not None:
        return workload.deadline.promise_s
    if isinstance(workload.target, DynamicTarget):
        return workload.target.acceptable_latency_s
    processing_s = workload.tracking.processing_s
    if processing_s is None:
        return None
    target = workload.target
    return target.messages_per_instance * processing_s / target.concurrency_per_instance


def promise_percent(workload: Workload) -> float:
    """Share of the messages, in percent, that shall start within the promise."""
    return workload.deadline.promise_percent if workload.deadline else DEFAULT_PROMISE_PERCENT
