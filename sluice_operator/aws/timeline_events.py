"""Reads the entries of one workload's timeline from its log lines and from AWS."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sluice.aws.errors import aws_errors
from sluice.aws.responses import field, list_field, optional_list_field
from sluice.core.model import AutoScalingGroup, Fleet, Workload
from sluice.ports import RemainingS
from sluice_operator.aws.decisions import LoggedDecisions, moment
from sluice_operator.aws.workload_events import ALARMS, activities, tracking_alarms
from sluice_operator.core.timeline import Entry, Source

LINES = (
    "fields @timestamp, message, decision, outcome, reason, failure, visible, in_flight, running, "
    'desired_now | filter workload = "{workload}" | sort @timestamp desc'
)
INSTANCE_ID = re.compile(r"\bi-[0-9a-f]+")
MAX_REASON = 400
"""Characters of an alarm's reason that are shown."""


def logged(
    decisions: LoggedDecisions, workload: str, start: datetime, end: datetime, remaining_s: RemainingS
) -> list[Entry]:
    """Decisions, ticks and failures from the functions' logs, oldest first; the newest 10,000 lines."""
    rows = decisions.query(LINES.format(workload=workload), start, end, remaining_s)
    with aws_errors("GetQueryResults"):
        return [_line(row) for row in reversed(rows)]


def _line(row: Mapping[str, str]) -> Entry:
    at, text = moment(field(row, "@timestamp")), field(row, "message")
    if "failure" in row:
        return Entry(at=at, source=Source.FAILURE, text=text, repeats=("failure", text), wrong=True)
    if "decision" not in row:
        return Entry(at=at, source=Source.TICK, text=text + _numbers(row), repeats=("tick", "observed"))
    held = row.get("outcome") == "held"
    return Entry(
        at=at,
        source=Source.DECISION,
        text=text + _numbers(row),
        repeats=(row["decision"], row.get("reason", text)) if held else (),
        held=held,
        wrong=row.get("outcome") == "failed",
    )


def _numbers(row: Mapping[str, str]) -> str:
    units = {"visible": "visible", "in_flight": "in flight", "running": "running", "desired_now": "desired"}
    known = [f"{row[name]} {unit}" for name, unit in units.items() if name in row]
    return f" ({', '.join(known)})" if known else ""


def alarm_history(cloudwatch: Any, workload: Workload, start: datetime, end: datetime) -> Iterator[Entry]:
    """Each change of state of its own alarms and of its policy's, and each action that failed.

    CloudWatch keeps the history for 30 days.
    """
    own = [f"sluice-{workload.name}-{kind}" for kind in ALARMS]
    tracking = [field(alarm, "AlarmName") for alarm in tracking_alarms(cloudwatch, workload)]
    for name in own + tracking:
        pages = cloudwatch.get_paginator("describe_alarm_history").paginate(
            AlarmName=name, StartDate=start, EndDate=end, ScanBy="TimestampAscending"
        )
        for item in (item for page in pages for item in list_field(page, "AlarmHistoryItems")):
            summary, kind = field(item, "HistorySummary"), field(item, "HistoryItemType")
            failed = summary.startswith("Failed")
            if kind == "StateUpdate" or failed:
                # The rest of the name of target tracking's alarms is a unique id.
                short = re.sub(r"(-Alarm(High|Low))-.*", r"\1", name)
                yield Entry(
                    at=field(item, "Timestamp"),
                    source=Source.ALARM,
                    text=f"{short}: {summary}{_alarm_reason(item)}",
                    wrong=failed,
                )


def _alarm_reason(item: Mapping[str, Any]) -> str:
    try:
        reason = json.loads(item.get("HistoryData", "{}"))["newState"]["stateReason"]
    except (KeyError, TypeError, ValueError):
        return ""
    return f": {reason[:MAX_REASON]}"


def scaling_activities(clients: Callable[[str], Any], fleet: Fleet, start: datetime) -> Iterator[Entry]:
    """What the fleet did, why, and what failed; newest first."""
    for activity in activities(clients, fleet, start):
        failed = activity.status == "Failed"
        outcome = f" {activity.status}: {activity.status_message}".rstrip(": ") if failed else ""
        text = f"{activity.description}{outcome}: {activity.cause}".rstrip(": ")
        yield Entry(
            at=activity.at,
            source=Source.ACTIVITY,
            text=text,
            repeats=("activity", INSTANCE_ID.sub("i-", text)),
            wrong=failed,
        )


def deployments(clients: Callable[[str], Any], fleet: Fleet, start: datetime) -> Iterator[Entry]:
    """The instance refreshes or the service's deployments that AWS still lists, by their start."""
    if isinstance(fleet, AutoScalingGroup):
        answer = clients("autoscaling").describe_instance_refreshes(AutoScalingGroupName=fleet.name)
        found = [
            (refresh.get("StartTime"), f"instance refresh, now {field(refresh, 'Status')}")
            for refresh in list_field(answer, "InstanceRefreshes")
        ]
    else:
        answer = clients("ecs").describe_services(cluster=fleet.cluster, services=[fleet.service])
        found = [
            (
                each.get("createdAt"),
                f"deployment {each.get('status', '?')}, now {each.get('rolloutState', '?')}",
            )
            for service in list_field(answer, "services")
            for each in optional_list_field(service, "deployments")
        ]
    for at, text in found:
        if at is not None and at >= start:
            yield Entry(at=at, source=Source.DEPLOYMENT, text=text)


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
