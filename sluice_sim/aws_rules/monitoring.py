"""CloudWatch over time: samples native metrics with their delay, and evaluates alarms every minute.

Alarms and policies come from the deployed templates. Metric values are read back from where they were
published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from sluice_sim.aws_rules.alarm_states import AlarmChange, AlarmStatus
from sluice_sim.aws_rules.alarms import (
    Alarm,
    MetricQuery,
    State,
)
from sluice_sim.aws_rules.metric_math import (
    ASSUMED,
    Expression,
    MissingOperand,
    Series,
)
from sluice_sim.aws_rules.policy_runner import (
    PolicyRunner,
    ScalingActivity,
)
from sluice_sim.clock import VirtualClock

EVALUATION_OFFSET_S = 30
"""Second of the minute at which alarms are evaluated; AWS documents only that it is once a minute."""
NATIVE_METRIC_DELAY_S = 60
"""Seconds from the end of a minute until a metric of SQS, Auto Scaling or ECS is readable (assumption)."""
CUSTOM_METRIC_DELAY_S = 30
"""Seconds from PutMetricData until GetMetricData and alarms can read a value (assumption).

AWS documents up to two minutes for a metric that is new, and nothing for its later points.
"""
POISON_PILL_RECEIVES = 3
"""A message of a standard queue received this often no longer counts as the oldest (documented)."""
MINUTE_S = 60
LOOK_BACK_S = 20 * MINUTE_S
"""Longer than it takes until a value becomes readable."""
MAX_VALUES = 3000
"""Values kept of an alarm before the older half is dropped: no evaluation range exceeds a day of minutes."""

Values = Sequence[tuple[MetricQuery, float]]


class MetricData(Protocol):
    """Stores metric values; times are epoch seconds."""

    def put(self, minute: float, values: Values) -> None:
        """Store one value per metric for the minute that begins at `minute`."""
        ...

    def earliest_change(self) -> float:
        """The earliest period of which a value may have been stored since the previous call."""
        ...

    def read(self, queries: set[MetricQuery], start: float, end: float) -> Mapping[MetricQuery, Series]:
        """Each metric's values in start <= period < end, keyed by period start."""
        ...


