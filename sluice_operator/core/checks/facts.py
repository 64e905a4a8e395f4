"""What the checks of one workload rest on. None is "AWS answered, and there is none"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sluice.core.model import Backlog, Unknown, Workload
from sluice_operator.core.readings import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """The attributes of a queue."""

    visibility_timeout_s: int
    retention_s: int
    """Seconds after which SQS deletes a message, counted from its arrival."""
    dead_letter_queue_arn: str | None
    """None without a redrive policy."""
    max_receive_count: int | None
    """Receipts after which SQS moves a message to the dead-letter queue."""
    key_id: str | None
    """The KMS key as the queue names it; None for a queue without one."""
    backlog: Backlog


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingPolicy:
    """The target-tracking policy that the workload's document names."""

    name: str
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One workload as it was read."""

    now: datetime
    workload: Workload
    queue: QueueSettings | Unknown | None
    queue_tags: Mapping[str, str] | Unknown | None
    queue_key_state: str | Unknown | None
    """KMS's state of the queue's key, such as Enabled; None for a key that does not exist, or without one."""
    dead_letter_queue: QueueSettings | Unknown | None
    """None without one, or if it does not exist."""
    policy: TrackingPolicy | Unknown | None
    backlog_per_instance: Point | Unknown | None
    """The newest that was published."""
    longest_processing_s: float | Unknown | None
    """Seconds that the slowest message of the last day took, by the workers' MsgProcessingDuration."""
