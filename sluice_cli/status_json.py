"""`sluice status --json`; docs/schemas/status.json describes it.

A value that could not be read is an object with the reason: {"unknown": "..."}.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sluice.core.model import Backlog, Capacity, Schedule, Unknown
from sluice.core.schedules import InForce
from sluice.core.switch_record import Switch
from sluice_cli.status_view import View
from sluice_operator.aws.workload_events import WorkloadEvents
from sluice_operator.core.conditions import Condition, live_backlog_per_instance
from sluice_operator.core.drain import drain_s
from sluice_operator.core.events import Activity, AlarmState, Deployment
from sluice_operator.core.readings import LoggedDecision, Point, Readings, Starts, promise_s
from sluice_operator.core.schedules import schedule_in_force


def document(view: View, stack: str) -> dict[str, Any]:
    """The whole answer of the control plane of this stack."""
    return {
        "at": _value(view.at),
        "stack": stack,
        "ok": view.ok,
        "workloads": [
            {
                "name": each.name,
                "ok": not each.wrong,
                **(_readings(each.readings, view.at) if each.readings else {}),
                **(_events(view.events) if view.events else {}),
                "conditions": [_condition(condition) for condition in each.conditions],
            }
            for each in view.workloads
        ],
    }


def _readings(readings: Readings, now: datetime) -> dict[str, Any]:
    drain = drain_s(readings)
    return {
        "mode": readings.workload.mode.value,
        "queue_url": readings.workload.queue_url,
        "fleet": str(readings.workload.fleet),
        "colors": _colors(readings),
        "messages": _value(readings.observation.backlog),
        "oldest_age_s": _value(readings.oldest_age_s),
        "instances": _value(readings.observation.capacity),
        "backlog_per_instance": _value(live_backlog_per_instance(readings)),
        "tracked": _value(readings.tracked),
        "target": _value(readings.target),
        "margin_s": _value(readings.margin_s),
        "arrivals_per_s": _value(readings.arrivals_per_s),
        "deletions_per_s": _value(readings.deletions_per_s),
        # JSON has no infinity: a queue that does not shrink has no time to drain.
        "drain_s": None if isinstance(drain, float) and math.isinf(drain) else _value(drain),
        "promise_s": promise_s(readings.workload),
        "starts": _value(readings.starts),
        "last_decision": _value(readings.last_decision),
        "schedule": _scheduled(schedule_in_force(readings.workload, now)),
    }


def _colors(readings: Readings) -> dict[str, Any] | None:
    """Both fleets of a blue/green workload, and the switch in progress; None for a single fleet."""
    active, idle, switch = readings.workload.color, readings.workload.idle, readings.switch
    if active is None or idle is None:
        return None
    return {
        "active": active.value,
        "idle": {"fleet": str(idle.fleet), "instances": _value(readings.observation.idle)},
        "switch": {
            "to": switch.to.value,
            "by": switch.by,
            "since": _value(switch.since),
            "step": switch.step.value,
            "execution": switch.execution,
        }
        if isinstance(switch, Switch)
        else _value(switch),
    }


def _events(events: WorkloadEvents) -> dict[str, Any]:
    return {name: _value(getattr(events, name)) for name in ("alarms", "activities", "deployments")}


def _value(value: object) -> Any:
    match value:
        case Unknown():
            return {"unknown": value.reason}
        case Backlog():
            return {"visible": value.visible, "in_flight": value.in_flight, "delayed": value.delayed}
        case Capacity():
            return _capacity(value)
        case Point():
            return {"at": _value(value.at), "value": value.value}
        case Starts():
            return {"messages": value.messages, "in_time_share": value.in_time_share}
        case LoggedDecision():
            return {"at": _value(value.at), "message": value.message, "outcome": value.outcome}
        case tuple():
            return [_value(each) for each in value]
        case AlarmState() | Activity() | Deployment():
            return {name: _value(each) for name, each in asdict(value).items()}
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="seconds")
        case _:
            return value


def _capacity(capacity: Capacity) -> dict[str, Any]:
    bounds = capacity.bounds
    return {
        "desired": capacity.desired,
        "running": capacity.running,
        "pending": capacity.booting
        if capacity.booting is not None
        else max(capacity.desired - capacity.running, 0),
        "min": bounds.min if bounds else None,
        "max": bounds.max if bounds else None,
    }


def _scheduled(held: InForce | Unknown | None) -> Any:
    if not isinstance(held, InForce):
        return _value(held)
    return {
        **_schedule(held.schedule),
        "since": _value(held.since),
        "until": _value(held.until),
        "next": _schedule(held.next) if held.next else None,
    }


def _schedule(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "min": schedule.bounds.min,
        "max": schedule.bounds.max,
        "time_zone": schedule.time_zone,
    }


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "kind": condition.kind.value,
        "status": condition.status.value,
        "reason": condition.reason,
        "message": condition.message,
        "wrong": condition.wrong,
    }
