"""CloudWatch's moving parts: native metrics with their delay, alarms evaluated every minute.

Owns what moto stores but never does. The alarms and policies are those of the deployed templates; values are
read back through GetMetricData, whoever published them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sluice_sim.alarms import Alarm, MetricQuery, State
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.account import ACCOUNT_ID, REGION, arn
from sluice_sim.embedded.scaling import Scaled, Tracker
from sluice_sim.metric_math import Series

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

EVALUATED_AT_S = 30
"""Seconds into the minute at which alarms are evaluated; AWS promises only once a minute."""
NATIVE_METRIC_DELAY_S = 60
"""How long after its minute an AWS metric of SQS, Auto Scaling or ECS can be read (assumption)."""
MINUTE_S = 60
LOOK_BACK = timedelta(minutes=20)
"""More than any alarm here evaluates: target tracking's AlarmLow looks back 17 minutes."""

AlarmAction = Callable[[str, str, dict[str, Any]], None]


@dataclass(slots=True, kw_only=True)
class _Watched:
    alarm: Alarm
    state: State = State.INSUFFICIENT_DATA


class Monitoring:
    """Every alarm and target-tracking policy of the account."""

    def __init__(
        self,
        clock: VirtualClock,
        cloudwatch: CloudWatchClient,
        *,
        on_action: AlarmAction,
        on_scaled: Callable[[Scaled], None],
    ) -> None:
        self._clock, self._cloudwatch = clock, cloudwatch
        self._on_action, self._on_scaled = on_action, on_scaled
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
        self._trackers[tracker.fleet] = tracker

    def target(self, fleet: str) -> float | None:
        """The target the fleet's policy holds now, None without a policy."""
        tracker = self._trackers.get(fleet)
        return tracker.target if tracker else None

    def sample(self, read: Callable[[], Iterable[tuple[MetricQuery, float]]]) -> None:
        """A source of native metrics, read at the end of every minute."""
        self._sampled.append(read)

    def _sample(self) -> None:
        minute = datetime.fromtimestamp(self._clock.now - MINUTE_S, UTC)
        for read in self._sampled:
            values = list(read())
            self._clock.at(self._clock.now + NATIVE_METRIC_DELAY_S, partial(self._arrive, minute, values))

    def _arrive(self, minute: datetime, values: list[tuple[MetricQuery, float]]) -> None:
        for namespace in {metric.namespace for metric, _ in values}:
            self._cloudwatch.put_metric_data(
                Namespace=namespace,
                MetricData=[
                    {
                        "MetricName": metric.name,
                        "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
                        "Timestamp": minute,
                        "Value": value,
                    }
                    for metric, value in values
                    if metric.namespace == namespace
                ],
            )

    def _evaluate(self) -> None:
        # A policy's own alarms are deleted with it.
        self._trackers = {
            fleet: tracker for fleet, tracker in self._trackers.items() if tracker.follow_policy()
        }
        alarms = [watched.alarm for watched in self._watched.values()]
        alarms += [alarm for tracker in self._trackers.values() for alarm in tracker.alarms()]
        series = self._read({query for alarm in alarms for query in alarm.metric_queries()})

        def points(alarm: Alarm) -> list[float | None]:
            by_id = {query.id: series.get(query, {}) for query in alarm.metric_queries()}
            return alarm.datapoints(by_id, self._clock.now)

        for watched in list(self._watched.values()):
            self._judge(watched, points(watched.alarm))
        for tracker in self._trackers.values():
            if scaled := tracker.steer(self._clock.now, points):
                self._on_scaled(scaled)

    def _read(self, queries: set[MetricQuery]) -> Mapping[MetricQuery, Series]:
        """Every recent value, by metric and period start."""
        if not queries:
            return {}
        ids = {f"q{index}": query for index, query in enumerate(sorted(queries, key=repr))}
        end = datetime.fromtimestamp(self._clock.now // MINUTE_S * MINUTE_S, UTC)
        answer = self._cloudwatch.get_metric_data(
            MetricDataQueries=[_data_query(query_id, query) for query_id, query in ids.items()],
            StartTime=end - LOOK_BACK,
            EndTime=end,
        )
        return {
            ids[result["Id"]]: {
                int(moment.timestamp()): value
                for moment, value in zip(result["Timestamps"], result["Values"], strict=True)
            }
            for result in answer["MetricDataResults"]
        }

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
        reason = alarm.reason_text(points, watched.state)
        alarm_arn = arn("cloudwatch", f"alarm:{alarm.name}")
        for action in actions:
            self._on_action(action, alarm_arn, self._payload(watched, before, reason))

    def _payload(self, watched: _Watched, before: State, reason: str) -> dict[str, Any]:
        """What a Lambda alarm action receives."""
        moment = datetime.fromtimestamp(self._clock.now, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        alarm = watched.alarm
        return {
            "source": "aws.cloudwatch",
            "alarmArn": arn("cloudwatch", f"alarm:{alarm.name}"),
            "accountId": ACCOUNT_ID,
            "time": moment,
            "region": REGION,
            "alarmData": {
                "alarmName": alarm.name,
                "state": {
                    "value": watched.state.value,
                    "reason": reason,
                    "reasonData": json.dumps({"version": "1.0"}),
                    "timestamp": moment,
                },
                "previousState": {"value": before.value, "timestamp": moment},
                "configuration": {"description": alarm.description, "metrics": []},
            },
        }


def _data_query(query_id: str, query: MetricQuery) -> Any:
    return {
        "Id": query_id,
        "MetricStat": {
            "Metric": {
                "Namespace": query.namespace,
                "MetricName": query.name,
                "Dimensions": [{"Name": name, "Value": value} for name, value in query.dimensions],
            },
            "Period": query.period_s,
            "Stat": query.stat,
        },
    }
