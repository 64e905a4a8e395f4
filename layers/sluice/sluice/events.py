"""Parses the events with which AWS invokes the functions.

They are the schedule's input, a tick's shards, CloudWatch alarms (direct action and EventBridge),
CloudFormation stack events, and the steps of a switch. The error for any other event names what is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sluice.core.model import Color, Trigger
from sluice.core.surge import Asked
from sluice.core.switch_record import Step
from sluice.errors import ConfigError

ALARM_CHANGE = "CloudWatch Alarm State Change"
MAX_INSTANCES = 9999
MAX_SURGE_S = 604_800
"""A surge that is wanted for more than a week is a higher MinCapacity."""
READY_MINUTES, DRAIN_MINUTES = 30.0, 60.0
"""The longest waits of a switch, unless its state machine says otherwise."""
MAX_SWITCH_MINUTES = 720
"""Twelve hours: no message is hidden for longer."""
STACK_CHANGE = "CloudFormation Stack Status Change"
DESCRIPTION = re.compile(r"^Sluice workload ([a-zA-Z][a-zA-Z0-9-]{0,63}):")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One state change of one workload's alarm."""

    arn: str
    name: str
    state: str
    workload: str

    @property
    def is_alarm(self) -> bool:
        """Whether the alarm went to ALARM: no other change needs an action."""
        return self.state == "ALARM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A slice of the registry, to be served for the minute of the tick that read it.

    `documents` are the texts by workload name, in order, so that serving them needs no read of the registry.
    """

    scheduled: datetime
    documents: Mapping[str, str]

    @property
    def name(self) -> str:
        """The slice and its moment, as they appear in the log; the seconds of a tick below a minute too."""
        names = list(self.documents)
        moment = f"{self.scheduled:%H:%M:%S}" if self.scheduled.second else f"{self.scheduled:%H:%M}"
        return f"{names[0]} to {names[-1]} at {moment}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetuneRequest:
    """What triggered a retune; `stack_id` narrows it to one workload's stack."""

    trigger: Trigger
    stack_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """Test messages for a workload's queue: how many, and how many seconds a worker should take over each."""

    workload: str
    messages: int
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SurgeRequest:
    """What an operator's command asks for: a surge, or the end of one."""

    workload: str
    asked: Asked | None
    """None for the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchRequest:
    """The step of a switch between two colors that the state machine asks for."""

    step: Step
    workload: str
    to: Color | None
    """None: the color that is not active."""
    by: str
    """The ARN of the caller."""
    execution: str
    """The ARN of the switch's execution; of a restore, of the one that has ended in the middle."""
    ready_s: float
    """The longest wait for the new color to run and take messages."""
    drain_s: float
    """The longest wait for a color to finish its messages."""


def parse_scheduled_time(event: Mapping[str, Any], *, now: datetime) -> datetime:
    """The scheduled time of the invocation; `now` for an event without one, which is a manual invocation."""
    text = _object(event).get("scheduled_time")
    return now if text is None else _moment(text)


