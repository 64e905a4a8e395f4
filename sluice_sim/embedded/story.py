"""What a play tells: its scenario, its minutes, its summary.

Owns the words between the embedded AWS and whoever shows it. Light to import: nothing of the cloud is in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Part(StrEnum):
    """A part of the control plane that the demo can do without, to see what still works."""

    PUBLISHER = "publisher"
    BOOTSTRAP_ALARM = "bootstrap-alarm"
    SHUTDOWN_ALARM = "shutdown-alarm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One workload, what its fleet is like, and what arrives: {minute: messages}."""

    environment: str
    boot_s: float
    concurrency_per_instance: int
    duration_s: float
    visibility_timeout_s: int
    arrivals: Mapping[int, int]
    quiet_minutes: int
    """How long to look on after the work is done and the fleet is at its minimum."""
    limit_minutes: int
    """When to give up."""


TRANSCRIPTION = Scenario(
    environment="transcription",
    boot_s=120,
    concurrency_per_instance=1,
    duration_s=60,
    visibility_timeout_s=300,
    arrivals={4: 24, 14: 60},
    quiet_minutes=3,
    limit_minutes=180,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One row of the timeline; `events` are the decisions and scalings since the row before."""

    minute: int
    visible: int
    in_flight: int
    desired: int
    running: int
    backlog_per_instance: float | None
    target: float | None
    events: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Summary:
    """What the demo came to; message counts are counts of distinct ids."""

    name: str
    minimum: int
    sent: int = 0
    processed: int = 0
    left: int = 0
    peak_instances: int = 0
    minutes_at_zero: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    final_desired: int = 0

    @property
    def ok(self) -> bool:
        """Nothing left, and the fleet back at its minimum."""
        return self.left == 0 and self.processed == self.sent and self.final_desired == self.minimum

    def as_json(self) -> dict[str, object]:
        """The summary as the command prints it."""
        return {
            "name": self.name,
            "sent": self.sent,
            "processed": self.processed,
            "left": self.left,
            "peak_instances": self.peak_instances,
            "minutes_at_zero": self.minutes_at_zero,
            "decisions": dict(self.decisions),
            "final_desired": self.final_desired,
        }
