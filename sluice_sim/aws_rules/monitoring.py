"""CloudWatch's moving parts: native metrics with their delay, alarms evaluated every minute.

Owns who is evaluated when. The alarms and policies are those of the deployed templates; values are read back
from where they were published, whoever did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from sluice_sim.aws_rules.alarms import (
    Alarm,
    MetricQuery,
    State,
)
from sluice_sim.aws_rules.metric_math import (
    ASSUMED,
    Series,
)
from sluice_sim.aws_rules.policy_runner import (
    Scaled,
    Tracker,
)
from sluice_sim.clock import VirtualClock

EVALUATED_AT_S = 30
"""Seconds into the minute at which alarms are evaluated; AWS promises only once a minute."""
NATIVE_METRIC_DELAY_S = 60
"""How long after its minute an AWS metric of SQS, Auto Scaling or ECS can be read (assumption)."""
READABLE_AFTER_S = 30
"""How long after PutMetricData a value can be read by GetMetricData and alarms (assumption).

AWS documents up to two minutes for a metric that is new, and nothing for its later points.
"""
PASSED_OVER_RECEIVES = 3
"""A message of a standard queue received this often no longer counts as its oldest (documented)."""
MINUTE_S = 60
LOOK_BACK_S = 20 * MINUTE_S
"""More than any alarm here evaluates: target tracking's AlarmLow looks back 17 minutes."""

Values = Sequence[tuple[MetricQuery, float]]


class MetricData(Protocol):
    """Where metric values are kept; times are epoch seconds."""

    def put(self, minute: float, values: Values) -> None:
        """One value of each metric, for the minute that begins then."""
        ...

    def read(self, queries: set[MetricQuery], start: float, end: float) -> Mapping[MetricQuery, Series]:
        """Each metric's values in start <= period < end, by period start."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmChange:
    """One alarm's new state."""

    alarm: Alarm
    state: State
    previous: State
    reason: str
    at: float


OnAction = Callable[[str, AlarmChange], None]
"""Told each action of an alarm that changed, with the action's ARN."""


@dataclass(slots=True, kw_only=True)
class _Watched:
    alarm: Alarm
    state: State = State.INSUFFICIENT_DATA


class Monitoring:
    """Every alarm and target-tracking policy of the account."""

    def __init__(
        self,
        clock: VirtualClock,
        data: MetricData,
        *,
        on_action: OnAction,
        on_scaled: Callable[[Scaled], None],
    ) -> None:
        self._clock, self._data = clock, data
        self._on_action, self._on_scaled = on_action, on_scaled
        self.missing = ASSUMED
        """What a missing operand of metric math stands for."""
        self._watched: dict[str, _Watched] = {}
        self._trackers: dict[str, Tracker] = {}
        self._sampled: list[Callable[[], Iterable[tuple[MetricQuery, float]]]] = []
        first = (clock.now // MINUTE_S + 1) * MINUTE_S
        clock.every(MINUTE_S, self._sample, first=first)
        clock.every(MINUTE_S, self._evaluate, first=first + EVALUATED_AT_S)

    def watch(self, alarm: Alarm) -> None:
        """An alarm, which starts in INSUFFICIENT_DATA."""
        self._watched[alarm.name] = _Watched(alarm=alarm)

    def forget(self, alarm_name: str) -> None:
        """Delete an alarm."""
        del self._watched[alarm_name]

    def track(self, tracker: Tracker) -> None:
        """A target-tracking policy; a fleet has one."""
        self._trackers[tracker.fleet_name] = tracker

    def target(self, fleet: str) -> float | None:
        """The target the fleet's policy holds now, None without a policy."""
        tracker = self._trackers.get(fleet)
        return tracker.target if tracker else None

    def sample(self, read: Callable[[], Iterable[tuple[MetricQuery, float]]]) -> None:
        """A source of native metrics, read at the end of every minute."""
        self._sampled.append(read)

    def _sample(self) -> None:
        minute = self._clock.now - MINUTE_S
        for read in self._sampled:
            arrive = partial(self._data.put, minute, list(read()))
            self._clock.at(self._clock.now + NATIVE_METRIC_DELAY_S, arrive)

    def _evaluate(self) -> None:
        # A policy's own alarms are deleted with it.
        self._trackers = {
            fleet: tracker for fleet, tracker in self._trackers.items() if tracker.follow_policy()
        }
        alarms = [watched.alarm for watched in self._watched.values()]
        alarms += [alarm for tracker in self._trackers.values() for alarm in tracker.alarms()]
        end = self._clock.now // MINUTE_S * MINUTE_S
        queries = {query for alarm in alarms for query in alarm.metric_queries()}
        series = self._data.read(queries, end - LOOK_BACK_S, end)

        def points(alarm: Alarm) -> list[float | None]:
            by_id = {query.id: series.get(query, {}) for query in alarm.metric_queries()}
            return alarm.datapoints(by_id, self._clock.now, self.missing)

        for watched in list(self._watched.values()):
            self._judge(watched, points(watched.alarm))
        for tracker in self._trackers.values():
            if scaled := tracker.steer(self._clock.now, points):
                self._on_scaled(scaled)

    def _judge(self, watched: _Watched, points: list[float | None]) -> None:
        alarm, before = watched.alarm, watched.state
        watched.state = alarm.next_state(points, before)
        if watched.state is before or not alarm.actions_enabled:
            return
        actions = {
            State.ALARM: alarm.alarm_actions,
            State.OK: alarm.ok_actions,
            State.INSUFFICIENT_DATA: alarm.insufficient_data_actions,
        }[watched.state]
        change = AlarmChange(
            alarm=alarm,
            state=watched.state,
            previous=before,
            reason=alarm.reason_text(points, watched.state),
            at=self._clock.now,
        )
        for action in actions:
            self._on_action(action, change)