def deliveries(event: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Message ID -> body of the messages that a queue delivers; None for an event from any other source."""
    records = _object(event).get("Records")
    if records is None:
        return None
    if not isinstance(records, list) or not records:
        raise ConfigError(f"the event's `Records` must be the messages of a queue, got {records!r}")
    return {_required(_object(record), "messageId"): _required(record, "body") for record in records}


def required_deliveries(event: Mapping[str, Any]) -> Mapping[str, str]:
    """`deliveries` of a function that only a queue invokes; raises ConfigError for any other event."""
    delivered = deliveries(event)
    if delivered is None:
        raise ConfigError(
            f"this is not a delivery from a queue: it has no `Records`; its keys are {sorted(event)}"
        )
    return delivered


def batch_response(failed: Collection[str]) -> dict[str, Any]:
    """The response that makes Lambda redeliver only the failed messages."""
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def shard_message(shard: Shard) -> str:
    """A shard as the message that `parse_shard` reads: printable ASCII, one byte per character."""
    return json.dumps({"scheduled_time": shard.scheduled.isoformat(), "documents": dict(shard.documents)})


def size_in_shard_bytes(name: str, text: str) -> int:
    """The bytes that one document adds to a shard's message."""
    return len(json.dumps({name: text}))  # its two braces take as much as a comma and a space


def parse_shard(body: str) -> Shard:
    """The shard in a message's body; raises ConfigError for anything else."""
    try:
        message = _object(json.loads(body))
    except (ValueError, RecursionError):
        raise ConfigError(f"the message is not JSON, so not a shard of a tick: {body[:80]!r}") from None
    documents = _section(message, "documents")
    if not documents:
        raise ConfigError("the message holds no `documents`: a shard serves at least one workload")
    return Shard(
        scheduled=_moment(_required(message, "scheduled_time")),
        documents={name: _required(documents, name) for name in documents},
    )


def _moment(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ConfigError(f"scheduled_time {text!r} lies outside the years 1 to 9999 in UTC") from None
    except (TypeError, ValueError):
        raise ConfigError(
            f"scheduled_time {text!r} is not an ISO 8601 time: the schedule's input must be "
            '{"scheduled_time": "<aws.scheduler.scheduled-time>"}'
        ) from None


def parse_alarm(event: Mapping[str, Any]) -> Alarm:
    """The alarm in a direct Lambda alarm action or in an EventBridge alarm state change."""
    if "alarmData" in _object(event):
        data = _section(event, "alarmData")
        return _alarm(_required(event, "alarmArn"), data)
    if event.get("detail-type") == ALARM_CHANGE:
        data = _section(event, "detail")
        match event.get("resources"):
            case [str(arn)] if arn:
                return _alarm(arn, data)
            case resources:
                raise ConfigError(f"an alarm event needs its one alarm ARN in `resources`, got {resources!r}")
    raise ConfigError(
        "this is not a CloudWatch alarm event: it has neither `alarmData` (a direct alarm action) nor "
        f"detail-type {ALARM_CHANGE!r}; its keys are {sorted(event)}"
    )


def parse_retune(event: Mapping[str, Any]) -> RetuneRequest:
    """A stack's status change; any other event is the hourly schedule or a manual invocation."""
    if _object(event).get("detail-type") != STACK_CHANGE:
        return RetuneRequest(trigger=Trigger.SCHEDULE)
    return RetuneRequest(trigger=Trigger.STACK, stack_id=_required(_section(event, "detail"), "stack-id"))


def parse_test_load(event: Mapping[str, Any]) -> LoadRequest:
    """The schedule's input for test messages; by default 50 messages of 5 seconds."""
    messages, duration_s = _object(event).get("messages", 50), event.get("duration_s", 5)
    if isinstance(messages, bool) or not isinstance(messages, int) or not 1 <= messages <= 10_000:
        raise ConfigError(f"messages: {messages!r}: give a whole number from 1 to 10000")
    if (
        isinstance(duration_s, bool)
        or not isinstance(duration_s, int | float)
        or not 0 <= duration_s <= 43_200
    ):
        raise ConfigError(f"duration_s: {duration_s!r}: give seconds from 0 to 43200")
    return LoadRequest(workload=_required(event, "workload"), messages=messages, duration_s=duration_s)


def parse_surge(event: Mapping[str, Any]) -> SurgeRequest | Alarm:
    """The request of `sluice surge`, or a critical alarm in either of its two forms."""
    if "alarmData" in _object(event) or "detail-type" in event:
        return parse_alarm(event)
    workload, by = _required(event, "workload"), _required(event, "by").strip()
    if not (by and by.isascii() and by.isprintable()):
        raise ConfigError(f"by: {by!r}: give the ARN of the caller")
    if event.get("end") is True:
        return SurgeRequest(workload=workload, asked=None)
    to, drain_in_s, hold_s = event.get("to"), event.get("drain_in_s"), event.get("hold_s")
    if (to is None) is (drain_in_s is None):
        raise ConfigError(f"give one of to and drain_in_s, got {to!r} and {drain_in_s!r}")
    if to is not None and (isinstance(to, bool) or not isinstance(to, int) or not 1 <= to <= MAX_INSTANCES):
        raise ConfigError(f"to: {to!r}: give a whole number of instances from 1 to {MAX_INSTANCES}")
    for name, value in (("drain_in_s", drain_in_s), ("hold_s", hold_s)):
        if value is None and name == "drain_in_s":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 60 <= value <= MAX_SURGE_S:
            raise ConfigError(f"{name}: {value!r}: give seconds from 60 to {MAX_SURGE_S}")
    assert isinstance(hold_s, int | float)
    return SurgeRequest(workload=workload, asked=Asked(by=by, hold_s=hold_s, to=to, drain_in_s=drain_in_s))


def parse_switch(event: Mapping[str, Any]) -> SwitchRequest:
    """A step of a switch, as the state machine of template.yaml asks for it."""
    named, to = _required(_object(event), "step"), event.get("to")
    if named not in set(Step):
        raise ConfigError(f"step: {named!r}: give one of {', '.join(Step)}")
    if to is not None and to not in tuple(Color):  # which takes a list for `to` too
        raise ConfigError(f"to: {to!r}: give blue or green, or null for the color that is not active")
    return SwitchRequest(
        step=Step(named),
        workload=_required(event, "workload"),
        to=None if to is None else Color(to),
        by=_required(event, "by"),
        execution=_required(event, "execution"),
        ready_s=60 * _minutes(event, "ready_minutes", READY_MINUTES),
        drain_s=60 * _minutes(event, "drain_minutes", DRAIN_MINUTES),
    )


def _minutes(event: Mapping[str, Any], key: str, default: float) -> float:
    """A number, or its text: CloudFormation puts a parameter into a state machine as text only."""
    value = event.get(key, default)
    try:
        minutes = 0.0 if isinstance(value, bool) else float(value)
    except (OverflowError, TypeError, ValueError):
        minutes = 0.0
    if not 0 < minutes <= MAX_SWITCH_MINUTES:
        raise ConfigError(f"{key}: {value!r}: give minutes, up to {MAX_SWITCH_MINUTES}")
    return minutes


def _alarm(arn: str, data: Mapping[str, Any]) -> Alarm:
    name = _required(data, "alarmName")
    configuration = _section(data, "configuration")
    if "alarmRule" in configuration:
        raise ConfigError(
            f"alarm {name} is a composite one: point the bootstrap or shutdown alarm itself at this function"
        )
    description = configuration.get("description", "")
    named = DESCRIPTION.match(description) if isinstance(description, str) else None
    if named is None:
        raise ConfigError(
            f"alarm {name} does not name its workload: its description is {description!r}, "
            "but must begin with 'Sluice workload NAME:' as workload.yaml writes it"
        )
    state = _required(_section(data, "state"), "value")
    return Alarm(arn=arn, name=name, state=state, workload=named[1])


def _object(event: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(event, Mapping):  # a manual invocation may send any JSON
        raise ConfigError(f"the event must be a JSON object, got {event!r}")
    return event


def _section(event: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = event.get(key)
    if not isinstance(value, Mapping):
        raise ConfigError(f"the event's `{key}` must be an object, got {value!r}")
    return value


def _required(event: Mapping[str, Any], key: str) -> str:
    value = event.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"the event lacks `{key}`: got {value!r}")
    return value
