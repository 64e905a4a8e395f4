"""The use cases, each as its trigger starts it, with two workloads besides the one it is about."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from sluice.events import Shard, shard_message
from sluice.usecases import shards
from tests.faults.account import (
    ASG,
    BUSY,
    ECS,
    NOON,
    REMEMBERED,
    STARTED_AFTER,
    WORKLOADS,
    Account,
    Outcome,
    Situation,
    State,
    document_of,
)
from tests.faults.calls import Call, Fault
from tests.functions.conftest import sample
from tests.support.builders import stack_id

AT_ZERO = Situation(desired=0, visible=3)
EMPTY = Situation(desired=2, visible=0, idle=True)
SHORT = Situation(desired=2, visible=3, short=True)
ARRIVING = Situation(arriving=True)
FAILING = Situation(failing=True)
OVERWHELMED = Situation(arriving=True, surges=True)
OF_ARRIVALS = ("GetMetricData", "DescribePolicies", "DescribeScalingPolicies", "PutMetricData")
OF_THE_BACKLOG = (
    "GetQueueAttributes",
    "DescribeAutoScalingGroups",
    "DescribeServices",
    "DescribeScalableTargets",
)
BY_DEADLINE = Situation(desired=0, visible=3, by_deadline=True)
ABOVE_ITS_FLOOR = Situation(desired=3, visible=0, idle=True, by_deadline=True, remembered=True, floor=1)
LEARNING = Situation(by_deadline=True, remembered=True)
SURGED = 4
"""Instances that an operator asks for."""
CACHE_RAN_OUT = timedelta(minutes=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One use case; `warm` ones run in a process that served a tick before and whose registry ran out."""

    name: str
    function: str
    event: Mapping[str, Any]
    about: str | None = None
    situation: Situation | None = None
    warm: bool = False
    only: tuple[str, ...] = ()
    """The operations whose failure is tested; empty for all."""
    max_workloads_per_invocation: int = shards.MAX_WORKLOADS_PER_INVOCATION
    """Workloads that a tick serves itself."""
    situations: Mapping[str, Situation] = field(init=False)

    def __post_init__(self) -> None:
        names = [self.about] if self.about else WORKLOADS
        situations = dict.fromkeys(names, self.situation) if self.situation else {}
        object.__setattr__(self, "situations", situations)

    def __str__(self) -> str:
        return self.name

    def invoke(self, account: Account, target: tuple[Call, Fault] | None = None) -> Outcome:
        account.set(self.situations)
        if self.warm:
            earlier = NOON - CACHE_RAN_OUT
            account.invoke("publish_backlog", tick_at(earlier), at=earlier + STARTED_AFTER)
        with mock.patch.object(shards, "MAX_WORKLOADS_PER_INVOCATION", self.max_workloads_per_invocation):
            event = dict(self.event)
            if self.is_below_a_minute:
                event = _delivered("deadline-tick", NOON, self._documents(account))
            return account.invoke(self.function, event, target=target, warm=self.warm)

    def later(self, account: Account, run: int) -> Outcome:
        """A later run in the same process, without a fault."""
        if self.is_below_a_minute:
            scheduled = NOON + timedelta(seconds=10 * run)
            event = _delivered("deadline-tick", scheduled, self._documents(account))
            return account.invoke(self.function, event, at=scheduled + STARTED_AFTER, warm=True)
        if self.retunes:
            at = NOON + timedelta(hours=run) + STARTED_AFTER
            return account.invoke("retune_target", tick_at(NOON), at=at, warm=True)
        scheduled = NOON + timedelta(minutes=run)
        if self.guards:
            event, at = tick_at(scheduled), scheduled + STARTED_AFTER
            return account.invoke("guard_downstream", event, at=at, warm=True)
        return account.invoke("publish_backlog", tick_at(scheduled), at=scheduled + STARTED_AFTER, warm=True)

    def _documents(self, account: Account) -> dict[str, str]:
        return {name: account.document(name, self.situations.get(name, BUSY)) for name in WORKLOADS}

    @property
    def use_case(self) -> str:
        """The name without the kind of fleet."""
        return self.name.removesuffix(" asg").removesuffix(" ecs")

    def desired(self, name: str) -> int:
        """The fleet's desired instances before the invocation."""
        return self.situations.get(name, BUSY).desired

    def learned(self, name: str) -> tuple[float, float | None] | None:
        """The workload's margin and mean processing time before the invocation, as in `State`."""
        if not self.situations.get(name, BUSY).remembered:
            return None
        return REMEMBERED.margin_s, REMEMBERED.processing and REMEMBERED.processing.mean_s

    def before(self, account: Account) -> State:
        """The account as the case finds it."""
        account.set(self.situations)
        return account.state()

    @property
    def by_alarm(self) -> bool:
        return self.function in ("bootstrap", "shutdown") or self.name.startswith("surge alarm")

    @property
    def guards(self) -> bool:
        return self.function == "guard_downstream"

    @property
    def by_operator(self) -> bool:
        return self.function == "surge" and not self.by_alarm

    @property
    def ticks(self) -> bool:
        return self.function == "publish_backlog"

    @property
    def is_below_a_minute(self) -> bool:
        return self.function == "deadline_tick"

    @property
    def retunes(self) -> bool:
        return self.function == "retune_target"


def tick_at(minute: datetime) -> dict[str, str]:
    return {"scheduled_time": f"{minute:%Y-%m-%dT%H:%M:%SZ}"}


