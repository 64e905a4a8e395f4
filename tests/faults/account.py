"""The account in which every cell runs: three workloads, and the deployed handlers over them.

Sets the account up for each case, cheaply: one account serves all cells, and moto's own state is read and
restored directly if API calls would take most of the time.
"""

import importlib.util
import io
import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import time_machine
from moto.autoscaling.responses import AutoScalingResponse
from moto.backends import get_backend
from moto.core.responses import ActionResult
from moto.dynamodb.models.dynamo_type import DynamoType

from sluice import wiring
from sluice.aws import concurrent_reads
from sluice.core.deadline.encoding import decoded_learned, encoded, encoded_learned
from sluice.core.deadline.learning import Learned
from sluice.core.deadline.plan import Processing
from sluice.core.guard import WINDOW_MINUTES
from sluice.core.guard import decoded as decoded_guard
from sluice.core.model import (
    BACKLOG_PER_INSTANCE,
    EFFECTIVE_BACKLOG_PER_INSTANCE,
    AutoScalingGroup,
    EcsService,
    Fleet,
)
from sluice.core.sustained_arrivals import READ_MINUTES
from sluice.errors import SluiceError
from tests.conftest import ENVIRONMENT
from tests.faults.calls import Call, Fault, FaultInjector, RecordedCalls
from tests.faults.timeline import ReadersPool, Timeline
from tests.functions.conftest import ROOT
from tests.functions.conftest import Context as AnyContext
from tests.sluice.aws import account as moto_account
from tests.support.builders import (
    alarm_arn,
    document,
    dynamic_section,
    ecs_document,
    engine_state,
    queue_url,
)
from tests.templates import stacks

