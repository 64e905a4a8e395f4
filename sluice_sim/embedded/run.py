"""The run of one workload in the demo: its queue, its fleet, its workers, and the record of what happens.

Writes the rows of the timeline and counts messages (sent, processed, left) by their ids.
"""

from __future__ import annotations

import json
import math
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from statistics import fmean
from typing import Any

from moto.sqs.models import sqs_backends

from sluice.core.model import Kind
from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.aws_rules.policy_runner import ScalingActivity
from sluice_sim.embedded.cloud import EmbeddedAws
from sluice_sim.embedded.colors import ONE_AFTER_THE_OTHER_S, active, create_fleet, fleets_of, receives
from sluice_sim.embedded.fleet import EmbeddedFleet
from sluice_sim.embedded.function_logs import LogLine
from sluice_sim.embedded.group_order import GroupOrder
from sluice_sim.embedded.lateness import causes
from sluice_sim.embedded.timeline import (
    ColorSize,
    Event,
    EventKind,
    Minute,
    ProcessSummary,
    Scenario,
    Summary,
    SwitchSeen,
    Timeline,
)
from sluice_sim.embedded.workers import (
    Assignment,
    WorkerFactory,
    Workers,
)
from sluice_sim.promise import waits

MINUTE_S = 60
HOUR_S = 3600
Operator = Callable[[str, float], Callable[[], SwitchSeen]]
"""Begins to switch the colors of a workload whose run began at that time (epoch seconds).

What it returns tells how far the switch is.
"""
OnMinute = Callable[[str, Minute], None]
"""Called with the workload's name and the row of the minute that has just ended."""


