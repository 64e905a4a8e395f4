"""What a play tells: its scenario, its minutes, its summary.

Owns the words between the embedded AWS and whoever shows it. Light to import: nothing of the cloud is in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from itertools import pairwise

from sluice_sim.promise import Waits


class Component(StrEnum):
    """A part of the control plane that the demo can do without, to see what still works."""

    PUBLISHER = "publisher"
    BOOTSTRAP_ALARM = "bootstrap-alarm"
    SHUTDOWN_ALARM = "shutdown-alarm"
    RETUNE = "retune"


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyArrivals:
    """So many messages every minute, from the first minute to the last."""

    first: int
    last: int
    per_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One example workload (an environment of samconfig.toml), how its workers are, and what arrives."""

    name: str
    description: str
    explanation: str
    """What the play shows and why it is so."""
    boot_s: float
    durations: tuple[tuple[int, float], ...]
    """(minute, seconds a message takes then); in between it drifts evenly."""
    visibility_timeout_s: int
    concurrency: int = 1
    batch: int = 1
    bursts: Mapping[int, int] = field(default_factory=dict)
    steady: SteadyArrivals | None = None
    environment: str = ""
    """Of samconfig.toml; empty: the one of the scenario's name."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What the play sets otherwise than the environment does."""
    promise_s: float | None = None
    """Seconds within which a message shall start; None: what the workload promises by its target."""
    message_groups: int = 1
    """FIFO queues: how many groups the messages belong to."""
    row_every_minutes: int = 1
    """How often the timeline shows a minute in which nothing happened."""
    quiet_minutes: int = 3
    """How long to look on after the work is done and the fleet is at its minimum."""
    max_minutes: int = 180
    """When to give up."""
    simulated_only: str = ""
    """Why worker processes cannot play it; empty where they can."""

    def arriving(self, minute: int) -> int:
        """Messages that arrive in this minute."""
        steady = self.steady
        flowing = steady.per_minute if steady and steady.first <= minute <= steady.last else 0
        return self.bursts.get(minute, 0) + flowing

    def arrival_sentence(self, minute: int) -> str | None:
        """What a person is told about this minute's arrivals, if anything is new."""
        if minute in self.bursts:
            return f"{self.bursts[minute]} messages arrive"
        if self.steady and minute == self.steady.first:
            return f"{self.steady.per_minute} messages a minute arrive until minute {self.steady.last}"
        return None

    @property
    def last_arrival(self) -> int:
        """The minute after which nothing arrives."""
        return max([*self.bursts, self.steady.last if self.steady else 0], default=0)

    def duration_s(self, minute: float) -> float:
        """How long a message takes that arrives then, in seconds."""
        for (before, short), (after, long) in pairwise(self.durations):
            if before <= minute < after:
                return short + (long - short) * (minute - before) / (after - before)
        return self.durations[-1][1] if minute >= self.durations[-1][0] else self.durations[0][1]


class EventKind(StrEnum):
    """Who did something."""

    ARRIVAL = "arrival"
    DECISION = "decision"
    TARGET_TRACKING = "target tracking"
    FAILURE = "failure"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, as a sentence."""

    kind: EventKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One row of the timeline; `events` are what happened since the row before."""

    minute: int
    visible: int
    in_flight: int
    desired: int
    running: int
    sent: int = 0
    """Messages that arrived in this minute."""
    arrivals_per_s: float | None = None
    """Of them what the newest tick took to be sustained; None where it knew none or does not track them."""
    backlog_per_instance: float | None
    effective_backlog_per_instance: float | None = None
    """None where the workload does not track it."""
    target: float | None
    processing_s: float | None
    """Mean seconds of the messages finished in this minute, None where none was."""
    events: tuple[Event, ...]

    @property
    def sustained_per_minute(self) -> float | None:
        """Sustained arrivals, in messages a minute as `sent` is."""
        return None if self.arrivals_per_s is None else self.arrivals_per_s * 60

    @property
    def tracked_per_instance(self) -> float | None:
        """What target tracking compares with the target, in messages per instance, where it is published."""
        effective = self.effective_backlog_per_instance
        return self.backlog_per_instance if effective is None else effective

    @property
    def arriving_per_instance(self) -> float:
        """What sustained arrivals are of it."""
        return (self.tracked_per_instance or 0.0) - (self.backlog_per_instance or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSummary:
    """What worker processes came to, where the work was done by such."""

    started: int
    failed: int
    """Processes that ended unbidden, or not in order when told to."""
    published: int
    """Processing times that they published as MsgProcessingDuration."""
    mean_s: float | None
    """Their mean, in seconds of the wall clock; None where there is none."""

    def as_json(self) -> dict[str, object]:
        """A part of the summary."""
        return {
            "started": self.started,
            "failed": self.failed,
            "durations_published": self.published,
            "mean_wall_s": self.mean_s,
        }


class Cause(Enum):
    """What the fleet was doing while a message waited."""

    NONE_RUNNING = "none runs"
    """Nothing ran: the work was not seen yet, or the first instances booted."""
    BUSY_GROUPS = "busy groups"
    """FIFO: a slot was free, but the groups that waited had a message in work."""
    BOOTING = "booting"
    """Fewer ran than were asked for."""
    AT_MAXIMUM = "at maximum"
    """All that may run did."""
    NOT_REQUESTED = "not asked"
    """The backlog was above the target, and no more were asked for yet."""
    WITHIN_TARGET = "within target"
    """The backlog was within the target, so that no more were due."""


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a workload came to; message counts are counts of distinct ids."""

    name: str
    minimum: int
    maximum: int
    sent: int = 0
    processed: int = 0
    processed_twice: int = 0
    """Messages that were processed more than once."""
    left: int = 0
    peak_instances: int = 0
    minutes_at_zero: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    final_desired: int = 0
    instance_hours: float = 0.0
    """Billed, each instance from its launch until it is gone."""
    waits: Waits | None = None
    """None where nothing was sent."""
    late_by_cause: Mapping[Cause, float] = field(default_factory=dict)
    """Shares of the late messages' waiting, the largest first."""
    processes: ProcessSummary | None = None

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
            "processed_twice": self.processed_twice,
            "left": self.left,
            "peak_instances": self.peak_instances,
            "minutes_at_zero": self.minutes_at_zero,
            "decisions": dict(self.decisions),
            "final_desired": self.final_desired,
            "instance_hours": self.instance_hours,
            **({} if self.waits is None else self.waits.as_json()),
            **({} if self.processes is None else {"processes": self.processes.as_json()}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One workload's play from beginning to end."""

    summary: Summary
    minutes: tuple[Minute, ...]
    explanation: str = ""
    """What it shows and why it is so, for whoever looks at its picture."""
