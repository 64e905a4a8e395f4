"""Plays scenarios on one embedded AWS: each workload from its beginning to its minimum, minute by minute.

Owns the stage (queue, fleet, deployed stacks) and the account of what happens on it. Everything that scales
is the deployed thing: handlers, alarms, policies. Messages are counted by their ids: sent, processed, left.
"""

from __future__ import annotations

import json
import tomllib
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from moto.sqs.models import sqs_backends

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded.cloud import EmbeddedAws, LogLine, embedded_aws
from sluice_sim.embedded.fleet import Fleet
from sluice_sim.embedded.reporter import DurationReporter
from sluice_sim.embedded.story import Event, EventKind, Minute, Part, Scenario, Story, Summary
from sluice_sim.embedded.worker import Job, Worker
from sluice_sim.steering import Scaled

CONTROL_PLANE = "sluice"
NAMESPACE = "Sluice"
MINUTE_S = 60
SENT_PER_CALL = 10

OnMinute = Callable[[str, Minute], None]


class Play:
    """One workload on the stage."""

    def __init__(
        self, aws: EmbeddedAws, scenario: Scenario, deployed: Mapping[str, str], *, on_minute: OnMinute
    ) -> None:
        self._aws, self._scenario, self._on_minute = aws, scenario, on_minute
        self._start = aws.clock.now
        self.name, self.deployed = deployed["Name"], deployed
        self.summary = Summary(name=self.name, minimum=int(deployed["MinCapacity"]))
        self.minutes: list[Minute] = []
        self._sent: set[str] = set()
        self._processed: set[str] = set()
        self._events: list[Event] = []
        self._finished_s: list[float] = []
        self._published: float | None = None
        self._held = ""
        self._quiet = 0
        self._queue_url = aws.create_queue(
            deployed["QueueName"], visibility_timeout_s=scenario.visibility_timeout_s
        )
        self._fleet_key, self._fleet, dimensions = self._create_fleet(deployed)
        self._reporter = DurationReporter(aws.clock, aws.cloudwatch, NAMESPACE, dimensions)

    @property
    def over(self) -> bool:
        """The work done and the fleet at its minimum for a while, or out of time."""
        out_of_time = len(self.minutes) >= self._scenario.limit_minutes
        return out_of_time or self._quiet > self._scenario.quiet_minutes

    def begin_minute(self, minute: int) -> None:
        """Let the minute's messages arrive, evenly over it."""
        arriving = self._scenario.arriving(minute)
        calls = -(-arriving // SENT_PER_CALL)
        for call in range(calls):
            count = min(SENT_PER_CALL, arriving - call * SENT_PER_CALL)
            # A burst comes at once, a flow in pieces.
            pause_s = 0 if minute in self._scenario.bursts else MINUTE_S / calls
            self._aws.clock.at(self._aws.clock.now + call * pause_s, partial(self._send, count))
        if said := self._scenario.arrival_sentence(minute):
            self._events.append(Event(kind=EventKind.ARRIVAL, text=said))

    def end_minute(self, minute: int) -> None:
        """Write the minute's row, and see whether the story is over."""
        row = self._row(minute)
        self.minutes.append(row)
        self.summary.peak_instances = max(self.summary.peak_instances, row.running)
        self.summary.minutes_at_zero += row.desired == 0
        self.summary.final_desired = row.desired
        self._on_minute(self.name, row)
        done = minute > self._scenario.last_arrival and self._sent <= self._processed
        at_rest = row.desired == row.running == self.summary.minimum
        self._quiet = self._quiet + 1 if done and at_rest else 0

    def story(self) -> Story:
        """The whole of it, the messages counted."""
        self.summary.sent, self.summary.processed = len(self._sent), len(self._processed & self._sent)
        queues = sqs_backends[ACCOUNT_ID][REGION].queues.values()
        held = {message.id for queue in queues for message in queue._messages}  # noqa: SLF001
        self.summary.left = len(held & self._sent)
        return Story(summary=self.summary, minutes=tuple(self.minutes), lesson=self._scenario.lesson)

    def logged(self, line: LogLine) -> None:
        """A log line of a function, about this workload or about none."""
        record = line.record
        if record.get("workload", self.name) != self.name:
            return
        if "backlog_per_instance" in record:
            self._published = record["backlog_per_instance"]
        if "decision" in record:
            self._decided(record)
        elif record.get("level") == "ERROR":
            text = f"{line.function}: {record['message']}"
            self._events.append(Event(kind=EventKind.FAILURE, text=text))

    def _decided(self, record: Mapping[str, Any]) -> None:
        """A decision that acted, or one that held or only observed for another reason than just before."""
        text, acted = f"{record['message']} (by {record['trigger']})", record["outcome"] == "acted"
        held = f"{record['decision']} {record['reason']}"
        if acted:
            self.summary.decisions[record["decision"]] += 1
        if acted or held != self._held:
            self._events.append(Event(kind=EventKind.DECISION if acted else EventKind.NOTE, text=text))
        self._held = "" if acted else held

    def scaled(self, scaled: Scaled) -> None:
        """AWS's target tracking moved a fleet."""
        if scaled.fleet == self._fleet_key:
            text = f"target tracking {scaled.before} -> {scaled.after}: {scaled.why}"
            self._events.append(Event(kind=EventKind.TARGET_TRACKING, text=text))

    def _create_fleet(self, deployed: Mapping[str, str]) -> tuple[str, Fleet, Mapping[str, str]]:
        boot_s = self._scenario.boot_s
        if deployed.get("FleetType", "asg") == "asg":
            name = deployed["AutoScalingGroupName"]
            fleet = self._aws.create_group(
                name,
                minimum=self.summary.minimum,
                maximum=int(deployed["MaxCapacity"]),
                boot_s=boot_s,
                start=self._worker,
            )
            return name, fleet, {"AutoScalingGroupName": name}
        cluster, service = deployed["ClusterName"], deployed["ServiceName"]
        fleet = self._aws.create_service(cluster, service, boot_s=boot_s, start=self._worker)
        return f"service/{cluster}/{service}", fleet, {"ClusterName": cluster, "ServiceName": service}

    def _worker(self) -> Worker:
        job = Job(
            queue_url=self._queue_url,
            waits=partial(_visible, self._queue_url.rsplit("/", 1)[-1]),
            concurrency=self._scenario.concurrency,
            batch=self._scenario.batch,
            on_processed=self._done,
        )
        return Worker(self._aws.clock, self._aws.sqs, job)

    def _done(self, message_id: str, duration_s: float) -> None:
        self._processed.add(message_id)
        self._finished_s.append(duration_s)
        self._reporter.took(duration_s)

    def _send(self, count: int) -> None:
        minute = (self._aws.clock.now - self._start) / MINUTE_S
        body = json.dumps({"duration_s": self._scenario.duration_s(minute)})
        entries: list[Any] = [{"Id": str(index), "MessageBody": body} for index in range(count)]
        if self._queue_url.endswith(".fifo"):
            for entry in entries:
                group = (len(self._sent) + int(entry["Id"])) % self._scenario.message_groups
                entry |= {"MessageGroupId": f"group-{group}", "MessageDeduplicationId": uuid.uuid4().hex}
        answer = self._aws.sqs.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        self._sent |= {sent["MessageId"] for sent in answer["Successful"]}

    def _row(self, minute: int) -> Minute:
        attributes = self._aws.sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["All"])
        counts, size = attributes["Attributes"], self._fleet.size()
        events, self._events = tuple(self._events), []
        finished, self._finished_s = self._finished_s, []
        return Minute(
            minute=minute,
            visible=int(counts["ApproximateNumberOfMessages"]),
            in_flight=int(counts["ApproximateNumberOfMessagesNotVisible"]),
            desired=size.desired,
            running=size.running,
            backlog_per_instance=self._published,
            target=self._aws.monitoring.target(self._fleet_key),
            processing_s=fmean(finished) if finished else None,
            events=events,
        )


