"""Reads the entries of one workload's timeline from its log lines and from AWS."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sluice.aws.errors import aws_errors
from sluice.aws.launch_failures import START_FAILED
from sluice.aws.responses import field, list_field, optional_list_field
from sluice.core.model import AutoScalingGroup, Fleet, Kind, Workload
from sluice.ports import Counter, Outcome, RemainingS
from sluice_operator.aws.decisions import LoggedDecisions, moment
from sluice_operator.aws.workload_events import NOT_SCALED, activities, tracking_alarms
from sluice_operator.core.schedules import executed
from sluice_operator.core.timeline import Effect, Entry, Source
from sluice_operator.core.workload_alarms import alarm_names, optional_alarm_names

NUMBERS = (
    "visible", "in_flight", "delayed", "running", "desired_now", "backlog_per_instance",
    "effective_backlog_per_instance", "target", "arrivals_per_s",
)  # fmt: skip
EVERYBODYS = ("every workload", "ticks below a minute")
"""What stands in for a workload's name in lines about all of them."""
LINES = (
    "fields @timestamp, @log, message, workload, decision, outcome, reason, failure, mode, "
    f"{', '.join(NUMBERS)} "
    f'| filter workload in ["{{workload}}", "{EVERYBODYS[0]}", "{EVERYBODYS[1]}"] '
    f'or failure in ["{Counter.SHARD_FAILED}", "{Counter.TICK_FAILED}"] '
    f'or (not ispresent(workload) and (failure = "{Counter.INVOCATION_FAILED}" '
    f"or message like /^({Counter.STALE_TICK}|{Counter.REGISTRY_STALE}):/)) "
    "or @message like /Task timed out|Runtime exited/ | sort @timestamp desc"
)
"""The lines about one workload, and those of the control plane that may concern it."""
SIZING = frozenset({Kind.BOOTSTRAP, Kind.SHUTDOWN, Kind.SCALE, Kind.LAUNCH})
"""Decisions about the size; another that holds explains no size."""
NOT_HOLDING = frozenset({Counter.RETUNE_FAILED, Counter.STATE_REBUILT, Counter.GUARD_RELEASED})
"""Failures that keep no size from changing."""
TICKING = ("publish_backlog", "deadline_tick")
"""Functions whose failed invocations concern every workload."""
INSTANCE_ID = re.compile(r"\bi-[0-9a-f]+")
UNIQUE_ID = re.compile(r"(-Alarm(?:High|Low))-[0-9a-f-]{36}")
"""Ends the names of target tracking's alarms."""
OF_SERVICE = re.compile(r"^\(service [^)]*\) ")
"""Begins every event of a service."""
HEX_ID = re.compile(r"[0-9a-f]{32}")
"""The id of a task or of a container instance."""
ROUTINE = re.compile(
    r"has reached a steady state|has started \d+ tasks|has stopped \d+ running tasks|has begun draining"
    r"|registered \d+ targets|deployment completed",
    re.IGNORECASE,
)
"""Events of a service that nothing follows from: sizes and deployments are told by other entries."""
FAILED = re.compile(r"\bfail|unhealthy|unable|rolling back", re.IGNORECASE)
LATER_SENTENCES = re.compile(r"\.  At .*", re.DOTALL)
"""A group's cause says first what changed its size, and then that instances followed."""
MOMENT = re.compile(r"^At [\d-]+T[\d:]+Z ")
MAX_REASON = 400
"""Characters of an alarm's reason that are shown."""


def logged(
    decisions: LoggedDecisions,
    workload: Workload,
    start: datetime,
    end: datetime,
    remaining_s: RemainingS,
) -> list[Entry]:
    """Decisions, ticks and failures from the functions' logs, oldest first."""
    rows = decisions.every_row(LINES.format(workload=workload.name), start, end, remaining_s)
    with aws_errors("GetQueryResults"):
        return [entry for row in rows if (entry := log_entry(row, workload)) is not None]


def log_entry(row: Mapping[str, str], workload: Workload) -> Entry | None:
    """The entry of one log line; None if it does not concern the workload."""
    at = moment(field(row, "@timestamp"))
    if row.get("workload") != workload.name:
        return _plane_entry(row, at, workload)
    text = row.get("message", "").removeprefix(f"{workload.name}: ")
    if failure := row.get("failure"):
        effect = Effect.NONE if failure in NOT_HOLDING else Effect.HELD
        text = f"{failure}: {text}"
        return Entry(
            at=at, source=Source.FAILURE, text=text, effect=effect, wrong=True, repeats=(failure, text)
        )
    numbers = {name: float(row[name]) for name in NUMBERS if name in row}
    text += _counts(numbers)
    if kind := row.get("decision"):
        return _decision(kind, row, at, text, numbers)
    paused = row.get("mode") == "paused"
    return Entry(
        at=at,
        source=Source.TICK,
        text=f"mode paused, so nothing is decided; {text}" if paused else text,
        effect=Effect.HELD if paused else Effect.NONE,
        repeats=("tick", row.get("mode", "")),
        numbers=numbers,
    )


