"""What the checks of one workload rest on. None is "AWS answered, and there is none"."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.core.model import Unknown, Workload
from sluice_operator.core.readings import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """The attributes of a queue that do not change with its messages."""

    visibility_timeout_s: int
    dead_letter_queue_arn: str | None
    """None without a redrive policy."""
    max_receive_count: int | None
    """Receipts after which SQS moves a message to the dead-letter queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingPolicy:
    """The target-tracking policy that the workload's document names."""

    name: str
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One workload as it was read."""

    workload: Workload
    queue: QueueSettings | Unknown | None
    policy: TrackingPolicy | Unknown | None
    backlog_per_instance: Point | Unknown | None
    """The newest that was published."""
    longest_processing_s: float | Unknown | None
    """Seconds that the slowest message of the last day took, by the workers' MsgProcessingDuration."""