class WorkloadRun:
    """One workload from its first minute until it is back at its minimum."""

    def __init__(
        self,
        aws: EmbeddedAws,
        scenario: Scenario,
        deployed: Mapping[str, str],
        *,
        promise_s: float,
        namespace: str,
        worker_factory: WorkerFactory,
        on_minute: OnMinute,
        operator: Operator | None,
    ) -> None:
        """`operator` switches the colors, where the scenario says when."""
        self._aws, self._scenario, self._on_minute = aws, scenario, on_minute
        self._operator = operator
        self._look: Callable[[], SwitchSeen] | None = None
        self._start, self._promise_s = aws.clock.now, promise_s
        self.name, self.deployed = deployed["Name"], deployed
        self.summary = Summary(
            name=self.name, minimum=int(deployed["MinCapacity"]), maximum=int(deployed["MaxCapacity"])
        )
        self.minutes: list[Minute] = []
        self._sent_s: dict[str, float] = {}
        """Message id -> when it was sent, in seconds of the run."""
        self._waited_s: dict[str, float] = {}
        self._processed: Counter[str] = Counter()
        self._events: list[Event] = []
        self._finished_s: list[float] = []
        self._published: Mapping[str, float] = {}
        """The log record of the latest tick: field -> number."""
        self._last_held: dict[str, str] = {}
        """Kind of decision -> the reason for which it held last."""
        self._quiet_minutes = 0
        self._queue_url = aws.create_queue(
            deployed["QueueName"], visibility_timeout_s=scenario.visibility_timeout_s
        )
        self._workers: list[Workers] = []
        self._fleets: dict[str, EmbeddedFleet] = {}
        """Name by which AWS scales it -> fleet; of two colors, blue is the first."""
        self._key_of: dict[str, str] = {}
        """Color -> the name by which AWS scales its fleet."""
        self._order = GroupOrder()
        self._old_color = "blue"
        self._ended_at_work_before = 0
        fleets = fleets_of(deployed)
        for color, fleet in fleets.items():
            assignment = Assignment(
                scenario=scenario,
                queue_url=self._queue_url,
                fleet=fleet,
                namespace=namespace,
                on_processed=self._on_processed,
                publishes_waits=deployed.get("Scaling") == "deadline",
                on_failure=self._on_failure,
                receives=partial(receives, self.name, color),
                first_polls_s=ONE_AFTER_THE_OTHER_S if len(fleets) > 1 else (0.0,),
            )
            self._workers.append(worker_factory(aws, assignment))
            key, created = create_fleet(
                aws,
                fleet,
                minimum=0 if self._fleets else self.summary.minimum,
                maximum=self.summary.maximum,
                boot_s=scenario.boot_s,
                start=self._workers[-1].start,
            )
            self._fleets[key], self._key_of[color] = created, key

    @property
    def over(self) -> bool:
        """True once the work is done and the fleet has rested at its minimum, or once time is up."""
        out_of_time = len(self.minutes) >= self._scenario.max_minutes
        return out_of_time or self._quiet_minutes > self._scenario.quiet_minutes

    @property
    def _switches(self) -> bool:
        """Whether its colors are still to be switched, or are being switched."""
        switched_in, seen = self._scenario.switched_in, self.summary.switch
        if switched_in is None or self._operator is None:
            return False
        return seen is None or not seen.outcome

    def begin_minute(self, minute: int) -> None:
        """Schedule the minute's arrivals."""
        for after_s, count in self._scenario.sends(minute):
            self._aws.clock.at(self._aws.clock.now + after_s, partial(self._send, count))
        if text := self._scenario.arrival_sentence(minute):
            self._events.append(Event(kind=EventKind.ARRIVAL, text=text))
        if minute == self._scenario.switched_in and self._operator is not None:
            self._aws.clock.at(self._aws.clock.now + MINUTE_S / 2, partial(self._switch, self._operator))

    def end_minute(self, minute: int) -> None:
        """Write the minute's row, and see whether the run is over."""
        row = self._row(minute)
        self.minutes.append(row)
        self.summary.peak_instances = max(self.summary.peak_instances, row.running)
        self.summary.minutes_at_zero += row.desired == 0
        self.summary.final_desired = row.desired
        self.summary.instance_hours = sum(fleet.billed_s() for fleet in self._fleets.values()) / HOUR_S
        if self._look is not None:
            old = self._fleets[self._key_of[self._old_color]]
            self.summary.switch = self._look()
            self.summary.old_color_desired = old.size().desired
            self.summary.ended_at_work = old.ended_at_work - self._ended_at_work_before
        self._on_minute(self.name, row)
        done = minute > self._scenario.last_arrival and self._sent_s.keys() <= self._processed.keys()
        at_minimum = row.desired == row.running == self.summary.minimum
        is_quiet = done and at_minimum and not self._switches
        self._quiet_minutes = self._quiet_minutes + 1 if is_quiet else 0

    def timeline(self) -> Timeline:
        """Stop the workers and return the whole run.

        Messages are counted after the stop: a worker may still finish one while it drains.
        """
        stopped = [summary for workers in self._workers if (summary := workers.stop()) is not None]
        self.summary.processes = ProcessSummary.of_all(stopped) if stopped else None
        self.summary.sent = len(self._sent_s)
        self.summary.processed = len(self._processed.keys() & self._sent_s.keys())
        self.summary.processed_twice = sum(times > 1 for times in self._processed.values())
        self.summary.out_of_order = self._order.out_of_order
        queues = sqs_backends[ACCOUNT_ID][REGION].queues.values()
        # moto's public list omits messages in flight.
        held = {message.id for queue in queues for message in queue._messages}  # noqa: SLF001
        self.summary.left = len(held & self._sent_s.keys())
        self._measure_waits()
        return Timeline(
            summary=self.summary, minutes=tuple(self.minutes), explanation=self._scenario.explanation
        )

    def _measure_waits(self) -> None:
        end_s, never = len(self.minutes) * MINUTE_S, self._sent_s.keys() - self._waited_s.keys()
        self.summary.waits = waits(
            list(self._waited_s.values()), [end_s - self._sent_s[one] for one in never], self._promise_s
        )
        late_s = [
            (sent_s, sent_s + self._waited_s.get(one, end_s))
            for one, sent_s in self._sent_s.items()
            if self._waited_s.get(one, math.inf) > self._promise_s
        ]
        self.summary.late_by_cause = causes(
            late_s,
            self.minutes,
            maximum=self.summary.maximum,
            slots=self._scenario.concurrency,
            is_fifo=self._queue_url.endswith(".fifo"),
        )

    def on_log_line(self, line: LogLine) -> None:
        """Record a function's log line; lines about other workloads are ignored."""
        record = line.record
        if record.get("workload", self.name) != self.name:
            return
        if "backlog_per_instance" in record:
            self._published = record
        if "decision" in record:
            self._record_decision(record)
        elif record.get("level") == "ERROR":
            text = f"{line.function}: {record['message']}"
            self._events.append(Event(kind=EventKind.FAILURE, text=text))

    def _record_decision(self, record: Mapping[str, Any]) -> None:
        """Record a decision that acted; one that held or only observed, when its reason is a new one."""
        text, acted = f"{record['message']} (by {record['trigger']})", record["outcome"] == "acted"
        kind, reason = record["decision"], record["reason"]
        if acted:
            self.summary.decisions[kind] += 1
        if acted or reason != self._last_held.get(kind):
            self._events.append(Event(kind=EventKind.DECISION if acted else EventKind.NOTE, text=text))
        # What a switch does is no news for the reasons of the others.
        before = {} if acted and kind != Kind.SWITCH else self._last_held
        self._last_held = before | {kind: "" if acted else reason}

    def on_scaling_activity(self, activity: ScalingActivity) -> None:
        """Record that AWS's target tracking scaled this workload's fleet."""
        if activity.fleet in self._fleets:
            text = f"target tracking {activity.before} -> {activity.after}: {activity.reason}"
            self._events.append(Event(kind=EventKind.TARGET_TRACKING, text=text))

    def _on_processed(self, message_id: str, duration_s: float, waited_s: float) -> None:
        self._processed[message_id] += 1
        self._order.processed(message_id)
        self._waited_s.setdefault(message_id, waited_s)
        self._finished_s.append(duration_s)

    def _on_failure(self, text: str) -> None:
        self._events.append(Event(kind=EventKind.FAILURE, text=text))

    def _switch(self, operator: Operator) -> None:
        self._old_color = active(self.name)
        self._ended_at_work_before = self._fleets[self._key_of[self._old_color]].ended_at_work
        self._look = operator(self.name, self._start)

    def _send(self, count: int) -> None:
        minute = (self._aws.clock.now - self._start) / MINUTE_S
        # Worker processes run on the wall clock, `pace` times slower than the virtual one.
        body = json.dumps({"duration_s": self._scenario.duration_s(minute) / self._aws.pace})
        entries: list[Any] = [{"Id": str(index), "MessageBody": body} for index in range(count)]
        if self._queue_url.endswith(".fifo"):
            for entry in entries:
                group = (len(self._sent_s) + int(entry["Id"])) % self._scenario.message_groups
                entry |= {"MessageGroupId": f"group-{group}", "MessageDeduplicationId": uuid.uuid4().hex}
        response = self._aws.sqs.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        for sent in response["Successful"]:
            if group_of := entries[int(sent["Id"])].get("MessageGroupId"):
                self._order.sent(sent["MessageId"], group_of)
        sent_s = self._aws.clock.now - self._start
        self._sent_s |= {sent["MessageId"]: sent_s for sent in response["Successful"]}

    def _row(self, minute: int) -> Minute:
        attributes = self._aws.sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["All"])
        counts = attributes["Attributes"]
        sizes = [fleet.size() for fleet in self._fleets.values()]
        events, self._events = tuple(self._events), []
        finished, self._finished_s = self._finished_s, []
        sent_before = sum(row.sent for row in self.minutes)
        colors = self._colors() if len(self._fleets) > 1 else ()
        return Minute(
            minute=minute,
            visible=int(counts["ApproximateNumberOfMessages"]),
            in_flight=int(counts["ApproximateNumberOfMessagesNotVisible"]),
            desired=sum(size.desired for size in sizes),
            running=sum(size.running for size in sizes),
            colors=colors,
            sent=len(self._sent_s) - sent_before,
            arrivals_per_s=self._published.get("arrivals_per_s"),
            backlog_per_instance=self._published.get("backlog_per_instance"),
            effective_backlog_per_instance=self._published.get("effective_backlog_per_instance"),
            target=self._aws.monitoring.target(self._key_of[active(self.name)]),
            processing_s=fmean(finished) if finished else None,
            events=events,
        )

    def _colors(self) -> tuple[ColorSize, ...]:
        sizes = {color: self._fleets[key].size() for color, key in self._key_of.items()}
        return tuple(
            ColorSize(
                color=color,
                active=color == active(self.name),
                desired=size.desired,
                running=size.running,
                busy=self._fleets[self._key_of[color]].busy,
            )
            for color, size in sizes.items()
        )
