"""The data of a demo run: scenario, timeline and summary.

Shared by the embedded AWS, the command and the report. Cheap to import: it does not load moto or boto3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from itertools import pairwise

from sluice_sim.promise import Waits

MINUTE_S = 60
MAX_BATCH = 10
"""Messages per SendMessageBatch call (SQS limit)."""


class Component(StrEnum):
    """A component of the control plane that the demo can switch off, to show what still works."""

    PUBLISHER = "publisher"
    BOOTSTRAP_ALARM = "bootstrap-alarm"
    SHUTDOWN_ALARM = "shutdown-alarm"
    RETUNE = "retune"


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyArrivals:
    """A constant number of messages per minute, from the first minute to the last, inclusive."""

    first: int
    last: int
    per_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One example workload (an environment of samconfig.toml), its workers, and its arrivals."""

    name: str
    description: str
    explanation: str
    """What the run shows, and why."""
    boot_s: float
    durations: tuple[tuple[int, float], ...]
    """(minute, seconds per message); interpolated linearly in between."""
    visibility_timeout_s: int
    concurrency: int = 1
    batch: int = 1
    bursts: Mapping[int, int] = field(default_factory=dict)
    steady: SteadyArrivals | None = None
    environment: str = ""
    """Environment in samconfig.toml; empty for the scenario's own name."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameters that override the environment's."""
    promise_s: float | None = None
    """Seconds within which a message shall start; None for what follows from the workload's target."""
    message_groups: int = 1
    """FIFO queues: number of message groups."""
    row_every_minutes: int = 1
    """The demo prints an uneventful minute only every so many minutes."""
    quiet_minutes: int = 3
    """Minutes to continue after the work is done and the fleet is at its minimum."""
    max_minutes: int = 180
    """Minutes after which the run gives up."""
    switched_in: int | None = None
    """The minute in whose middle an operator switches the colors of a blue/green workload; None for never."""
    simulated_only: str = ""
    """Why it cannot run with worker processes; empty if it can."""

    def arriving(self, minute: int) -> int:
        """Messages that arrive in this minute."""
        steady = self.steady
        flowing = steady.per_minute if steady and steady.first <= minute <= steady.last else 0
        return self.bursts.get(minute, 0) + flowing

    def sends(self, minute: int) -> Iterator[tuple[float, int]]:
        """The calls that send this minute's messages: seconds after its beginning, and messages.

        A burst arrives at once, a steady flow is spread evenly over the minute.
        """
        arriving = self.arriving(minute)
        calls = -(-arriving // MAX_BATCH)
        pause_s = 0.0 if minute in self.bursts else MINUTE_S / max(calls, 1)
        for call in range(calls):
            yield call * pause_s, min(MAX_BATCH, arriving - call * MAX_BATCH)

    def arrival_sentence(self, minute: int) -> str | None:
        """A sentence about this minute's arrivals; None if nothing changed."""
        if minute in self.bursts:
            return f"{self.bursts[minute]} messages arrive"
        if self.steady and minute == self.steady.first:
            return f"{self.steady.per_minute} messages a minute arrive until minute {self.steady.last}"
        return None

    @property
    def last_arrival(self) -> int:
        """The last minute with arrivals."""
        return max([*self.bursts, self.steady.last if self.steady else 0], default=0)

    def duration_s(self, minute: float) -> float:
        """Processing time in seconds of a message that arrives at this minute."""
        for (before, short), (after, long) in pairwise(self.durations):
            if before <= minute < after:
                return short + (long - short) * (minute - before) / (after - before)
        return self.durations[-1][1] if minute >= self.durations[-1][0] else self.durations[0][1]


class EventKind(StrEnum):
    """The kind of an event, or who caused it."""

    ARRIVAL = "arrival"
    DECISION = "decision"
    TARGET_TRACKING = "target tracking"
    FAILURE = "failure"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event as a sentence."""

    kind: EventKind
    text: str
    time: datetime | None = None
    """When it was, if it was a real time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorSize:
    """One color of a blue/green workload."""

    color: str
    active: bool
    desired: int
    running: int
    busy: int
    """Instances that work on messages, and are protected from scale-in meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchStep:
    """One step of a switch between two colors; times are seconds since the run began."""

    step: str
    began_s: float
    ended_s: float | None
    """None for one that has not ended."""
    reason: str
    """What it has said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchSeen:
    """A switch as its operator sees it."""

    old: str
    new: str
    """The colors that are switched."""
    steps: tuple[SwitchStep, ...]
    outcome: str
    """How it ended, as a sentence; empty as long as it has not."""
    is_done: bool
    """Whether the other color is active and nothing is left to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One row of the timeline, as of the end of a minute; `events` happened since the previous row."""

    minute: int
    time: datetime | None = None
    """When it was, if it was a real one."""
    visible: int
    in_flight: int
    desired: int
    running: int
    colors: tuple[ColorSize, ...] = ()
    """Blue and green; `desired` and `running` are of both together. Empty for a workload with one fleet."""
    sent: int = 0
    """Messages that arrived in this minute."""
    arrivals_per_s: float | None = None
    """Sustained arrivals according to the latest tick; None if unknown or not tracked."""
    backlog_per_instance: float | None
    effective_backlog_per_instance: float | None = None
    """None if the workload does not track it."""
    target: float | None
    processing_s: float | None
    """Mean processing time in seconds of the messages finished in this minute; None without any."""
    events: tuple[Event, ...]

    @property
    def named(self) -> str:
        """What it is called: `minute 4`, or `14:05`."""
        return f"minute {self.minute}" if self.time is None else f"{self.time:%H:%M}"

    @property
    def when(self) -> str:
        """`in minute 4`, or `at 14:05`."""
        return f"{'in' if self.time is None else 'at'} {self.named}"

    @property
    def sustained_per_minute(self) -> float | None:
        """Sustained arrivals, in messages a minute as `sent` is."""
        return None if self.arrivals_per_s is None else self.arrivals_per_s * 60

    @property
    def tracked_per_instance(self) -> float | None:
        """The tracked metric in messages per instance; None if it is not published."""
        effective = self.effective_backlog_per_instance
        return self.backlog_per_instance if effective is None else effective

    @property
    def arriving_per_instance(self) -> float:
        """The share of sustained arrivals in the tracked metric."""
        return (self.tracked_per_instance or 0.0) - (self.backlog_per_instance or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSummary:
    """What became of the worker processes of a run."""

    started: int
    failed: int
    """Processes that exited by themselves, or failed while they drained."""
    published: int
    """Number of processing times published as MsgProcessingDuration."""
    mean_s: float | None
    """Mean published processing time in wall seconds; None without any."""

    @classmethod
    def of_all(cls, fleets: Sequence[ProcessSummary]) -> ProcessSummary:
        """Those of several fleets together."""
        published = sum(each.published for each in fleets)
        total_s = sum(each.published * (each.mean_s or 0.0) for each in fleets)
        return cls(
            started=sum(each.started for each in fleets),
            failed=sum(each.failed for each in fleets),
            published=published,
            mean_s=total_s / published if published else None,
        )

    def as_json(self) -> dict[str, object]:
        """The JSON object within the summary."""
        return {
            "started": self.started,
            "failed": self.failed,
            "durations_published": self.published,
            "mean_wall_s": self.mean_s,
        }


class Cause(Enum):
    """What the fleet was doing while a message waited."""

    NONE_RUNNING = "none runs"
    """No instance ran: the messages were not observed yet, or the first instances booted."""
    BUSY_GROUPS = "busy groups"
    """FIFO: slots were free, but every waiting group had a message in flight."""
    BOOTING = "booting"
    """Fewer instances ran than were desired."""
    AT_MAXIMUM = "at maximum"
    """The maximum number of instances ran."""
    NOT_REQUESTED = "not requested"
    """The backlog was above the target, and the desired capacity was not raised yet."""
    WITHIN_TARGET = "within target"
    """The backlog was within the target, so no scale-out was due."""


@dataclass(slots=True, kw_only=True)
class Summary:
    """The result of a workload's run; message counts are counts of distinct ids."""

    name: str
    minimum: int
    maximum: int
    sent: int = 0
    processed: int = 0
    processed_twice: int = 0
    """Messages processed more than once."""
    left: int = 0
    peak_instances: int = 0
    minutes_at_zero: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    final_desired: int = 0
    instance_hours: float = 0.0
    """Billed hours, each instance from its launch to its termination."""
    waits: Waits | None = None
    """None if no message was sent."""
    late_by_cause: Mapping[Cause, float] = field(default_factory=dict)
    """Cause -> share of the late messages' waiting time, largest first."""
    processes: ProcessSummary | None = None
    out_of_order: int = 0
    """Messages of a FIFO queue that were processed after a later one of their group."""
    switch: SwitchSeen | None = None
    """None if nobody has switched colors."""
    ended_at_work: int = 0
    """Instances of the color that was active first, ended by AWS while they worked on messages."""
    old_color_desired: int = 0
    """The desired count, at the end, of the color that was active before a switch."""

    @property
    def ok(self) -> bool:
        """Whether every message was processed in order, and the fleet is back at its minimum.

        A switch must have made the other color the active one, and have ended no instance at work.
        """
        is_processed = self.left == 0 and self.processed == self.sent and self.out_of_order == 0
        is_switched = self.switch is None or (
            self.switch.is_done and self.ended_at_work == 0 and self.old_color_desired == 0
        )
        return is_processed and is_switched and self.final_desired == self.minimum

    def as_json(self) -> dict[str, object]:
        """The JSON object that the command prints."""
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
            **({} if self.switch is None else {"switch": self._switch_as_json(self.switch)}),
        }

    def _switch_as_json(self, switch: SwitchSeen) -> dict[str, object]:
        return {
            "outcome": switch.outcome,
            "well": switch.is_done,
            "out_of_order": self.out_of_order,
            "ended_at_work": self.ended_at_work,
            "old_color_desired": self.old_color_desired,
            "steps": [
                {
                    "step": each.step,
                    "began_s": each.began_s,
                    "ended_s": each.ended_s,
                    "reason": each.reason,
                }
                for each in switch.steps
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One workload's run from beginning to end."""

    summary: Summary
    minutes: tuple[Minute, ...]
    explanation: str = ""
    """What it shows, and why; printed below its chart."""
