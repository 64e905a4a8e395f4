"""The fallback of the deadline engine's groups: the stack's target-tracking policy, which AWS runs.

The policy is the deployed one, its rules are those of AWS. What must hold for it is written independently: it
lowers no fleet, and acts only while CloudWatch returns none of the workload's own points of three minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

from sluice.core.minutes import MINUTE
from sluice.core.model import AutoScalingGroup, Mode, Workload
from sluice_sim.aws_rules.alarms import Alarm, State
from sluice_sim.aws_rules.ec2_target_tracking import TargetTracking, scale_in, scale_out
from sluice_sim.aws_rules.target_tracking_alarms import LOW_PERIODS
from tests.chaos.cloud import Cloud
from tests.templates.stacks import workload

SILENT_FOR = 3 * MINUTE
READ_BACK = (LOW_PERIODS + 2) * MINUTE
RAISED = "a fleet raised by the fallback"
Series = Mapping[str, dict[int, float]]


@cache
def deployed(promise_s: int) -> TargetTracking:
    """The policy of a stack with this promise."""
    stack = workload(
        "asg", Scaling="deadline", AcceptableLatencySeconds=str(promise_s), ProcessingSeconds="30"
    )
    return TargetTracking.from_properties("fallback", stack.resources["AsgTargetTracking"].properties)


@cache
def alarms(promise_s: int, size: int) -> tuple[Alarm, Alarm | None]:
    """AlarmHigh, and AlarmLow of a group of this size."""
    policy = deployed(promise_s)
    return policy.high_alarm(), policy.low_alarm(size)


@dataclass
class Fallback:
    """The policies of all workloads, and AWS's own metrics that they read."""

    cloud: Cloud
    native: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    """Workload -> metric -> minute (epoch seconds) -> value."""
    states: dict[tuple[str, str], State] = field(default_factory=dict)

    def evaluate(self, minute: datetime) -> Iterator[tuple[str, str | None]]:
        """Run the policies as this minute begins: (what was reached, the violation if it is one)."""
        for served in self.cloud.workloads:
            document = self.cloud.document(served)
            if served.deadline is None or not isinstance(served.fleet, AutoScalingGroup):
                continue
            self._measure(served, minute - MINUTE)
            if document.deadline and document.mode is Mode.ACTIVE:
                yield from self._act(served, document.deadline.promise_s, minute)
            else:
                self.states.pop((served.name, "high"), None)
                self.states.pop((served.name, "low"), None)

    def _measure(self, served: Workload, minute: datetime) -> None:
        at_s, capacity = int(minute.timestamp()), self.cloud.capacity(served)
        native = self.native.setdefault(served.name, {"visible": {}, "sent": {}, "in_service": {}})
        native["visible"][at_s] = self.cloud.backlog(served).visible
        native["sent"][at_s] = 0.0  # the backlog alone asks for enough
        native["in_service"][at_s] = capacity.running
        for values in native.values():
            for old in [each for each in values if each < at_s - READ_BACK.total_seconds()]:
                del values[old]

    def _own(self, served: Workload, start: datetime, end: datetime) -> dict[int, float]:
        own = self.cloud.account.backlog_metric(served)
        points = self.cloud.account.metrics.readable(own, start, end)
        return {int(at.timestamp()): value for at, value in points}

    def _act(self, served: Workload, promise_s: int, minute: datetime) -> Iterator[tuple[str, str | None]]:
        capacity, policy = self.cloud.capacity(served), deployed(promise_s)
        own = self._own(served, minute - READ_BACK, minute)
        series = {**self.native[served.name], "own": own}
        high, low = alarms(promise_s, capacity.desired)
        above = self._breaches(served.name, "high", high, series, minute)
        below = low and self._breaches(served.name, "low", low, series, minute)
        if capacity.bounds is None or not capacity.desired:
            return
        wanted = capacity.desired
        if above is not None and not capacity.scale_out_blocked_by:
            wanted = scale_out(
                desired=wanted,
                warmed=capacity.running,
                metric=above,
                target=policy.target,
                maximum=capacity.bounds.max,
            )
        elif below is not None and not capacity.scale_in_blocked_by:
            wanted = scale_in(
                desired=wanted,
                warming=max(wanted - capacity.running, 0),
                metric=below,
                target=policy.target,
                minimum=capacity.bounds.min,
            )
        if wanted == capacity.desired:
            return
        self.cloud.change(served, desired=wanted)
        what = f"the fallback set {served.name} from {capacity.desired} to {wanted}"
        fresh = self._own(served, minute - SILENT_FOR, minute)
        yield RAISED, f"{what} beside {fresh}" if fresh or wanted < capacity.desired else None

    def _breaches(self, name: str, kind: str, alarm: Alarm, series: Series, minute: datetime) -> float | None:
        """The newest value if the alarm is in ALARM."""
        found = alarm.datapoints(series, int(minute.timestamp()))
        state = alarm.next_state(found, self.states.get((name, kind), State.INSUFFICIENT_DATA))
        self.states[name, kind] = state
        values = [value for value in found if value is not None]
        return values[-1] if state is State.ALARM and values else None