OnAction = Callable[[str, AlarmChange], str | None]
"""Called with the ARN of each action of an alarm that changed its state; returns why it failed, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmAction:
    """One action that a state change started; `failure` is None if it was executed."""

    arn: str
    change: AlarmChange
    failure: str | None


@dataclass(slots=True)
class _EvaluatedMetric:
    """What alarms compare with their thresholds; both alarms of a policy share one."""

    alarm: Alarm
    """The first alarm on it."""
    values: dict[int, float | None] = field(default_factory=dict)
    """By the start of the period, None for a missing value."""

    def evaluate(
        self, series: Mapping[MetricQuery, Series], first: float, end: float, missing: MissingOperand
    ) -> None:
        """Compute the values of the periods in first <= period < end."""
        alarm = self.alarm
        by_id = {query.id: series.get(query, {}) for query in alarm.metric_queries()}
        self.values.update(alarm.values(by_id, alarm.periods(first, end), missing))
        if len(self.values) > MAX_VALUES:
            begin = end - MAX_VALUES // 2 * alarm.period_s
            self.values = {at: value for at, value in self.values.items() if at >= begin}


class Monitoring:
    """All alarms and target-tracking policies of the account."""

    def __init__(
        self,
        clock: VirtualClock,
        data: MetricData,
        *,
        on_action: OnAction,
        on_scaled: Callable[[ScalingActivity], None],
    ) -> None:
        self._clock, self._data = clock, data
        self._on_action, self._on_scaled = on_action, on_scaled
        self.missing = ASSUMED
        """How metric math treats missing operands."""
        self.history: list[AlarmChange | AlarmAction] = []
        """What every alarm did, deleted ones included; oldest first."""
        self._alarms: dict[str, AlarmStatus] = {}
        self._metrics: dict[tuple[tuple[MetricQuery, ...], Expression], _EvaluatedMetric] = {}
        self._metric_of: dict[str, _EvaluatedMetric] = {}
        """By alarm name."""
        self._evaluated_until = 0.0
        """Earlier periods are in `_metrics`, except for what was stored since."""
        self._runners: dict[str, PolicyRunner] = {}
        self._sources: list[Callable[[], Iterable[tuple[MetricQuery, float]]]] = []
        first = (clock.now // MINUTE_S + 1) * MINUTE_S
        clock.every(MINUTE_S, self._sample, first=first)
        clock.every(MINUTE_S, self._evaluate, first=first + EVALUATION_OFFSET_S)

    def add_alarm(self, alarm: Alarm) -> None:
        """Create an alarm, in INSUFFICIENT_DATA."""
        self._alarms[alarm.name] = AlarmStatus(
            alarm=alarm, created_at=self._clock.now, actions_enabled=alarm.actions_enabled
        )
        self._forget_values()

    def delete_alarm(self, alarm_name: str) -> None:
        """Delete an alarm, one of a policy too."""
        if self._alarms.pop(alarm_name, None) is None:
            for runner in self._runners.values():
                runner.delete_alarm(alarm_name)

    def alarms(self) -> list[AlarmStatus]:
        """Every alarm with its state, those of the policies included, by name."""
        self._refresh_policies()
        return sorted(self._statuses(), key=lambda status: status.alarm.name)

    def policy_alarms(self, fleet: str, policy_arn: str) -> list[AlarmStatus]:
        """The alarms of a fleet's policy; none if another policy, or none, runs there."""
        runner = self._runners.get(fleet)
        return runner.alarms() if runner and runner.policy_arn == policy_arn else []

    def add_policy(self, runner: PolicyRunner) -> None:
        """Run a target-tracking policy; it replaces the fleet's previous one."""
        runner.put_alarms(self._clock.now)
        self._runners[runner.fleet_name] = runner
        self._forget_values()

    def target(self, fleet: str) -> float | None:
        """The current target of the fleet's policy; None without a policy."""
        runner = self._runners.get(fleet)
        return runner.target if runner else None

    def add_source(self, read: Callable[[], Iterable[tuple[MetricQuery, float]]]) -> None:
        """Add a source of native metrics, sampled at the end of every minute."""
        self._sources.append(read)

    def _forget_values(self) -> None:
        """Read everything again: a new alarm may have the name of an earlier one."""
        # New ones, as an action of the alarms that are evaluated now may be what adds an alarm.
        self._metrics, self._metric_of = {}, {}
        self._evaluated_until = 0.0

    def _sample(self) -> None:
        minute = self._clock.now - MINUTE_S
        for read in self._sources:
            arrive = partial(self._data.put, minute, list(read()))
            self._clock.at(self._clock.now + NATIVE_METRIC_DELAY_S, arrive)

    def _refresh_policies(self) -> None:
        """Take over new targets; AWS deletes a policy's alarms together with the policy."""
        now = self._clock.now
        self._runners = {
            fleet: runner for fleet, runner in self._runners.items() if runner.refresh_target(now)
        }

    def _statuses(self) -> list[AlarmStatus]:
        return [
            *self._alarms.values(),
            *(status for runner in self._runners.values() for status in runner.alarms()),
        ]

    def _evaluate(self) -> None:
        self._refresh_policies()
        alarms = [status.alarm for status in self._statuses()]
        self._add_metrics(alarms)
        end = self._clock.now // MINUTE_S * MINUTE_S
        first = max(end - LOOK_BACK_S, min(self._evaluated_until, self._data.earliest_change()))
        self._evaluated_until = end
        metrics, metric_of = self._metrics.values(), self._metric_of
        # The value of a period changes until the period ends.
        first -= first % max((metric.alarm.period_s for metric in metrics), default=MINUTE_S)
        queries = {query for metric in metrics for query in metric.alarm.metric_queries()}
        series = self._data.read(queries, first, end)
        for metric in metrics:
            metric.evaluate(series, first, end, self.missing)

        def points(alarm: Alarm) -> list[float | None]:
            values = metric_of[alarm.name].values
            return [values.get(at) for at in alarm.evaluation_range(self._clock.now)]

        for status in list(self._alarms.values()):
            if change := status.evaluate(points(status.alarm), self._clock.now):
                self._record(status, change, self._on_action)
        for runner in self._runners.values():
            scaled = runner.run(self._clock.now, points)
            for status in runner.alarms():
                if (change := status.change) and change.at == self._clock.now:
                    self._record(status, change, lambda _, __: None)  # the runner itself has acted
            if scaled:
                self._on_scaled(scaled)

    def _add_metrics(self, alarms: Iterable[Alarm]) -> None:
        for alarm in alarms:
            if alarm.name not in self._metric_of:
                key = alarm.metric_queries(), alarm.expression
                self._metric_of[alarm.name] = self._metrics.setdefault(key, _EvaluatedMetric(alarm))

    def _record(self, status: AlarmStatus, change: AlarmChange, act: OnAction) -> None:
        """Note the change, and start the actions of its state."""
        self.history.append(change)
        if not status.actions_enabled:
            return
        actions = {
            State.ALARM: change.alarm.alarm_actions,
            State.OK: change.alarm.ok_actions,
            State.INSUFFICIENT_DATA: change.alarm.insufficient_data_actions,
        }[change.state]
        for action in actions:
            self.history.append(AlarmAction(arn=action, change=change, failure=act(action, change)))
