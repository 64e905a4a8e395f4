"""The settings that a recommendation may change: for each present setting, other values to try.

A setting is a parameter of `workload.yaml`, or WarmPool, the size of the group's warm pool. The promise stays
what it is: a dynamic target's AcceptableLatencySeconds is tried as a target, and judged by the present one.
Schedules are proposed where the arrivals are weekly (`weekly`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sluice.core.model import AutoScalingGroup, Bounds, StaticTarget
from sluice.document.schedule_lines import parsed, written
from sluice_sim.simulator.queue_kernel import Floats
from sluice_sim.study.experiment import Experiment
from sluice_sim.study.weekly import Floor
from sluice_sim.template.deployment import parameter_text
from sluice_sim.workloads.limits import MAX_INSTANCES

Changes = Mapping[str, str]
"""Setting -> its other value."""

WARM_POOL = "WarmPool"
SCHEDULES = tuple(f"Schedule{place}" for place in range(1, 6))
SCHEDULES_AXIS = "schedules"
TARGET_FACTORS = (0.5, 0.7, 0.85, 1.2, 1.5, 2.0)
IDLE_MINUTES = (1, 2, 5, 10, 20)
TICKS_S = (5, 10, 20, 30, 60)
PEAK_FACTORS = (0.6, 0.8, 0.9)
"""Of the most instances that ran, as a maximum."""
RAISED_FACTORS = (1.5, 2.0)
"""Of a maximum that was reached."""
USED_PERCENTILES = (10, 25, 50)
"""Of the instances that ran in each minute, as a minimum."""
WARM_POOLS = (1, 2, 4)
DEADLINE_TICKS_S = (10, 30)
"""Ticks with which the deadline engine is tried where target tracking scales now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One setting and its other values, each as the changes that it takes."""

    name: str
    options: tuple[Changes, ...]


def is_deadline(experiment: Experiment) -> bool:
    """Whether the deadline engine scales the workload."""
    return experiment.deployed().workload.deadline is not None


def applied(present: Experiment, changes: Changes) -> Experiment:
    """The present experiment with these changes."""
    changes = fitted(present, changes)
    parameters = {**present.parameters, **{name: text for name, text in changes.items() if name != WARM_POOL}}
    warm_pool = int(changes.get(WARM_POOL, present.warm_pool))
    changed = replace(present, parameters=parameters, warm_pool=warm_pool, tick_s=None, policy="sluice")
    deadline = changed.deployed().workload.deadline
    if deadline is not None:
        changed = replace(changed, policy="deadline", tick_s=float(deadline.tick_s))
    return changed


def fitted(present: Experiment, changes: Changes) -> dict[str, str]:
    """The changes, and every schedule with its bounds within those of the changed workload."""
    before = present.deployed().workload.bounds
    low, high = (
        int(changes.get(f"{name}Capacity", getattr(before, name.lower()))) for name in ("Min", "Max")
    )
    found = dict(changes)
    for name in SCHEDULES:
        if line := changes.get(name, present.parameters.get(name, "")):
            schedule = parsed(line)
            bounds = Bounds(
                min=min(max(schedule.bounds.min, low), high), max=min(max(schedule.bounds.max, low), high)
            )
            if bounds != schedule.bounds:
                found[name] = written(replace(schedule, bounds=bounds))
    return found


def present_value(present: Experiment, name: str) -> str:
    """The value of a setting now, by the workload's parameters or the template's defaults."""
    if name == WARM_POOL:
        return str(present.warm_pool)
    return present.parameters.get(name) or present.deployed().defaults.get(name, "")


def axes(
    present: Experiment,
    *,
    promise_s: float,
    processing_s: float,
    running: Floats,
    floors: Sequence[Floor] = (),
) -> list[Axis]:
    """Every setting with the values to try instead of the present one; `floors` are what history suggests.

    `running` are the instances that run with the present settings, minute by minute: other bounds are between
    those. A higher maximum makes no difference to a fleet that does not reach the present one.
    """
    bounds, scaled_by_deadline = present.deployed().workload.bounds, is_deadline(present)
    engine = (
        [_tracking(present, promise_s, processing_s)]
        if scaled_by_deadline
        else [_deadline(present, promise_s, processing_s, tick_s) for tick_s in DEADLINE_TICKS_S]
    )
    found = [
        Axis(name="engine", options=tuple(engine)),
        _numbers("MinCapacity", _minimums(bounds, running)),
        _numbers("MaxCapacity", _maximums(bounds, running)),
    ]
    if scaled_by_deadline:
        found.append(_numbers("TickSeconds", _others(present, "TickSeconds", TICKS_S)))
    else:
        found.append(Axis(name="target", options=tuple(_targets(present))))
        found.append(_numbers("IdleMinutes", _others(present, "IdleMinutes", IDLE_MINUTES)))
    if isinstance(present.deployed().workload.fleet, AutoScalingGroup):
        found.append(_numbers(WARM_POOL, [size for size in WARM_POOLS if size != present.warm_pool]))
    found.append(Axis(name=SCHEDULES_AXIS, options=tuple(_schedules(present, floors))))
    return [axis for axis in found if axis.options]


def merged(*changes: Changes) -> dict[str, str]:
    """All changes; without those of target tracking where the deadline engine replaces it."""
    together = {name: text for one in changes for name, text in one.items()}
    if together.get("Scaling") == "deadline":
        for name in ("MessagesPerInstance", "IdleMinutes"):
            together.pop(name, None)
        together["AcceptableLatencySeconds"] = next(
            one["AcceptableLatencySeconds"] for one in changes if one.get("Scaling") == "deadline"
        )
    return together


def _numbers(name: str, values: list[int]) -> Axis:
    return Axis(name=name, options=tuple({name: str(value)} for value in values))


def _minimums(bounds: Bounds, running: Floats) -> list[int]:
    used = np.percentile(running, USED_PERCENTILES) if running.size else np.zeros(0)
    found = {0, 1, bounds.min // 2, *(round(each) for each in used.tolist())} - {bounds.min}
    return sorted(each for each in found if each <= bounds.max)


def _maximums(bounds: Bounds, running: Floats) -> list[int]:
    peak = int(running.max(initial=0))
    found = {math.ceil(peak * factor) for factor in PEAK_FACTORS}
    if peak >= bounds.max:
        found |= {math.ceil(bounds.max * factor) for factor in RAISED_FACTORS}
    return sorted(each for each in found - {bounds.max} if max(bounds.min, 1) <= each <= MAX_INSTANCES)


def _others(present: Experiment, name: str, values: tuple[int, ...]) -> list[int]:
    return [value for value in values if str(value) != present_value(present, name)]


def _targets(present: Experiment) -> Iterator[Changes]:
    target = present.deployed().workload.target
    for factor in TARGET_FACTORS:
        if isinstance(target, StaticTarget):
            yield {"MessagesPerInstance": _rounded(target.messages_per_instance * factor)}
        else:
            yield {"AcceptableLatencySeconds": _rounded(target.acceptable_latency_s * factor)}


def _schedules(present: Experiment, floors: Sequence[Floor]) -> Iterator[Changes]:
    """None in place of the present ones, and each floor in their place.

    Nothing for a service whose scalable target another stack registers: the template refuses schedules then.
    """
    if present.parameters.get("CreateScalableTarget") == "false":
        return
    none = {name: "" for name in SCHEDULES if present_value(present, name)}
    if none:
        yield none
    for floor in floors:
        yield none | dict(zip(SCHEDULES, map(written, (floor.busy, floor.quiet)), strict=False))


def _deadline(present: Experiment, promise_s: float, processing_s: float, tick_s: int) -> Changes:
    return {
        "Scaling": "deadline",
        "AcceptableLatencySeconds": _rounded(promise_s),
        "ProcessingSeconds": _rounded(processing_s),
        "BootSeconds": str(max(1, round(present.boot.mean_s))),
        "TickSeconds": str(tick_s),
    }


def _tracking(present: Experiment, promise_s: float, processing_s: float) -> Changes:
    per_instance = promise_s * present.slots_per_instance / processing_s
    return {
        "Scaling": "target_tracking",
        "TargetType": "static",
        "MessagesPerInstance": _rounded(per_instance),
    }


def _rounded(value: float) -> str:
    """Three significant digits."""
    digits = max(0, 2 - math.floor(math.log10(value)))
    return parameter_text(round(value, min(digits, 6)))