NOON = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
REFUSED_AT = NOON - timedelta(minutes=1)
STARTED_AFTER = timedelta(seconds=3)
# The FIFO queue is checked in one minute of five: at noon.
ASG, ECS, FIFO = "transcription", "queue-proc", "refunds"
WORKLOADS = (ASG, ECS, FIFO)
SHARDS, TICKS, STATES, PAUSES, GUARDS = "shards", "ticks", "states", "pauses", "guards"
FLEETS: dict[str, Fleet] = {
    ASG: AutoScalingGroup(name=ASG),
    ECS: EcsService(cluster="workers", service=ECS),
    FIFO: AutoScalingGroup(name=FIFO),
}
MIN_INSTANCES, MAX_INSTANCES = 0, 5
NOT_SUSPENDED = {
    "DynamicScalingInSuspended": False,
    "DynamicScalingOutSuspended": False,
    "ScheduledScalingSuspended": False,
}
IDLE_MINUTES = 2
PROCESSING_S = 48
SCALING: dict[str, Any] = {"type": "deadline", "promise_s": 3600, "boot_s": 180, "margin_s": 1790}
"""With so long a promise one instance is enough, whenever it starts; the margin is 10 s below its bound."""
GUARD = {"failed_percent": 20, "minutes": 60}
SURGE = {"drain_min": 4, "hold_min": 60}
"""An hour's backlog of one message a second does not drain in four minutes: the maximum is held."""
REMEMBERED = Learned(
    at_s=(NOON - timedelta(hours=1)).timestamp(),
    margin_s=SCALING["margin_s"],
    processing=Processing(mean_s=40, variation=0),
)
"""Of every workload that is remembered; the margin is its document's."""
WAITS_S = (100,) * 8 + (SCALING["promise_s"] + 100,) * 12
"""What the messages of each hour have waited: more than half of them too long."""
LEARNING_HOURS = 2
"""From noon on: a failed hour is made up for in the next."""
FAILING_MINUTES = ARRIVING_MINUTES = 15
"""From noon on: longer than a case goes on."""
REGION, ACCOUNT = "eu-west-1", "123456789012"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a workload is like before the invocation; its fleet runs as many instances as desired."""

    desired: int = 2
    visible: int = 6
    idle: bool = False
    """BacklogPerInstance was published as 0 for as long as a proof asks."""
    short: bool = False
    """None of the desired instances runs: AWS failed to launch them."""
    arriving: bool = False
    """One message a second has been sent for longer than the tick reads back, and still is."""
    failing: bool = False
    """Six of ten of its messages fail in every minute, which its guard does not let pass."""
    surges: bool = False
    """Its critical alarm starts a surge that drains within a minute."""
    by_deadline: bool = False
    """The deadline engine scales it, and remembers nothing yet."""
    remembered: bool = False
    """It does remember: it was served ten seconds ago, has learned an hour ago, and messages start late."""
    floor: int = 0
    """Instances that it remembers to hold."""


BUSY = Situation()


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state that an invocation can change."""

    desired: Mapping[str, int]
    targets: Mapping[str, float]
    waiting: Mapping[str, int]
    learned: Mapping[str, tuple[float, float | None] | None]
    """The deadline engine's margin and mean processing time, in seconds; None if that cannot be read."""
    minimum: Mapping[str, int]
    """The least instances that AWS keeps."""
    ends: Mapping[str, frozenset[tuple[str, int]]]
    """The scheduled actions of each fleet, and the minimum that each sets."""
    guarded: Mapping[str, bool]
    """Whether the downstream guard holds what Sluice decides."""
    suspended: Mapping[str, bool]
    """Whether AWS's own scale-out is suspended; False for a group, of which moto does not keep that."""
    released: Mapping[str, bool]
    """Whether AWS's release of its own scaling is scheduled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one invocation."""

    state: State
    points: Mapping[str, Mapping[datetime, float]]
    """By workload, BacklogPerInstance of this minute and later."""
    effective: Mapping[str, Mapping[datetime, float]]
    """By workload, EffectiveBacklogPerInstance of this minute and later: what its policy tracks."""
    lines: tuple[Mapping[str, Any], ...]
    failure: Exception | None
    elapsed_s: float
    timeout_s: float
    made: RecordedCalls

    def counted(self, counter: str) -> float:
        return sum(sum(line.get(counter, [])) for line in self.lines if "_aws" in line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What one invocation returned or raised, logged and called."""

    answer: Any
    lines: tuple[Mapping[str, Any], ...]
    failure: Exception | None
    elapsed_s: float
    timeout_s: float
    made: RecordedCalls


def invoked(
    function: str,
    event: Any,
    timeline: Timeline,
    switchboard: FaultInjector,
    *,
    at: datetime,
    target: tuple[Call, Fault] | None = None,
    warm: bool = False,
) -> Invocation:
    """One invocation of a deployed handler; a process that is not warm knows nothing of earlier ones."""
    if not warm:
        wiring.cold_start()
        switchboard.cold_start()
    timeout_s = timeouts_s()[function]
    limits = wiring.TICK_LIMITS if function == "deadline_tick" else wiring.MINUTE_LIMITS
    timeline.start(at, timeout_s, limits)
    module, written = handler(function), io.StringIO()
    # Powertools keeps one handler a process, on the stream of its first use.
    module.logger.registered_handler.stream = written
    answer, failure = None, None
    with switchboard.listening(target) as made, redirect_stdout(written):
        try:
            answer = module.handler(event, Context(timeline))
        except Exception as raised:  # noqa: BLE001 - the cell checks the outcome
            failure = raised
        ended, elapsed_s = made.snapshot(), timeline.elapsed_s
        timeline.end()
    return Invocation(
        answer=answer,
        lines=tuple(json.loads(line) for line in written.getvalue().splitlines()),
        failure=failure,
        elapsed_s=elapsed_s,
        timeout_s=timeout_s,
        made=ended,
    )


@dataclass(eq=False)
class Account:
    """One account and process; `invoke` starts the process anew unless `warm` is set."""

    timeline: Timeline
    switchboard: FaultInjector
    _queues: dict[str, str] = field(default_factory=dict)
    _policies: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    _policy_arns: dict[str, str] = field(default_factory=dict)
    _registered: dict[str, str] = field(default_factory=dict)
    _messages: dict[str, dict[int, list[Any]]] = field(default_factory=dict)
    _seeded: int = 0
    _found: Hashable = None
    _metrics: dict[tuple[str, Situation], list[Any]] = field(default_factory=dict)

    def build(self) -> None:
        for name, fleet in FLEETS.items():
            self._queues[name] = moto_account.create_queue(queue_of(name))
            make = (
                moto_account.create_group
                if isinstance(fleet, AutoScalingGroup)
                else moto_account.create_service
            )
            make(name)
        for queue in (SHARDS, TICKS):
            moto_account.create_queue(queue)
        moto_account.create_state_table(STATES)
        for group in (PAUSES, GUARDS):
            moto_account.client("scheduler").create_schedule_group(Name=group)
        moto_account.client("events").create_event_bus(Name=stacks.EVENT_BUS.rpartition("/")[2])
        for name in (ASG, FIFO):
            self._policy_arns[name] = moto_account.create_group_policy(name)
        service = FLEETS[ECS]
        assert isinstance(service, EcsService)
        self._policy_arns[ECS] = moto_account.create_service_policy(service)
        self._policies = (dict(_moto("autoscaling").policies), dict(_moto("applicationautoscaling").policies))

    def set(self, situations: Mapping[str, Situation]) -> None:
        """The account before the invocation of a case."""
        self._put_policies_back()
        _hand_back()
        _release()
        points: list[Any] = []
        for name in WORKLOADS:
            situation = situations.get(name, BUSY)
            self._ask_for(name, situation.desired)
            _let_run(name, 0 if situation.short else situation.desired)
            self._leave_waiting(name, situation.visible)
            self._register(name, situation)
            if situation.remembered:
                self._remember(name, situation)
            points += self._published(name, situation)
        _moto("cloudwatch").metric_data[:] = points
        self._seeded, self._found = len(points), tuple(situations.items())

    def situation(self) -> Hashable:
        """Everything that the account's responses depend on."""
        published = _moto("cloudwatch").metric_data[self._seeded :]
        return (
            self._found,
            tuple(tuple(part.items()) for part in astuple(self.state())),
            tuple((point.timestamp, point.value, point.dimensions[-1].value) for point in published),
        )

    def invoke(
        self,
        function: str,
        event: Any,
        *,
        at: datetime = NOON + STARTED_AFTER,
        target: tuple[Call, Fault] | None = None,
        warm: bool = False,
    ) -> Outcome:
        """One invocation; a process that is not warm knows nothing of earlier ones."""
        ended = invoked(function, event, self.timeline, self.switchboard, at=at, target=target, warm=warm)
        return Outcome(
            state=self.state(),
            points=self._points_since(at.replace(second=0, microsecond=0), BACKLOG_PER_INSTANCE),
            effective=self._points_since(at.replace(second=0, microsecond=0), EFFECTIVE_BACKLOG_PER_INSTANCE),
            lines=ended.lines,
            failure=ended.failure,
            elapsed_s=ended.elapsed_s,
            timeout_s=ended.timeout_s,
            made=ended.made,
        )

    def state(self) -> State:
        # moto gives a service's policy another ARN with every put, which AWS does not.
        for key, policy in _moto("applicationautoscaling").policies.items():
            policy.policy_arn = self._policies[1][key].policy_arn
        return State(
            desired={name: _desired(fleet) for name, fleet in FLEETS.items()},
            targets={ASG: _group_target(ASG), FIFO: _group_target(FIFO), ECS: _service_target()},
            waiting={name: len(_queue(url).messages) for name, url in self._queues.items()},
            learned={name: _learned(name) for name in WORKLOADS},
            minimum={name: _minimum(fleet) for name, fleet in FLEETS.items()},
            ends={name: _ends(fleet) for name, fleet in FLEETS.items()},
            guarded={name: _guarded(name) for name in WORKLOADS},
            suspended={name: _suspended(fleet) for name, fleet in FLEETS.items()},
            released={
                name: name in _moto("scheduler").schedule_groups[GUARDS].schedules for name in WORKLOADS
            },
        )

    def document(self, name: str, situation: Situation) -> str:
        """The workload's document as text."""
        changes = (
            {"scaling": SCALING, "tracking": {"metric": "effective", "processing_s": PROCESSING_S}}
            if situation.by_deadline
            else {}
        )
        if situation.failing:
            changes["guard"] = GUARD
        if situation.surges:
            changes["surge"] = SURGE | {"alarm_arns": [alarm_arn(name, "depth-critical")]}
        return json.dumps(document_of(name, policy_arn=self._policy_arns[name], **changes))

    def _register(self, name: str, situation: Situation) -> None:
        """Register the workload's document, and forget the state of the deadline engine."""
        text = self.document(name, situation)
        if self._registered.get(name) != text:
            moto_account.register(json.loads(text))
            self._registered[name] = text
        moto_account.client("dynamodb").delete_item(TableName=STATES, Key={"workload": {"S": name}})

    def _remember(self, name: str, situation: Situation) -> None:
        """Store the item of the deadline engine."""
        served_s = NOON.timestamp() - 10
        state = engine_state(
            served_s,
            visible=situation.visible,
            desired=situation.desired,
            running=situation.desired,
            floor=situation.floor,
        )
        item = {
            "workload": {"S": name},
            "tick": {"N": str(round(served_s * 10))},
            "state": {"B": encoded(state)},
            "learned": {"B": encoded_learned(REMEMBERED)},
        }
        moto_account.client("dynamodb").put_item(TableName=STATES, Item=item)

    def _put_policies_back(self) -> None:
        for policies, saved in zip(
            (_moto("autoscaling").policies, _moto("applicationautoscaling").policies),
            self._policies,
            strict=True,
        ):
            policies.clear()
            policies.update(saved)

    def _ask_for(self, name: str, instances: int) -> None:
        fleet = FLEETS[name]
        if _desired(fleet) == instances:
            return
        if isinstance(fleet, EcsService):
            moto_account.client("ecs").update_service(
                cluster=fleet.cluster, service=fleet.service, desiredCount=instances
            )
        else:
            # moto counts only instances in service, and would keep those of a case whose instances boot.
            _let_run(name, _desired(fleet))
            moto_account.client("autoscaling").set_desired_capacity(
                AutoScalingGroupName=fleet.name, DesiredCapacity=instances
            )

    def _leave_waiting(self, name: str, messages: int) -> None:
        url = self._queues[name]
        in_queue = _queue(url)._messages
        if messages not in self._messages.setdefault(name, {}):
            in_queue.clear()
            for index in range(messages):
                group = (
                    {"MessageGroupId": "one", "MessageDeduplicationId": str(index)} if name == FIFO else {}
                )
                moto_account.client("sqs").send_message(QueueUrl=url, MessageBody="{}", **group)
            self._messages[name][messages] = list(in_queue)
        in_queue[:] = self._messages[name][messages]

    def _published(self, name: str, situation: Situation) -> list[Any]:
        """What CloudWatch holds of the workload: its zeros, its processing times, AWS's own metrics."""
        if (name, situation) in self._metrics:
            return self._metrics[name, situation]
        metrics = _moto("cloudwatch").metric_data
        metrics.clear()
        fleet = FLEETS[name].dimensions
        for back in range(1, 4):
            at = NOON - timedelta(minutes=back)
            if situation.idle and back <= IDLE_MINUTES:
                _put("Sluice", "BacklogPerInstance", fleet, at, 0)
            if name == FIFO:
                queue = {"QueueName": "refunds.fifo"}
                _put("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue, at, 3)
                _put("AWS/SQS", "ApproximateNumberOfGroupsWithInflightMessages", queue, at, 1)
                _put("AWS/AutoScaling", "GroupInServiceInstances", fleet, at, 2)
        if situation.arriving:
            _put_arrivals(queue_of(name))
        if situation.failing:
            _put_outcomes(fleet)
        if situation.remembered:
            for hour, waited_s in product(range(-1, LEARNING_HOURS), WAITS_S):
                at = NOON + timedelta(hours=hour, minutes=30)
                _put("Sluice", "MsgWaitDuration", fleet, at, waited_s)
        for _ in range(40):
            _put("Sluice", "MsgProcessingDuration", fleet, NOON - timedelta(minutes=10), PROCESSING_S)
        self._metrics[name, situation] = list(metrics)
        return self._metrics[name, situation]

    def _points_since(self, minute: datetime, metric: str) -> dict[str, dict[datetime, float]]:
        return {
            name: {
                point.timestamp.replace(tzinfo=UTC): point.value
                for point in _moto("cloudwatch").metric_data
                if point.name == metric
                and {dimension.name: dimension.value for dimension in point.dimensions} == fleet.dimensions
                and point.timestamp.replace(tzinfo=UTC) >= minute
            }
            for name, fleet in FLEETS.items()
        }


def _put_arrivals(queue: str) -> None:
    for minute in range(-READ_MINUTES, ARRIVING_MINUTES):
        at = NOON + timedelta(minutes=minute)
        _put("AWS/SQS", "NumberOfMessagesSent", {"QueueName": queue}, at, 60)


def _put_outcomes(fleet: Mapping[str, str]) -> None:
    """Processing times of a minute's ten messages by their outcome, of which six fail."""
    minutes = range(-WINDOW_MINUTES, FAILING_MINUTES)
    for minute, (outcome, count) in product(minutes, {"failure": 6, "success": 4}.items()):
        for _ in range(count):
            at, ended = NOON + timedelta(minutes=minute), {**fleet, "Outcome": outcome}
            _put("Sluice", "MsgProcessingDuration", ended, at, PROCESSING_S)


def queue_of(name: str) -> str:
    """The workload's queue, by name."""
    return f"{name}.fifo" if name == FIFO else name


def document_of(name: str, **changes: Any) -> dict[str, Any]:
    """The workload's document."""
    make = ecs_document if name == ECS else document
    common = {
        "target": dynamic_section(),
        "tracking": {"metric": "effective"},
        "idle_minutes": IDLE_MINUTES,
    }
    return make(name, queue_url=queue_url(queue_of(name)), **(common | changes))


class Context(AnyContext):
    """The Lambda context, on the clock of the cell."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def get_remaining_time_in_millis(self) -> int:
        return self._timeline.remaining_ms()


@contextmanager
def process(names: Sequence[str]) -> Iterator[tuple[Timeline, FaultInjector, pytest.MonkeyPatch]]:
    """An empty account, in which time passes only during calls, and the environment of the functions.

    A call is about those of the names that its parameters contain.
    """
    with (
        pytest.MonkeyPatch.context() as patch,
        moto_account.account(),
        time_machine.travel(NOON, tick=False) as travel,
        ReadersPool(wiring.READERS) as pool,
    ):
        queues = {"SLUICE_SHARD_QUEUE_URL": queue_url(SHARDS), "SLUICE_TICK_QUEUE_URL": queue_url(TICKS)}
        others = {
            "SLUICE_STATE_TABLE": STATES,
            "SLUICE_EVENT_BUS_ARN": stacks.EVENT_BUS,
            "SLUICE_PAUSE_SCHEDULE_GROUP": PAUSES,
            "SLUICE_GUARD_SCHEDULE_GROUP": GUARDS,
            "SLUICE_HOLD_END_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/hold-end",
        }
        for name, value in (ENVIRONMENT | queues | others).items():
            patch.setenv(name, value)
        timeline = Timeline(travel, pool)
        switchboard = FaultInjector(names, timeline)
        patch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=timeline.sleep))
        patch.setattr(wiring, "ThreadPoolExecutor", lambda _: pool)
        patch.setattr(concurrent_reads, "wait", timeline.wait)
        with switchboard.connected():
            yield timeline, switchboard, patch
            wiring.cold_start()


@contextmanager
def deployed_account() -> Iterator[Account]:
    """An account with the three workloads."""
    with process(WORKLOADS) as (timeline, switchboard, patch):
        patch.setattr(AutoScalingResponse, "describe_scaling_activities", _activities)
        built = Account(timeline=timeline, switchboard=switchboard)
        built.build()
        switchboard.situation = built.situation
        yield built


@cache
def handler(function: str) -> ModuleType:
    path = ROOT / "functions" / function / "app.py"
    spec = importlib.util.spec_from_file_location(f"faulted_{function}_app", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def timeouts_s() -> Mapping[str, int]:
    """Each function's Timeout in template.yaml, by its folder."""
    resources = stacks.template("template.yaml")["Resources"].values()
    return {
        properties["CodeUri"].strip("/").removeprefix("functions/"): properties["Timeout"]
        for properties in (resource["Properties"] for resource in resources)
        if "Timeout" in properties and "CodeUri" in properties
    }


def understood(failure: Exception | None) -> bool:
    return failure is None or isinstance(failure, SluiceError)


def _moto(service: str) -> Any:
    return get_backend(service)[ACCOUNT][REGION]  # type: ignore[call-overload]


def _desired(fleet: Fleet) -> int:
    if isinstance(fleet, AutoScalingGroup):
        return int(_moto("autoscaling").autoscaling_groups[fleet.name].desired_capacity)
    return int(_moto("ecs").services[f"{fleet.cluster}:{fleet.service}"].desired_count)


def _hand_back() -> None:
    """End every surge: AWS's scheduled actions are gone, and the minimum of each fleet is as created."""
    groups, targets = _moto("autoscaling"), _moto("applicationautoscaling")
    groups.scheduled_actions.clear()
    targets.scheduled_actions.clear()
    for name, fleet in FLEETS.items():
        if isinstance(fleet, AutoScalingGroup):
            groups.autoscaling_groups[name].min_size = MIN_INSTANCES
        else:
            _scalable_target(fleet).min_capacity = MIN_INSTANCES


def _release() -> None:
    """End every hold of the downstream guard; what is stored of them is gone with the documents' items."""
    _moto("scheduler").schedule_groups[GUARDS].schedules.clear()
    for fleet in FLEETS.values():
        if isinstance(fleet, EcsService):
            _scalable_target(fleet).suspended_state = dict(NOT_SUSPENDED)


def _guarded(name: str) -> bool:
    item = _moto("dynamodb").tables[STATES].items.get(DynamoType({"S": name}))
    attribute = item and item.attrs.get("guard")
    return bool(attribute) and decoded_guard(attribute.value).in_force(NOON + STARTED_AFTER)


def _suspended(fleet: Fleet) -> bool:
    if isinstance(fleet, AutoScalingGroup):
        return False
    return bool(_scalable_target(fleet).suspended_state["DynamicScalingOutSuspended"])


def _minimum(fleet: Fleet) -> int:
    if isinstance(fleet, AutoScalingGroup):
        return int(_moto("autoscaling").autoscaling_groups[fleet.name].min_size)
    return int(_scalable_target(fleet).min_capacity)


def _ends(fleet: Fleet) -> frozenset[tuple[str, int]]:
    if isinstance(fleet, AutoScalingGroup):
        actions = _moto("autoscaling").scheduled_actions.values()
        return frozenset(
            (action.scheduled_action_name, int(action.min_size))
            for action in actions
            if action.auto_scaling_group_name == fleet.name
        )
    return frozenset(
        (action.scheduled_action_name, int(action.scalable_target_action["MinCapacity"]))
        for action in _moto("applicationautoscaling").scheduled_actions
    )


def _scalable_target(fleet: EcsService) -> Any:
    targets = _moto("applicationautoscaling").targets[moto_account.ECS_DIMENSION]
    return targets[f"service/{fleet.cluster}/{fleet.service}"]


def _let_run(name: str, running: int) -> None:
    """The running instances of a fleet; for one that lacks instances AWS reports the failed launches."""
    fleet = FLEETS[name]
    if isinstance(fleet, AutoScalingGroup):
        for place, state in enumerate(_moto("autoscaling").autoscaling_groups[name].instance_states):
            state.lifecycle_state = "InService" if place < running else "Pending"
        return
    service = _moto("ecs").services[f"{fleet.cluster}:{fleet.service}"]
    refused = {"id": "1", "createdAt": REFUSED_AT, "message": f"(service {name}) was unable to place a task."}
    service.running_count = running
    service.events[:] = [refused] if running < service.desired_count else []


def _activities(response: AutoScalingResponse) -> ActionResult:
    name = response._get_param("AutoScalingGroupName")
    states = _moto("autoscaling").autoscaling_groups[name].instance_states
    failed = {
        "ActivityId": "1",
        "AutoScalingGroupName": name,
        "Description": "Launching a new EC2 instance",
        "Cause": "a difference between desired and actual capacity",
        "StartTime": REFUSED_AT,
        "StatusCode": "Failed",
        "StatusMessage": "Could not launch Spot Instances. UnfulfillableCapacity",
    }
    short = any(state.lifecycle_state == "Pending" for state in states)
    return ActionResult({"Activities": [failed] if short else []})


def _group_target(name: str) -> float:
    policy = _moto("autoscaling").policies[f"sluice-{name}"]
    return float(policy.target_tracking_configuration.TargetValue)


def _service_target() -> float:
    [policy] = _moto("applicationautoscaling").policies.values()
    return float(policy.target_tracking_scaling_policy_configuration["TargetValue"])


def _learned(name: str) -> tuple[float, float | None] | None:
    item = _moto("dynamodb").tables[STATES].items.get(DynamoType({"S": name}))
    attribute = item and item.attrs.get("learned")
    if not attribute:
        return None
    try:
        learned = decoded_learned(attribute.value)
    except ValueError:
        return None
    return learned.margin_s, learned.processing and learned.processing.mean_s


def _queue(url: str) -> Any:
    return _moto("sqs").get_queue(url.rpartition("/")[2])


def _put(namespace: str, metric: str, dimensions: Mapping[str, str], at: datetime, value: float) -> None:
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    datum = {"MetricName": metric, "Dimensions": named, "Timestamp": at, "Value": value}
    moto_account.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[datum])
