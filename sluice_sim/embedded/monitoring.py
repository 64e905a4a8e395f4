"""CloudWatch's moving parts: native metrics with their delay, alarms evaluated every minute, target tracking.

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
from sluice_sim.embedded.groups import Groups
from sluice_sim.metric_math import Series
from sluice_sim.target_tracking import TargetTracking, scale_in, scale_out

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient

EVALUATED_AT_S = 30
"""Seconds into the minute at which alarms are evaluated; AWS promises only once a minute."""
NATIVE_METRIC_DELAY_S = 60
"""How long after its minute an AWS metric of SQS or Auto Scaling can be read (assumption)."""
DEFAULT_WARMUP_S = 300
MINUTE_S = 60

AlarmAction = Callable[[str, str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """What AWS's own target tracking did to a group, and why."""

    group: str
    before: int
    after: int
    why: str


@dataclass(slots=True, kw_only=True)
class _Watched:
    alarm: Alarm
    state: State = State.INSUFFICIENT_DATA


@dataclass(slots=True, kw_only=True)
class _Tracked:
    policy: TargetTracking
    policy_name: str
    high: State = State.INSUFFICIENT_DATA
    low: State = State.INSUFFICIENT_DATA


class Monitoring:
    """Every alarm and target-tracking policy of the account."""

    def __init__(
        self,
        clock: VirtualClock,
        cloudwatch: CloudWatchClient,
        autoscaling: AutoScalingClient,
        groups: Groups,
        *,
        on_action: AlarmAction,
        on_scaled: Callable[[Scaled], None],
    ) -> None:
        self._clock, self._cloudwatch, self._autoscaling, self._groups = (
            clock,
            cloudwatch,
            autoscaling,
            groups,
        )
        self._on_action, self._on_scaled = on_action, on_scaled
        self._watched: dict[str, _Watched] = {}
        self._tracked: list[_Tracked] = []
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

    def track(self, policy: TargetTracking, policy_name: str) -> None:
        """A target-tracking policy; its target is read back each minute, as a retune may have replaced it."""
        self._tracked.append(_Tracked(policy=policy, policy_name=policy_name))

    def sample(self, read: Callable[[], Iterable[tuple[MetricQuery, float]]]) -> None:
        """A source of native metrics, read at the end of every minute."""
        self._sampled.append(read)

    def state(self, alarm_name: str) -> State:
        """An alarm's present state."""
        return self._watched[alarm_name].state

    def target(self, group: str) -> float | None:
        """The target the group's policy holds now, None without a policy."""
        return next(
            (tracked.policy.target for tracked in self._tracked if tracked.policy.group == group), None
        )

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
        for tracked in self._tracked:
            self._follow_retune(tracked)
        alarms = [watched.alarm for watched in self._watched.values()]
        for tracked in self._tracked:
            alarms.append(tracked.policy.high_alarm())
        series = self._read({query for alarm in alarms for query in alarm.metric_queries()})
        for watched in list(self._watched.values()):
            self._judge(watched, series)
        for tracked in self._tracked:
            self._steer(tracked, series)

    def _read(self, queries: set[MetricQuery]) -> Mapping[MetricQuery, Series]:
        """Every value of the last half hour, by metric and period start."""
        if not queries:
            return {}
        ids = {f"q{index}": query for index, query in enumerate(sorted(queries, key=repr))}
        end = datetime.fromtimestamp(self._clock.now // MINUTE_S * MINUTE_S, UTC)
        answer = self._cloudwatch.get_metric_data(
            MetricDataQueries=[_data_query(query_id, query) for query_id, query in ids.items()],
            StartTime=end - timedelta(minutes=30),
            EndTime=end,
        )
        return {
            ids[result["Id"]]: {
                int(moment.timestamp()): value
                for moment, value in zip(result["Timestamps"], result["Values"], strict=True)
            }
            for result in answer["MetricDataResults"]
        }

    def _judge(self, watched: _Watched, series: Mapping[MetricQuery, Series]) -> None:
        alarm, before = watched.alarm, watched.state
        points = alarm.datapoints(_of(alarm, series), self._clock.now)
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

    def _follow_retune(self, tracked: _Tracked) -> None:
        answer = self._autoscaling.describe_policies(
            AutoScalingGroupName=tracked.policy.group, PolicyNames=[tracked.policy_name]
        )
        target = answer["ScalingPolicies"][0]["TargetTrackingConfiguration"]["TargetValue"]
        if target != tracked.policy.target:
            # AWS rewrites the policy's alarms when its target changes: they start anew.
            tracked.policy = tracked.policy.with_target(target)
            tracked.high = tracked.low = State.INSUFFICIENT_DATA

    def _steer(self, tracked: _Tracked, series: Mapping[MetricQuery, Series]) -> None:
        """AlarmHigh and AlarmLow act once a minute for as long as they ring."""
        policy = tracked.policy
        size, (minimum, maximum) = self._groups.size(policy.group), self._groups.bounds(policy.group)
        warmup_s = DEFAULT_WARMUP_S if policy.instance_warmup_s is None else policy.instance_warmup_s
        warmed = self._groups.warmed(policy.group, warmup_s)
        high, low = policy.high_alarm(), policy.low_alarm(size.desired)
        tracked.high, metric = self._ring(high, tracked.high, series)
        wanted = size.desired
        if tracked.high is State.ALARM and metric is not None:
            wanted = scale_out(
                desired=size.desired, warmed=warmed, metric=metric, target=policy.target, maximum=maximum
            )
        if low is not None:
            tracked.low, metric = self._ring(low, tracked.low, series)
            if tracked.low is State.ALARM and metric is not None:
                wanted = scale_in(
                    desired=size.desired,
                    warming=size.running + size.booting - warmed,
                    metric=metric,
                    target=policy.target,
                    minimum=minimum,
                )
        if wanted == size.desired or metric is None:
            return
        if self._groups.suspended(policy.group, "AlarmNotification"):
            return
        self._groups.set_desired(policy.group, wanted)
        why = f"{metric:g} per instance against a target of {policy.target:g}"
        self._on_scaled(Scaled(group=policy.group, before=size.desired, after=wanted, why=why))

    def _ring(
        self, alarm: Alarm, before: State, series: Mapping[MetricQuery, Series]
    ) -> tuple[State, float | None]:
        """The alarm's state, and its newest value."""
        points = alarm.datapoints(_of(alarm, series), self._clock.now)
        newest = next((point for point in reversed(points) if point is not None), None)
        return alarm.next_state(points, before), newest


def _of(alarm: Alarm, series: Mapping[MetricQuery, Series]) -> dict[str, Series]:
    return {query.id: series.get(query, {}) for query in alarm.metric_queries()}


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