def _decision(
    kind: str, row: Mapping[str, str], at: datetime, text: str, numbers: Mapping[str, float]
) -> Entry:
    outcome = row.get("outcome")
    acted = outcome == Outcome.ACTED
    if outcome == Outcome.OBSERVED:
        text += "; mode observe, so it did not act"
    return Entry(
        at=at,
        source=Source.DECISION,
        text=text,
        effect=_effect(kind, acted=acted),
        wrong=outcome == Outcome.FAILED,
        repeats=None if acted else (kind, f"{outcome} {row.get('reason', text)}"),
        numbers=numbers,
    )


def _effect(kind: str, *, acted: bool) -> Effect:
    """A step of a switch that waits holds the sizes of both colors, one that is done tells no size."""
    if kind == Kind.SWITCH and not acted:
        return Effect.HELD
    if kind not in SIZING:
        return Effect.NONE
    return Effect.RESIZED if acted else Effect.HELD


def _plane_entry(row: Mapping[str, str], at: datetime, workload: Workload) -> Entry | None:
    """A line about the control plane, or about a slice of the workloads."""
    about, failure, function = row.get("workload"), row.get("failure"), field(row, "@log").split("/")[-1]
    text = row.get("message", "the invocation timed out, or its process exited")
    if about is None:
        # Another function's failed invocation was about one workload, which its message or its fleet names.
        concerned = function in TICKING or workload.name in text or str(workload.fleet) in text
    else:
        concerned = about in EVERYBODYS or _in_slice(workload.name, about)
    if not concerned:
        return None
    named = ": ".join(filter(None, (function, failure, text)))
    return Entry(
        at=at,
        source=Source.PLANE,
        text=named,
        wrong=not text.startswith(Counter.REGISTRY_STALE),
        repeats=(f"{function} {failure}", text),
    )


def _in_slice(name: str, about: str) -> bool:
    """Whether a slice such as `w0250 to w0499 at 12:04` has the workload."""
    first, to, last = about.partition(" at ")[0].partition(" to ")
    return first <= name <= last if to else first == name


def _counts(numbers: Mapping[str, float]) -> str:
    units = {"visible": "visible", "in_flight": "in flight", "running": "running", "desired_now": "desired"}
    known = [f"{numbers[name]:g} {unit}" for name, unit in units.items() if name in numbers]
    return f" ({', '.join(known)})" if known else ""


def alarm_history(cloudwatch: Any, workload: Workload, start: datetime, end: datetime) -> Iterator[Entry]:
    """Each change of state of its own alarms and of its policy's, and each action that failed.

    CloudWatch keeps the history for 30 days.
    """
    asked = list(optional_alarm_names(workload))
    optional = list_field(cloudwatch.describe_alarms(AlarmNames=asked), "MetricAlarms")
    own = [*alarm_names(workload), *(field(alarm, "AlarmName") for alarm in optional)]
    yield from _history(cloudwatch, own, start, end)
    yield from tracking_history(cloudwatch, workload, start, end)


def tracking_history(cloudwatch: Any, workload: Workload, start: datetime, end: datetime) -> Iterator[Entry]:
    """The same of the alarms of the policy of its fleet alone."""
    names = [field(alarm, "AlarmName") for alarm in tracking_alarms(cloudwatch, workload)]
    yield from _history(cloudwatch, names, start, end)


def _history(cloudwatch: Any, names: Iterable[str], start: datetime, end: datetime) -> Iterator[Entry]:
    for name in names:
        short = UNIQUE_ID.sub(r"\1", name)
        pages = cloudwatch.get_paginator("describe_alarm_history").paginate(
            AlarmName=name, StartDate=start, EndDate=end, ScanBy="TimestampAscending"
        )
        for item in (item for page in pages for item in list_field(page, "AlarmHistoryItems")):
            summary, kind = field(item, "HistorySummary"), field(item, "HistoryItemType")
            at, failed = field(item, "Timestamp"), summary.startswith("Failed")
            if kind == "StateUpdate":
                change = re.sub(r"Alarm updated from (\w+) to (\w+)", r"\1 -> \2", summary)
                text = f"{short}: {change}{_alarm_reason(item)}"
                yield Entry(at=at, source=Source.ALARM, text=text, repeats=(short, change))
            elif failed:
                yield Entry(at=at, source=Source.ALARM, text=f"{short}: {summary}", wrong=True)


def _alarm_reason(item: Mapping[str, Any]) -> str:
    try:
        reason = json.loads(item.get("HistoryData", "{}"))["newState"]["stateReason"]
    except (KeyError, TypeError, ValueError):
        return ""
    return f": {reason.removeprefix('Threshold Crossed: ')[:MAX_REASON].rstrip('.')}"


