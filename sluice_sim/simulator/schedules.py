"""Plays the scheduled actions of the workload's stack: each sets the fleet's own minimum and maximum.

They run as in the embedded AWS, generally within seconds of their time and at most two minutes late. A run
begins with what the schedule that started last before it set, however late that was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sluice.core.model import Bounds
from sluice.core.schedules import LONGEST
from sluice_sim.account import resource_name
from sluice_sim.aws_rules.action_runs import ActionRuns, Key
from sluice_sim.aws_rules.cron import Cron
from sluice_sim.simulator.context import BoundsSet, ScalingContext
from sluice_sim.template.deployment import Deployed

GROUP_ACTION = "AWS::AutoScaling::ScheduledAction"
TARGET = "AWS::ApplicationAutoScaling::ScalableTarget"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledBounds:
    """A recurring scheduled action of a group or a scalable target."""

    key: Key
    """With the names of the embedded AWS: with the same seed, both draw the same lateness."""
    cron: Cron
    zone: ZoneInfo
    bounds: Bounds

    def next_after(self, moment: datetime) -> datetime | None:
        """When it is due after this moment, in UTC."""
        return self.cron.next_after(moment, self.zone)


def play(context: ScalingContext) -> None:
    """Begin a run with the bounds in force, and set those of each schedule when it starts."""
    actions = list(scheduled_bounds(context.deployed))
    now = datetime.fromtimestamp(context.clock.now, UTC)
    if (current := in_force(actions, now)) is not None:
        context.fleet.bounds = current.bounds
        context.scheduled.append(BoundsSet(at_s=0.0, bounds=current.bounds))
    runs = ActionRuns(context.clock, seed=context.seed)
    for action in actions:
        runs.start(action.key, action.next_after, partial(context.set_bounds, action.bounds))


def scheduled_bounds(deployed: Deployed) -> Iterator[ScheduledBounds]:
    """The scheduled actions of the workload's stack."""
    stack_name = f"sluice-{deployed.workload.name}"
    for logical_id, resource in deployed.stack.resources.items():
        properties = resource.properties
        if resource.type == GROUP_ACTION:
            yield ScheduledBounds(
                key=Key(properties["AutoScalingGroupName"], resource_name(stack_name, logical_id)),
                cron=Cron.five_fields(properties["Recurrence"]),
                zone=ZoneInfo(properties["TimeZone"]),
                bounds=_bounds(properties, "MinSize", "MaxSize"),
            )
        elif resource.type == TARGET:
            for action in properties.get("ScheduledActions", []):
                yield ScheduledBounds(
                    key=Key(properties["ResourceId"], action["ScheduledActionName"]),
                    cron=Cron.six_fields(action["Schedule"].removeprefix("cron(").removesuffix(")")),
                    zone=ZoneInfo(action["Timezone"]),
                    bounds=_bounds(action["ScalableTargetAction"], "MinCapacity", "MaxCapacity"),
                )


def in_force(actions: Sequence[ScheduledBounds], now: datetime) -> ScheduledBounds | None:
    """The action that was due last, at `now` at the latest; None if there are none."""
    due = [(last, place) for place, each in enumerate(actions) if (last := _last_due(each, now)) is not None]
    return actions[max(due)[1]] if due else None


def _last_due(action: ScheduledBounds, now: datetime) -> datetime | None:
    last, upcoming = None, action.next_after(now - LONGEST)
    while upcoming is not None and upcoming <= now:
        last, upcoming = upcoming, action.next_after(upcoming)
    return last


def _bounds(properties: Mapping[str, Any], low: str, high: str) -> Bounds:
    return Bounds(min=int(properties[low]), max=int(properties[high]))