def _visible(queue_name: str) -> bool:
    return bool(sqs_backends[ACCOUNT_ID][REGION].queues[queue_name].messages)


class Stage:
    """One embedded AWS with the control plane deployed, and workloads beside it."""

    def __init__(self, aws: EmbeddedAws, root: Path, *, on_minute: OnMinute = lambda *_: None) -> None:
        self.aws, self._root, self._on_minute = aws, root, on_minute
        self.plays: list[Play] = []
        aws.on_log, aws.on_scaled = self._logged, self._scaled
        aws.stacks.deploy("template.yaml", CONTROL_PLANE, {})

    def enter(self, scenario: Scenario, parameters: Mapping[str, str] | None = None) -> Play:
        """Create a workload's queue and fleet, and deploy its stack; `parameters` win over samconfig's."""
        given = {**scenario.parameters, **(parameters or {})}
        deployed = environment_parameters(self._root, scenario.name) | given
        play = Play(self.aws, scenario, deployed, on_minute=self._on_minute)
        self.plays.append(play)
        self.deploy(play)
        return play

    def deploy(self, play: Play) -> None:
        """Create or update a workload's stack."""
        self.aws.stacks.deploy("workload.yaml", f"{CONTROL_PLANE}-{play.name}", play.deployed)

    def without(self, part: Part) -> None:
        """Take a part of the control plane away."""
        functions = {Part.PUBLISHER: "PublishBacklogFunction", Part.RETUNE: "RetuneTargetFunction"}
        if part in functions:
            self.aws.functions.named(f"{CONTROL_PLANE}-{functions[part]}").enabled = False
            return
        for play in self.plays:
            self.aws.monitoring.forget(f"sluice-{play.name}-{part.removesuffix('-alarm')}")

    def run(self) -> list[Story]:
        """Play until every story is over."""
        start, minute = self.aws.clock.now, 0
        playing = list(self.plays)
        while playing:
            for play in playing:
                play.begin_minute(minute)
            minute += 1
            self.aws.clock.run_until(start + minute * MINUTE_S)
            for play in playing:
                play.end_minute(minute)
            playing = [play for play in playing if not play.over]
        return [play.story() for play in self.plays]

    def _logged(self, line: LogLine) -> None:
        for play in self.plays:
            play.logged(line)

    def _scaled(self, scaled: Scaled) -> None:
        for play in self.plays:
            play.scaled(scaled)


def environment_parameters(root: Path, environment: str) -> dict[str, str]:
    """What `sam deploy --config-env` would hand to the workload's template."""
    config = tomllib.loads((root / "samconfig.toml").read_text(encoding="utf-8"))
    overrides = config[environment]["deploy"]["parameters"]["parameter_overrides"]
    return dict(override.split("=", 1) for override in overrides)


def play(
    root: Path,
    scenarios: Sequence[Scenario],
    *,
    without: Sequence[Part] = (),
    on_minute: OnMinute = lambda *_: None,
) -> list[Story]:
    """Play the scenarios side by side on an embedded AWS of their own."""
    with embedded_aws(root) as aws:
        stage = Stage(aws, root, on_minute=on_minute)
        for scenario in scenarios:
            stage.enter(scenario)
        for part in without:
            stage.without(part)
        return stage.run()
