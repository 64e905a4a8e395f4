"""Every function in every situation in which it calls AWS, on an embedded AWS that checks permissions.

Four workloads (group and service, standard and FIFO) are deployed from our templates. A scenario says what to
arrange, which function to invoke, and with which event. The clock stands still, so that a scenario can be run
again; CloudWatch shows a data point as soon as it is put.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from moto.cloudwatch.models import cloudwatch_backends

from sluice import wiring
from sluice.aws.policies import TargetTrackingPolicies
from sluice.aws.registry import SsmRegistry
from sluice.core.guard import Guard
from sluice.core.guard import encoded as encoded_guard
from sluice.core.held_fields import PROCESS
from sluice.core.model import Color
from sluice.core.pause import (
    ALARM_NOTIFICATION,
    BOTH,
    DISABLE_SCALE_IN,
    ENABLED,
    IN_SUSPENDED,
    OUT_SUSPENDED,
    Pause,
)
from sluice.core.pause import encoded as encoded_pause
from sluice.events import Shard, shard_message
from sluice.usecases import shards
from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded.cloud import NAMESPACE, EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import CONTROL_PLANE, Demo
from sluice_sim.embedded.function_logs import LogLine
from sluice_sim.embedded.scenarios import COMPILER_STAGING, QUEUE_PROC, TRANSCRIPTION
from sluice_sim.template import ResolvedStack, stack_id
from sluice_sim.template.deployment import environments
from tests.privileges import inventory
from tests.privileges.gate import Gate, RecordedCall
from tests.privileges.roles import role_of_functions, roles
from tests.support.builders import (
    POOL,
    plenty,
)
from tests.templates import stacks

ROOT = Path(__file__).resolve().parents[2]
DYNAMIC = {"TargetType": "dynamic", "Mode": "active"}
FIFO_SERVICE = {
    "Name": "queue-proc-fifo",
    "QueueName": "queue-proc-fifo.fifo",
    "ServiceName": "queue-proc-fifo",
}
SCENARIOS = (
    replace(TRANSCRIPTION, parameters=DYNAMIC),
    replace(COMPILER_STAGING, parameters=DYNAMIC),
    replace(QUEUE_PROC, parameters=DYNAMIC),
    replace(QUEUE_PROC, parameters=DYNAMIC | FIFO_SERVICE),
)
FLEET_KEYS = {"asg": ("AutoScalingGroupName",), "ecs": ("ClusterName", "ServiceName")}
COLORED = "colored"
"""A workload of two colors."""
GROUP_FIELDS = (ALARM_NOTIFICATION, ENABLED, DISABLE_SCALE_IN)
WORKLOADS = {
    deployed["Name"]: deployed
    for deployed in (environments(ROOT)[each.name] | dict(each.parameters) for each in SCENARIOS)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One invocation: what is arranged before it, its function, its event."""

    name: str
    function: str
    arrange: Callable[[], None]
    event: Mapping[str, Any]
    max_workloads_per_invocation: int = shards.MAX_WORKLOADS_PER_INVOCATION
    """Workloads that a tick serves itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioRun:
    """What a scenario did: its requests, its log, and what the handler raised, if anything."""

    scenario: Scenario
    calls: list[RecordedCall]
    log: list[LogLine]
    failure: Exception | None


class Scenarios:
    """The four workloads deployed, and the scenarios over them."""

    def __init__(self, aws: EmbeddedAws, gate: Gate, plane: ResolvedStack) -> None:
        self.gate = gate
        self._aws = aws
        self._create_stores(plane)
        self._policies = TargetTrackingPolicies(lambda: aws.autoscaling, lambda: aws.scaling, POOL)
        registry = SsmRegistry(partial(boto3.client, "ssm"), POOL, stacks.EXPORTS["sluice-RegistryPrefix"])
        self._documents = registry.all(plenty).documents
        self._by_deadline = {name: _by_deadline(text) for name, text in self._documents.items()}
        self._first_policies = [self._policies.read(registry.one(name, plenty), plenty) for name in WORKLOADS]
        self._register_two_colors()
        self.scenarios = list(self._scenarios())

    def run(self, scenario: Scenario) -> ScenarioRun:
        """Arrange, then invoke in a process that has read nothing yet."""
        self._register(self._documents)
        scenario.arrange()
        wiring.cold_start()
        passed, logged = len(self.gate.calls), len(self._aws.log)
        function = self._aws.functions.named(f"{CONTROL_PLANE}-{scenario.function}")
        with mock.patch.object(shards, "MAX_WORKLOADS_PER_INVOCATION", scenario.max_workloads_per_invocation):
            failure = self._aws.functions.invoke(function, dict(scenario.event))
        return ScenarioRun(
            scenario=scenario, calls=self.gate.calls[passed:], log=self._aws.log[logged:], failure=failure
        )

    def _scenarios(self) -> Iterator[Scenario]:
        tick = {"scheduled_time": self._now.isoformat()}
        ticks, retune = "PublishBacklogFunction", "RetuneTargetFunction"
        yield Scenario(name="tick, proven empty", function=ticks, arrange=self._running_and_empty, event=tick)
        yield Scenario(
            name="tick, proven empty, deadline engine",
            function=ticks,
            arrange=self._empty_by_deadline,
            event=tick,
        )
        yield Scenario(name="hourly round", function=retune, arrange=self._measured, event=tick)
        for name in WORKLOADS:
            yield Scenario(
                name=f"bootstrap of {name}",
                function="BootstrapFunction",
                arrange=self._at_zero_with_work,
                event=_alarm("bootstrap", name),
            )
            yield Scenario(
                name=f"shutdown of {name}",
                function="ShutdownFunction",
                arrange=self._running_and_empty,
                event=_alarm("shutdown", name),
            )
            yield Scenario(
                name=f"shutdown of {name}, deadline engine",
                function="ShutdownFunction",
                arrange=self._empty_by_deadline,
                event=_alarm("shutdown", name),
            )
            yield Scenario(
                name=f"stack of {name} changed", function=retune, arrange=self._measured, event=_changed(name)
            )
            yield Scenario(
                name=f"test messages for {name}",
                function="SendTestMessagesFunction",
                arrange=self._running_and_empty,
                event={"workload": name, "messages": 11, "duration_s": 1},
            )
        yield Scenario(
            name="tick, messages keep arriving", function=ticks, arrange=self._arriving, event=tick
        )
        for name in WORKLOADS:
            request = {"workload": name, "by": "alice", "hold_s": 3600}
            for what, arrange, asked in (
                ("surge", self._arriving, {"drain_in_s": 1800}),
                ("end of the surge", lambda: None, {"end": True}),
            ):
                yield Scenario(
                    name=f"{what} of {name}",
                    function="SurgeFunction",
                    arrange=arrange,
                    event={**request, **asked},
                )
        # Last, as they publish that the queues are not empty in this minute.
        yield Scenario(name="tick, work waits", function=ticks, arrange=self._at_zero_with_work, event=tick)
        yield Scenario(name="tick, no capacity", function=ticks, arrange=self._without_capacity, event=tick)
        yield Scenario(
            name="tick, too many workloads",
            function=ticks,
            arrange=self._at_zero_with_work,
            event=tick,
            max_workloads_per_invocation=1,
        )
        shard = self._delivered("shard", self._documents)
        yield Scenario(name="shard", function=ticks, arrange=self._at_zero_with_work, event=shard)
        yield Scenario(
            name="tick, deadline engine", function=ticks, arrange=self._scaled_by_deadline, event=tick
        )
        yield Scenario(
            name="tick below a minute",
            function="DeadlineTickFunction",
            arrange=self._scaled_by_deadline,
            event=self._delivered("deadline-tick", self._by_deadline),
        )
        yield Scenario(
            name="hourly round, deadline engine",
            function=retune,
            arrange=self._scaled_by_deadline,
            event=tick,
        )
        yield from self._guards(tick)

    def _guards(self, event: Mapping[str, Any]) -> Iterator[Scenario]:
        """A hold begins, also beside a pause that AWS does not hold, and ends after one that it holds."""
        for name, arrange in (
            ("guard, the downstream fails", self._failing),
            ("guard, beside a pause", self._failing_beside_a_pause),
            ("guard, its time is over", self._over),
        ):
            yield Scenario(name=name, function="GuardDownstreamFunction", arrange=arrange, event=event)

    def _failing(self, **attributes: str) -> None:
        """Nothing holds the policies, and most messages fail."""
        self._running_and_empty()
        self._register({name: _guarded(text) for name, text in self._documents.items()})
        dynamodb = boto3.client("dynamodb")
        for name, deployed in WORKLOADS.items():
            item = {key: {"S": value} for key, value in {"workload": name, **attributes}.items()}
            dynamodb.put_item(TableName=self._table, Item=item)
            keys = FLEET_KEYS[deployed["FleetType"]]
            dimensions = {key: deployed[key] for key in keys} | {"Outcome": "failure"}
            ago = [timedelta(minutes=1)] * 20
            self._put_under(NAMESPACE, "MsgProcessingDuration", dimensions, 1, ago)

    def _failing_beside_a_pause(self) -> None:
        self._failing(pause=encoded_pause(self._pause(until=self._now + timedelta(hours=1))))

    def _over(self) -> None:
        """AWS has not put its policies back, after a hold and after a pause."""
        hold = Guard(
            at=self._now - timedelta(hours=1),
            until=self._now - timedelta(minutes=1),
            why="it failed",
            seen_at=self._now,
            is_held_by_aws=True,
            before=dict.fromkeys((*GROUP_FIELDS, OUT_SUSPENDED, IN_SUSPENDED), False) | {ENABLED: True},
        )
        pause = self._pause(until=self._now - timedelta(minutes=1))
        self._failing(guard=encoded_guard(hold), pause=encoded_pause(pause))
        for deployed in WORKLOADS.values():
            if deployed["FleetType"] == "asg":
                self._aws.autoscaling.suspend_processes(
                    AutoScalingGroupName=deployed["AutoScalingGroupName"], ScalingProcesses=[PROCESS]
                )

    @staticmethod
    def _pause(until: datetime) -> Pause:
        before = dict.fromkeys(GROUP_FIELDS, False) | {ENABLED: True}
        return Pause(directions=BOTH, by="alice", at=until - timedelta(hours=2), until=until, before=before)

    def _delivered(self, sample: str, documents: Mapping[str, str]) -> dict[str, Any]:
        """The sample event of a slice of the registry, filled with these workloads."""
        event: dict[str, Any] = json.loads((ROOT / "events" / f"{sample}.json").read_text(encoding="utf-8"))
        event["Records"][0]["body"] = shard_message(Shard(scheduled=self._now, documents=documents))
        return event

    def _create_stores(self, plane: ResolvedStack) -> None:
        """The bus, the queues and the table under the names that the roles allow."""
        boto3.client("events").create_event_bus(Name=stacks.EVENT_BUS.rpartition("/")[2])
        dynamodb = boto3.client("dynamodb")
        [(self._table, table)] = stacks.of_type(plane, "AWS::DynamoDB::Table").items()
        settings = {key: value for key, value in table.items() if key != "TimeToLiveSpecification"}
        dynamodb.create_table(TableName=self._table, **settings)
        for name in (
            "PublishBacklogFunction",
            "DeadlineTickFunction",
            "RetuneTargetFunction",
            "BootstrapFunction",
            "ShutdownFunction",
            "SurgeFunction",
            "GuardDownstreamFunction",
        ):
            variables = plane.resources[name].properties["Environment"]["Variables"]
            own_keys = ("QUEUE_URL", "TABLE", "BUS_ARN")
            own = {key: value for key, value in variables.items() if key.endswith(own_keys)}
            for url in own.values():
                if url.startswith("https:"):
                    self._aws.sqs.create_queue(QueueName=url.rsplit("/", 1)[-1])
            function = self._aws.functions.named(f"{CONTROL_PLANE}-{name}")
            function.environment = {**function.environment, **own}

    def _register(self, documents: Mapping[str, str]) -> None:
        ssm = boto3.client("ssm")
        for name, text in documents.items():
            parameter = f"{stacks.EXPORTS['sluice-RegistryPrefix']}/{name}"
            ssm.put_parameter(Name=parameter, Type="String", Value=text, Overwrite=True)

    def _register_two_colors(self) -> None:
        """Register a paused workload of two fleets, whose active color is read wherever the registry is."""
        document = json.loads(next(iter(self._documents.values())))
        fleets = {
            color: {"fleet": {"type": "asg", "name": f"{COLORED}-{color}"}, "policy_arn": ""}
            for color in Color
        }
        document |= {"name": COLORED, "mode": "paused", "policy_arn": ""}
        document |= {"fleet": {"type": "blue_green", **fleets}}
        self._register({COLORED: json.dumps(document), f"{COLORED}/active-color": Color.BLUE.value})

    def _scaled_by_deadline(self) -> None:
        """Work waits, and the deadline engine, which remembers nothing yet, decides how many start."""
        self._at_zero_with_work()
        for deployed in WORKLOADS.values():
            if deployed["FleetType"] == "asg":
                self._aws.autoscaling.put_warm_pool(AutoScalingGroupName=deployed["AutoScalingGroupName"])
        self._register(self._by_deadline)
        dynamodb = boto3.client("dynamodb")
        for name in WORKLOADS:
            dynamodb.delete_item(TableName=self._table, Key={"workload": {"S": name}})

    @property
    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._aws.clock.now, UTC)

    def _at_zero_with_work(self) -> None:
        for deployed in WORKLOADS.values():
            self._ask_for(deployed, 0)
            self._empty(deployed)
            url, fifo = self._url(deployed), deployed["QueueName"].endswith(".fifo")
            grouped = {"MessageGroupId": "one", "MessageDeduplicationId": uuid.uuid4().hex} if fifo else {}
            self._aws.sqs.send_message(QueueUrl=url, MessageBody="work", **grouped)

    def _without_capacity(self) -> None:
        """Work waits for instances that AWS does not launch."""
        self._at_zero_with_work()
        for deployed in WORKLOADS.values():
            self._refuse_launches(deployed, "Capacity is unavailable at this time")
            self._ask_for(deployed, 1)
            self._refuse_launches(deployed, None)

    def _running_and_empty(self) -> None:
        # The clock stands still: a point that another scenario's tick published belongs to this same minute.
        points = cloudwatch_backends[ACCOUNT_ID][REGION].metric_data
        points[:] = [point for point in points if point.name != "BacklogPerInstance"]
        for deployed in WORKLOADS.values():
            self._ask_for(deployed, 1)
            self._empty(deployed)
            self._put(deployed, "BacklogPerInstance", 0, [timedelta(minutes=back) for back in range(1, 6)])

    def _empty_by_deadline(self) -> None:
        """The deadline engine, which remembers nothing, decides the sizes of the idle fleets."""
        self._running_and_empty()
        self._register(self._by_deadline)

    def _measured(self) -> None:
        """Messages take longer than the templates' targets assume, and the policies hold those again."""
        for policy in self._first_policies:
            self._policies.put_target(policy, policy.target)
        for deployed in WORKLOADS.values():
            self._put(deployed, "MsgProcessingDuration", 45, [timedelta(minutes=10)] * 40)

    def _arriving(self) -> None:
        """Messages keep arriving, and dynamic targets weigh them by the policies' targets in force."""
        self._running_and_empty()
        self._measured()
        for deployed in WORKLOADS.values():
            self._put_sent(deployed, 60, [timedelta(minutes=back) for back in range(1, 11)])

    def _ask_for(self, deployed: Mapping[str, str], instances: int) -> None:
        if deployed["FleetType"] == "asg":
            self._aws.groups.set_desired(deployed["AutoScalingGroupName"], instances)
        else:
            service = f"service/{deployed['ClusterName']}/{deployed['ServiceName']}"
            self._aws.services.set_desired(service, instances)

    def _refuse_launches(self, deployed: Mapping[str, str], words: str | None) -> None:
        if deployed["FleetType"] == "asg":
            self._aws.groups.fail_launches(deployed["AutoScalingGroupName"], words)
        else:
            service = f"service/{deployed['ClusterName']}/{deployed['ServiceName']}"
            self._aws.services.fail_launches(service, words)

    def _empty(self, deployed: Mapping[str, str]) -> None:
        url = self._url(deployed)
        while messages := self._aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def _url(self, deployed: Mapping[str, str]) -> str:
        url: str = self._aws.sqs.get_queue_url(QueueName=deployed["QueueName"])["QueueUrl"]
        return url

    def _put(self, deployed: Mapping[str, str], metric: str, value: float, ago: list[timedelta]) -> None:
        keys = FLEET_KEYS[deployed["FleetType"]]
        self._put_under(NAMESPACE, metric, {key: deployed[key] for key in keys}, value, ago)

    def _put_sent(self, deployed: Mapping[str, str], per_minute: float, ago: list[timedelta]) -> None:
        dimensions = {"QueueName": deployed["QueueName"]}
        self._put_under("AWS/SQS", "NumberOfMessagesSent", dimensions, per_minute, ago)

    def _put_under(
        self, namespace: str, metric: str, dimensions: Mapping[str, str], value: float, ago: list[timedelta]
    ) -> None:
        datum = {
            "MetricName": metric,
            "Dimensions": [{"Name": key, "Value": named} for key, named in dimensions.items()],
            "Value": value,
        }
        data = [datum | {"Timestamp": self._now - each} for each in ago]
        self._aws.cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)


