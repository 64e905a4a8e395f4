"""Plays a scenario: one workload's whole day in an hour, from nothing to its maximum and back to nothing.

Owns the stage (queue, group, deployed stacks) and the minute-by-minute account. Everything that scales is the
deployed thing: handlers, alarms, policy. Messages are counted by their ids: sent, processed and left.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from moto.sqs.models import sqs_backends

from sluice_sim.embedded.account import ACCOUNT_ID, REGION
from sluice_sim.embedded.cloud import EmbeddedAws, LogLine, embedded_aws
from sluice_sim.embedded.instances import Instance
from sluice_sim.embedded.monitoring import Scaled
from sluice_sim.embedded.story import TRANSCRIPTION, Minute, Part, Scenario, Summary

CONTROL_PLANE = "sluice"
MINUTE_S = 60


class Play:
    """One performance of a scenario on an embedded AWS."""

    def __init__(
        self,
        aws: EmbeddedAws,
        root: Path,
        scenario: Scenario,
        *,
        parameters: Mapping[str, str] | None = None,
        on_minute: Callable[[Minute], None] = lambda _: None,
    ) -> None:
        self._aws, self._scenario, self._on_minute = aws, scenario, on_minute
        deployed = environment_parameters(root, scenario.environment) | dict(parameters or {})
        self._name, self._group = deployed["Name"], deployed["AutoScalingGroupName"]
        self._sent: set[str] = set()
        self._processed: set[str] = set()
        self._events: list[str] = []
        self._published: float | None = None
        self.summary = Summary(name=self._name, minimum=int(deployed["MinCapacity"]))
        self._queue_url = aws.create_queue(
            deployed["QueueName"], visibility_timeout_s=scenario.visibility_timeout_s
        )
        aws.create_group(
            self._group,
            minimum=self.summary.minimum,
            maximum=int(deployed["MaxCapacity"]),
            boot_s=scenario.boot_s,
            start=self._instance,
        )
        aws.on_log, aws.on_scaled = self._logged, self._scaled
        aws.stacks.deploy("template.yaml", CONTROL_PLANE, {})
        aws.stacks.deploy("workload.yaml", f"{CONTROL_PLANE}-{self._name}", deployed)

    def without(self, part: Part) -> None:
        """Take a part of the control plane away."""
        if part is Part.PUBLISHER:
            self._aws.functions.named(f"{CONTROL_PLANE}-PublishBacklogFunction").enabled = False
        else:
            self._aws.monitoring.forget(f"sluice-{self._name}-{part.removesuffix('-alarm')}")

    def run(self) -> Summary:
        """Play to the end: the work done and the fleet at its minimum for a while, or out of time."""
        start, quiet = self._aws.clock.now, 0
        for minute in range(self._scenario.limit_minutes):
            if arriving := self._scenario.arrivals.get(minute):
                self._send(arriving)
            self._aws.clock.run_until(start + (minute + 1) * MINUTE_S)
            row = self._row(minute + 1)
            self._account(row)
            self._on_minute(row)
            over = minute >= max(self._scenario.arrivals, default=0)
            done = over and self._sent <= self._processed and row.desired == self.summary.minimum
            quiet = quiet + 1 if done and row.running == self.summary.minimum else 0
            if quiet > self._scenario.quiet_minutes:
                break
        self.summary.sent, self.summary.processed = len(self._sent), len(self._processed & self._sent)
        self.summary.left = len(self._left())
        return self.summary

    def _send(self, messages: int) -> None:
        body = json.dumps({"duration_s": self._scenario.duration_s})
        for first in range(0, messages, 10):
            entries = [
                {"Id": str(index), "MessageBody": body} for index in range(first, min(first + 10, messages))
            ]
            answer = self._aws.sqs.send_message_batch(QueueUrl=self._queue_url, Entries=entries)  # type: ignore[arg-type]
            self._sent |= {sent["MessageId"] for sent in answer["Successful"]}
        self._events.append(f"{messages} messages arrive")

    def _left(self) -> set[str]:
        """Ids of the messages that any queue still holds, in whatever state."""
        queues = sqs_backends[ACCOUNT_ID][REGION].queues.values()
        return {message.id for queue in queues for message in queue._messages} & self._sent  # noqa: SLF001

    def _instance(self) -> Instance:
        return Instance(
            self._aws.clock,
            self._aws.sqs,
            self._queue_url,
            concurrency=self._scenario.concurrency_per_instance,
            on_processed=self._processed.add,
        )

    def _row(self, minute: int) -> Minute:
        attributes = self._aws.sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["All"])
        counts, size = attributes["Attributes"], self._aws.groups.size(self._group)
        visible = int(counts["ApproximateNumberOfMessages"])
        in_flight = int(counts["ApproximateNumberOfMessagesNotVisible"])
        events, self._events = tuple(self._events), []
        return Minute(
            minute=minute,
            visible=visible,
            in_flight=in_flight,
            desired=size.desired,
            running=size.running,
            backlog_per_instance=self._published,
            target=self._aws.monitoring.target(self._group),
            events=events,
        )

    def _account(self, row: Minute) -> None:
        self.summary.peak_instances = max(self.summary.peak_instances, row.running)
        self.summary.minutes_at_zero += row.desired == 0
        self.summary.final_desired = row.desired

    def _logged(self, line: LogLine) -> None:
        record = line.record
        if "backlog_per_instance" in record:
            self._published = record["backlog_per_instance"]
        if "decision" in record and record["outcome"] == "acted":
            self.summary.decisions[record["decision"]] += 1
            self._events.append(f"{record['message']} (by {record['trigger']})")
        elif record.get("level") == "ERROR":
            self._events.append(f"{line.function}: {record['message']}")

    def _scaled(self, scaled: Scaled) -> None:
        self._events.append(f"target tracking {scaled.before} -> {scaled.after}: {scaled.why}")


def environment_parameters(root: Path, environment: str) -> dict[str, str]:
    """What `sam deploy --config-env` would hand to the workload's template."""
    config = tomllib.loads((root / "samconfig.toml").read_text(encoding="utf-8"))
    overrides = config[environment]["deploy"]["parameters"]["parameter_overrides"]
    return dict(override.split("=", 1) for override in overrides)


def play(
    root: Path,
    scenario: Scenario = TRANSCRIPTION,
    *,
    without: tuple[Part, ...] = (),
    parameters: Mapping[str, str] | None = None,
    on_minute: Callable[[Minute], None] = lambda _: None,
) -> Summary:
    """Play a scenario on an embedded AWS of its own."""
    with embedded_aws(root) as aws:
        performance = Play(aws, root, scenario, parameters=parameters, on_minute=on_minute)
        for part in without:
            performance.without(part)
        return performance.run()