def _changed_stack(name: str) -> dict[str, Any]:
    event: dict[str, Any] = deepcopy(sample("stack-status"))
    event["resources"] = [stack_id(name)]
    event["detail"]["stack-id"] = stack_id(name)
    return event


def _critical(name: str) -> dict[str, Any]:
    """The sample event of a critical alarm, for this workload's."""
    text = json.dumps(sample("surge-alarm-direct"))
    event: dict[str, Any] = json.loads(text.replace(ASG, name))
    return event


def _delivered(name: str, scheduled: datetime, documents: Mapping[str, str]) -> dict[str, Any]:
    """The sample event of a slice of the registry, filled with these documents."""
    event: dict[str, Any] = deepcopy(sample(name))
    event["Records"][0]["body"] = shard_message(Shard(scheduled=scheduled, documents=documents))
    return event


def _shard() -> dict[str, Any]:
    """The sample event of a shard, filled with the three workloads."""
    documents = {text["name"]: json.dumps(text) for text in map(document_of, WORKLOADS)}
    return _delivered("shard", NOON, documents)


def _of_kind(kind: str, name: str) -> list[Case]:
    return [
        Case(
            name=f"tick bootstraps {kind}",
            function="publish_backlog",
            event=tick_at(NOON),
            about=name,
            situation=AT_ZERO,
        ),
        Case(
            name=f"tick shuts down {kind}",
            function="publish_backlog",
            event=tick_at(NOON),
            about=name,
            situation=EMPTY,
        ),
        Case(
            name=f"tick lacks instances {kind}",
            function="publish_backlog",
            event=tick_at(NOON),
            about=name,
            situation=SHORT,
            only=("DescribeScalingActivities",) if kind == "asg" else ("DescribeServices",),
        ),
        Case(
            name=f"shard bootstraps {kind}",
            function="publish_backlog",
            event=_shard(),
            about=name,
            situation=AT_ZERO,
        ),
        Case(
            name=f"tick below a minute wakes {kind}",
            function="deadline_tick",
            event={},
            about=name,
            situation=BY_DEADLINE,
        ),
        Case(
            name=f"bootstrap alarm {kind}",
            function="bootstrap",
            event=sample(f"bootstrap-{kind}-direct"),
            about=name,
            situation=AT_ZERO,
        ),
        Case(
            name=f"shutdown alarm {kind}",
            function="shutdown",
            event=sample(f"shutdown-{kind}-direct"),
            about=name,
            situation=EMPTY,
        ),
        Case(
            name=f"tick shuts down to a floor {kind}",
            function="publish_backlog",
            event=tick_at(NOON),
            about=name,
            situation=ABOVE_ITS_FLOOR,
            only=("BatchGetItem",),
        ),
        Case(
            name=f"shutdown alarm with a floor {kind}",
            function="shutdown",
            event=sample(f"shutdown-{kind}-direct"),
            about=name,
            situation=ABOVE_ITS_FLOOR,
            only=("BatchGetItem",),
        ),
        Case(
            name=f"guard engages {kind}",
            function="guard_downstream",
            event=tick_at(NOON),
            about=name,
            situation=FAILING,
        ),
        Case(
            name=f"surge command {kind}",
            function="surge",
            event=sample("surge") | {"workload": name, "to": SURGED},
            about=name,
        ),
        Case(
            name=f"surge command that drains {kind}",
            function="surge",
            event=sample("surge") | {"workload": name, "to": None, "drain_in_s": 240},
            about=name,
            situation=ARRIVING,
            only=("GetQueueAttributes", "GetMetricData"),
        ),
        Case(
            name=f"surge alarm {kind}",
            function="surge",
            event=_critical(name),
            about=name,
            situation=OVERWHELMED,
        ),
        Case(
            name=f"retune after stack {kind}",
            function="retune_target",
            event=_changed_stack(name),
            about=name,
        ),
    ]


CASES = [
    Case(name="tick publishes", function="publish_backlog", event=tick_at(NOON)),
    Case(
        name="tick renews registry",
        function="publish_backlog",
        event=tick_at(NOON),
        warm=True,
        only=("GetParametersByPath",),
    ),
    Case(
        name="tick counts arrivals",
        function="publish_backlog",
        event=tick_at(NOON),
        situation=ARRIVING,
        only=OF_ARRIVALS,
    ),
    Case(
        name="tick sends shards",
        function="publish_backlog",
        event=tick_at(NOON),
        max_workloads_per_invocation=1,
    ),
    Case(
        name="tick queues ticks",
        function="publish_backlog",
        event=tick_at(NOON),
        situation=Situation(by_deadline=True),
        only=("SendMessageBatch", *OF_THE_BACKLOG, "PutMetricData"),
    ),
    Case(name="retune hourly", function="retune_target", event=sample("schedule")),
    Case(
        name="learn hourly",
        function="retune_target",
        event=sample("schedule"),
        situation=LEARNING,
        only=("GetMetricData", "BatchGetItem", "UpdateItem"),
    ),
    Case(
        name="tick below a minute goes on",
        function="deadline_tick",
        event={},
        situation=LEARNING,
        only=("BatchGetItem", "UpdateItem"),
    ),
    Case(
        name="send test messages",
        function="send_test_messages",
        event=sample("send-test-messages") | {"messages": 15},
        about=ASG,
    ),
    *_of_kind("asg", ASG),
    *_of_kind("ecs", ECS),
]
