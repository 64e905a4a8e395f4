"""Builders with defaults: a test names only the values that it is about.

The defaults are the workloads of the sample events: `transcription` on an Auto Scaling group, `queue-proc` on
an ECS service.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sluice.core.deadline.state import EngineState
from sluice.core.emptiness import minutes_to_prove, tick_proof_end_minutes
from sluice.core.guard import Guard, as_stored
from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import (
    AutoScalingGroup,
    Backlog,
    Bounds,
    Capacity,
    Color,
    Deadline,
    Demand,
    Durations,
    DynamicTarget,
    EcsService,
    GuardSettings,
    Metric,
    Observation,
    OfferedLoad,
    TrackedMetric,
    Tracking,
    Unknown,
    Workload,
)
from sluice.core.schedules import InForce, in_force
from sluice.document import parsing, schedule_lines
from sluice.document.versions import (
    RELEASE,
    VERSION,
)
from sluice.events import Alarm

POOL = ThreadPoolExecutor(4)
"""Threads for adapters that read concurrently; they are started by the first read."""
NOW = datetime(2026, 1, 15, 12, 0, 30, tzinfo=UTC)
MINUTE_NOW = NOW.replace(second=0)
ARN = "arn:aws:{service}:eu-west-1:123456789012:{rest}"
GROUP = AutoScalingGroup(name="transcription")
SERVICE = EcsService(cluster="workers", service="queue-proc")
STACK_IDS = {
    "transcription": "6f3a2b10-f20a-11f0-9d4e-0a5c7b1e2d3f",
    "queue-proc": "7a4b3c21-f20a-11f0-9d4e-0a5c7b1e2d3f",
}
POLICY_ARN = ARN.format(
    service="autoscaling",
    rest="scalingPolicy:0c3e1a6e-7b1f-4c55-9a57-9f0d3f1c2b4a:autoScalingGroupName/transcription:policyName/sluice",
)
ECS_POLICY_ARN = ARN.format(
    service="autoscaling",
    rest="scalingPolicy:1d4f2b7f-8c20-4d66-8b68-0a1e4a2d3c5b:resource/ecs/service/workers/queue-proc:policyName/sluice",
)


def alarm_arn(name: str, kind: str) -> str:
    return ARN.format(service="cloudwatch", rest=f"alarm:sluice-{name}-{kind}")


def queue_url(name: str) -> str:
    return f"https://sqs.eu-west-1.amazonaws.com/123456789012/{name}"


def stack_id(name: str) -> str:
    unique = STACK_IDS.get(name, "00000000-f20a-11f0-9d4e-0a5c7b1e2d3f")
    return ARN.format(service="cloudformation", rest=f"stack/sluice-{name}/{unique}")


def static_section(messages_per_instance: float = 8) -> dict[str, Any]:
    return {"type": "static", "messages_per_instance": messages_per_instance}


def dynamic_section(**changes: Any) -> dict[str, Any]:
    return {
        "type": "dynamic",
        "acceptable_latency_s": 600,
        "concurrency_per_instance": 1,
        "statistic": "Average",
        "min_messages_per_instance": 0.1,
        "max_messages_per_instance": 1000,
        "fallback_messages_per_instance": 10,
        "deadband_ratio": 0.1,
        "max_factor_per_retune": 2,
        "min_samples": 30,
    } | changes


def tracking_section(metric: str = "backlog", **changes: Any) -> dict[str, Any]:
    return {"metric": metric, "source": "published", "arrival_margin": 0.3, "processing_s": None} | changes


def deadline_section(**changes: Any) -> dict[str, Any]:
    return {
        "type": "deadline",
        "promise_s": 300,
        "promise_percent": 99,
        "tick_s": 10,
        "boot_s": 180,
        "margin_s": 15,
        "busy_instances": "protected",
    } | changes


def deadline_document(
    name: str = "transcription",
    *,
    scaling: Mapping[str, Any] | None = None,
    processing_s: float | None = 5,
    **changes: Any,
) -> dict[str, Any]:
    """A valid document whose fleet the deadline engine scales; `scaling` are settings of that section."""
    section = {"type": "deadline", "promise_s": 300, "boot_s": 180} | dict(scaling or {})
    tracking = tracking_section(processing_s=processing_s)
    return document(name, **({"scaling": section, "tracking": tracking, "policy_arn": ""} | changes))


def document(name: str = "transcription", **changes: Any) -> dict[str, Any]:
    """A valid document on an Auto Scaling group of the same name."""
    return {
        "version": VERSION,
        "release": RELEASE,
        "name": name,
        "stack_id": stack_id(name),
        "mode": "active",
        "queue_url": queue_url(name),
        "fleet": {"type": "asg", "name": name},
        "capacity": {"min": 0, "max": 5, "bootstrap": 1},
        "count_in_flight": True,
        "target": static_section(),
        "scaling": {"type": "target_tracking"},
        "duration_metric": {"namespace": "Sluice", "name": "MsgProcessingDuration"},
        "tracking": tracking_section(),
        "idle_minutes": 5,
        "policy_arn": POLICY_ARN.replace("transcription", name),
        "alarm_arns": {"bootstrap": alarm_arn(name, "bootstrap"), "shutdown": alarm_arn(name, "shutdown")},
    } | changes


def ecs_document(name: str = "queue-proc", **changes: Any) -> dict[str, Any]:
    """A valid document on an ECS service of the same name in the cluster `workers`."""
    fleet = {"type": "ecs", "cluster": "workers", "service": name}
    arn = ECS_POLICY_ARN.replace("queue-proc", name)
    return document(name, **({"fleet": fleet, "policy_arn": arn} | changes))


def blue_green_document(name: str = "transcription", kind: str = "asg", **changes: Any) -> dict[str, Any]:
    """A valid document of two fleets, `NAME-blue` and `NAME-green`, as the registry holds it."""

    def colored(color: Color) -> dict[str, Any]:
        fleet = f"{name}-{color}"
        if kind == "asg":
            arn = POLICY_ARN.replace("transcription", fleet)
            return {"fleet": {"type": "asg", "name": fleet}, "policy_arn": arn}
        arn = ECS_POLICY_ARN.replace("queue-proc", fleet)
        return {"fleet": {"type": "ecs", "cluster": "workers", "service": fleet}, "policy_arn": arn}

    fleet = {"type": "blue_green", **{str(color): colored(color) for color in Color}}
    return document(name, **({"fleet": fleet, "policy_arn": ""} | changes))


def parsed(text: Mapping[str, Any], active: Color = Color.BLUE) -> Workload:
    """The workload of a document; `active` is the active color if it is blue/green and names none."""
    return parsing.parse(json.dumps(text), active=active)


def blue_green(name: str = "transcription", kind: str = "asg", active: Color = Color.BLUE) -> Workload:
    """A blue/green workload whose fleets have 0 to 5 instances."""
    return parsed(blue_green_document(name, kind), active)


def workload(
    name: str = "transcription",
    *,
    min_instances: int = 0,
    max_instances: int = 5,
    bootstrap: int | str = 1,
    **changes: Any,
) -> Workload:
    """A workload as parsed from its document; `changes` are fields of `Workload`."""
    capacity = {"min": min_instances, "max": max_instances, "bootstrap": bootstrap}
    return replace(parsed(document(name, capacity=capacity)), **changes)


def ecs_workload(name: str = "queue-proc", **changes: Any) -> Workload:
    return replace(parsed(ecs_document(name)), **changes)


def schedule_in_force(minimum: int = 3, maximum: int = 20) -> InForce:
    """Office hours at noon: until 18:00, when the night begins."""
    lines = (
        f"office-hours,MON-FRI,8:00,Europe/Berlin,{minimum},{maximum}",
        "night,SUN-SAT,18:00,Europe/Berlin,0,5",
    )
    found = in_force([schedule_lines.parsed(line) for line in lines], NOW)
    assert found is not None
    return found


def dynamic_target(**changes: Any) -> DynamicTarget:
    settings = dynamic_section(**changes)
    return DynamicTarget(**{key: value for key, value in settings.items() if key != "type"})


def dynamic_workload(name: str = "transcription", **changes: Any) -> Workload:
    """A workload with a dynamic target; `changes` are settings of the target."""
    return replace(workload(name), target=dynamic_target(**changes))


def effective(served: Workload, **changes: Any) -> Workload:
    """The workload with a policy that counts arrivals; `changes` are settings of its tracking."""
    return replace(served, tracking=Tracking(**({"metric": TrackedMetric.EFFECTIVE} | changes)))


def deadline(**changes: Any) -> Deadline:
    """A promise of 300 s over a boot of 180 s, planned without a margin."""
    return Deadline(**({"promise_s": 300, "boot_s": 180, "margin_s": 0} | changes))


def deadline_workload(
    *, min_instances: int = 0, max_instances: int = 1000, settings: Deadline | None = None, **changes: Any
) -> Workload:
    """A workload that the deadline engine scales; `changes` are fields of `Workload`.

    Its messages take a second until they are measured.
    """
    return workload(
        min_instances=min_instances,
        max_instances=max_instances,
        bootstrap=max(1, min_instances),
        deadline=settings or deadline(),
        **({"tracking": Tracking(processing_s=1)} | changes),
    )


def engine_state(
    read_s: float = 0, *, visible: int = 0, in_flight: int = 0, delayed: int = 0, **changes: Any
) -> EngineState:
    """What a tick at `read_s` remembers of a queue with these messages; `changes` are fields of the state."""
    facts = {
        "tick_s": read_s,
        "read_s": read_s,
        "backlog": backlog(visible, in_flight, delayed),
        "desired": 0,
    }
    return EngineState(**(facts | changes))


def guard_settings(**changes: Any) -> GuardSettings:
    """A guard on a share of failed messages above 50 %, for an hour."""
    return GuardSettings(**({"failed_percent": 50} | changes))


def guard(**changes: Any) -> Guard:
    """A hold of an hour that began now, of a fleet that is a group, as read from its stored form."""
    facts = {
        "at": NOW,
        "until": NOW + timedelta(hours=1),
        "why": "60 % of 100 messages failed",
        "seen_at": NOW,
        "before": {"AlarmNotificationSuspended": False, "Enabled": True, "DisableScaleIn": False},
    }
    engaged = Guard(**(facts | changes))
    return as_stored(engaged)


def demand(
    arrivals_per_s: float = 0,
    processing_s: float = 1,
    concurrency: float = 1,
    *,
    target: float = 8,
    not_renewed: tuple[str, ...] = (),
) -> Demand:
    load = OfferedLoad(
        arrivals_per_s=arrivals_per_s, processing_s=processing_s, concurrency_per_instance=concurrency
    )
    return Demand(load=load, target_per_instance=target, not_renewed=not_renewed)


def backlog(visible: int = 0, in_flight: int = 0, delayed: int = 0) -> Backlog:
    return Backlog(visible=visible, in_flight=in_flight, delayed=delayed)


def capacity(desired: int = 0, running: int | None = None, **changes: Any) -> Capacity:
    """A fleet with bounds 0..5, all of whose desired instances run by default."""
    running = desired if running is None else running
    return Capacity(**({"desired": desired, "running": running, "bounds": Bounds(min=0, max=5)} | changes))


def observation(
    visible: int = 0,
    in_flight: int = 0,
    delayed: int = 0,
    desired: int = 0,
    *,
    queue: Unknown | None = None,
    fleet: Capacity | Unknown | None = None,
) -> Observation:
    return Observation(
        backlog=queue or backlog(visible, in_flight, delayed), capacity=fleet or capacity(desired)
    )


def zeros(now: datetime = NOW, idle_minutes: int = 5) -> dict[datetime, float]:
    """The published half of a proof of emptiness, as a tick at `now` reads it."""
    [last] = tick_proof_end_minutes(minute_of(now))
    return dict.fromkeys(minutes_to_prove(last, idle_minutes), 0.0)


def durations(seconds: float = 60, samples: float = 100, window_s: int = 3600) -> Durations:
    return Durations(seconds=seconds, samples=samples, window_s=window_s)


def alarm(
    kind: str = "bootstrap", name: str = "transcription", state: str = "ALARM", **changes: Any
) -> Alarm:
    facts = {"arn": alarm_arn(name, kind), "name": f"sluice-{name}-{kind}", "state": state, "workload": name}
    return Alarm(**(facts | changes))


def metric(name: str = "BacklogPerInstance", **dimensions: str) -> Metric:
    return Metric(namespace="Sluice", name=name, dimensions=dimensions or GROUP.dimensions)


def minutes_ago(count: int, now: datetime = NOW) -> datetime:
    return now.replace(second=0, microsecond=0) - MINUTE * count


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def plenty() -> float:
    """Seconds left for reading, for tests that are not about time."""
    return 60