def scaling_activities(clients: Callable[[str], Any], workload: Workload, start: datetime) -> Iterator[Entry]:
    """What the fleet did, why, what failed, and why an alarm changed nothing; newest first."""
    for activity in activities(clients, workload.fleet, start):
        failed, not_scaled = activity.status in ("Failed", "Cancelled"), activity.status == NOT_SCALED
        outcome = f" {activity.status}: {activity.status_message}".rstrip(":. ") if failed else ""
        if not_scaled:
            outcome = f", which changed nothing: {activity.status_message}"
        scheduled, is_group = executed(workload, activity), isinstance(workload.fleet, AutoScalingGroup)
        if scheduled and not is_group and not failed:
            # Another activity of a service tells what became of its size.
            yield Entry(at=activity.at, source=Source.ACTIVITY, text=scheduled)
            continue
        cause = scheduled if scheduled and is_group else _cause(activity.cause)
        text = f"{activity.description.rstrip('.')}{outcome}: {cause}".rstrip(": ")
        yield Entry(
            at=activity.at,
            source=Source.ACTIVITY,
            text=text,
            effect=Effect.HELD if failed or not_scaled else Effect.RESIZED,
            wrong=failed,
            repeats=("activity", INSTANCE_ID.sub("i-", text)),
        )


def _cause(text: str) -> str:
    """What led to an activity, without the moment, by which alike activities would differ."""
    return UNIQUE_ID.sub(r"\1", MOMENT.sub("", LATER_SENTENCES.sub("", text)))


def deployments(clients: Callable[[str], Any], fleet: Fleet, start: datetime) -> Iterator[Entry]:
    """The instance refreshes or deployments that AWS still lists, by their start, and a service's events."""
    if isinstance(fleet, AutoScalingGroup):
        yield from _begun(_refreshes(clients("autoscaling"), fleet), start)
        return
    answer = clients("ecs").describe_services(cluster=fleet.cluster, services=[fleet.service])
    for service in list_field(answer, "services"):
        yield from _begun(_rollouts(service), start)
        yield from _service_events(service, start)


Begun = tuple[datetime | None, str, str, bool]
"""The start of a refresh or a deployment, its state, AWS's reason, and whether it failed."""


def _begun(found: Iterable[Begun], start: datetime) -> Iterator[Entry]:
    for at, text, reason, failed in found:
        if at is not None and at >= start:
            text = f"{text}: {reason}".rstrip(": ")
            yield Entry(at=at, source=Source.DEPLOYMENT, text=text, wrong=failed)


def _refreshes(autoscaling: Any, group: AutoScalingGroup) -> Iterator[Begun]:
    answer = autoscaling.describe_instance_refreshes(AutoScalingGroupName=group.name)
    for refresh in list_field(answer, "InstanceRefreshes"):
        state, done = field(refresh, "Status"), refresh.get("PercentageComplete", 0)
        text = f"an instance refresh began; it is {state}, {done} % of the instances"
        failed = state in ("Failed", "RollbackFailed")
        yield refresh.get("StartTime"), text, refresh.get("StatusReason", ""), failed


def _rollouts(service: Mapping[str, Any]) -> Iterator[Begun]:
    for each in optional_list_field(service, "deployments"):
        state, running = each.get("rolloutState", "?"), each.get("runningCount", 0)
        text = (
            f"a deployment began; it is {each.get('status', '?')}, {state}, {running} of "
            f"{each.get('desiredCount', 0)} tasks run"
        )
        yield each.get("createdAt"), text, each.get("rolloutStateReason", ""), state == "FAILED"


def _service_events(service: Mapping[str, Any], start: datetime) -> Iterator[Entry]:
    """What ECS says of the service beyond its routine: a failed start holds the size; oldest first.

    ECS keeps the newest hundred, and leaves out what repeats the latest.
    """
    for event in reversed(optional_list_field(service, "events")):
        at, message = field(event, "createdAt"), " ".join(field(event, "message").split())
        if at < start or ROUTINE.search(message):
            continue
        text, is_start = OF_SERVICE.sub("", message), START_FAILED.search(message) is not None
        yield Entry(
            at=at,
            source=Source.SERVICE,
            text=text,
            effect=Effect.HELD if is_start else Effect.NONE,
            wrong=is_start or FAILED.search(message) is not None,
            repeats=("service", HEX_ID.sub("", text)),
        )


def stack_events(cloudformation: Any, stack: str, start: datetime) -> Iterator[Entry]:
    """When the stack itself changed, and which of its resources failed; newest first."""
    name = stack.split("/")[1] if stack.startswith("arn:") else stack
    for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack):
        for event in list_field(page, "StackEvents"):
            if field(event, "Timestamp") < start:  # AWS lists the newest first.
                return
            logical, status = field(event, "LogicalResourceId"), field(event, "ResourceStatus")
            failed = status.endswith("_FAILED")
            if logical == name or failed:
                what = f"stack {name}" if logical == name else f"stack {name}, {logical}"
                reason = event.get("ResourceStatusReason", "")
                yield Entry(
                    at=field(event, "Timestamp"),
                    source=Source.STACK,
                    text=f"{what}: {status}" + (f": {reason}" if reason else ""),
                    wrong=failed or "ROLLBACK" in status,
                )