def _guarded(text: str) -> str:
    """The document with a guard that watches every signal."""
    watched = {"failed_percent": 50, "dead_letters_per_minute": 1, "dead_letter_queue": "dead"}
    return json.dumps(json.loads(text) | {"guard": watched | {"alarm_name": "database"}})


def _by_deadline(text: str) -> str:
    """The document with the deadline engine in place of target tracking."""
    document = json.loads(text)
    document["scaling"] = {"type": "deadline", "promise_s": 300, "boot_s": 180}
    document["tracking"] |= {"processing_s": 45}
    return json.dumps(document)


def _alarm(kind: str, workload: str) -> dict[str, Any]:
    """The sample event of that alarm, with this workload's alarm."""
    text = (ROOT / "events" / f"{kind}-asg-direct.json").read_text(encoding="utf-8")
    event: dict[str, Any] = json.loads(text.replace("transcription", workload))
    return event


def _changed(workload: str) -> dict[str, Any]:
    """The sample event of a stack's status change, for this workload's stack."""
    event: dict[str, Any] = json.loads((ROOT / "events" / "stack-status.json").read_text(encoding="utf-8"))
    event["detail"]["stack-id"] = stack_id(ACCOUNT_ID, REGION, f"{CONTROL_PLANE}-{workload}")
    return event


def account() -> list[ResolvedStack]:
    """The stacks of the four fleets and of their workloads, as our templates make them."""
    made = []
    for deployed in WORKLOADS.values():
        kind, queue = deployed["FleetType"], deployed["QueueName"]
        fifo = {"Fifo": "true"} if queue.endswith(".fifo") else {}
        made.append(stacks.example_fleet(kind, FleetName=queue.removesuffix(".fifo"), **fifo))
        made.append(stacks.workload(kind, **deployed))
    return made


@contextmanager
def deployed_scenarios(plane: ResolvedStack) -> Iterator[Scenarios]:
    """The control plane and the workloads deployed, the functions behind a gate that knows their roles."""
    gate = Gate(roles(plane), role_of_functions(plane), inventory.tags(account()))
    with embedded_aws(ROOT, custom_metric_delay_s=0) as aws, gate.installed():
        demo = Demo(aws, ROOT, plane={"DownstreamGuard": "true"})
        for scenario in SCENARIOS:
            demo.add_workload(scenario)
        yield Scenarios(aws, gate, plane)
