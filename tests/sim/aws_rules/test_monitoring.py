"""CloudWatch over time: alarms of long periods and long evaluation ranges, over days."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sluice_sim.aws_rules.alarm_states import AlarmChange
from sluice_sim.aws_rules.alarms import Alarm, MetricQuery, State
from sluice_sim.aws_rules.metric_math import Series
from sluice_sim.aws_rules.monitoring import Monitoring, Values
from sluice_sim.clock import VirtualClock

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
START_S = 10 * DAY_S


@dataclass
class Sums:
    """Implements `monitoring.MetricData` for one metric, whose every statistic is the sum of a period."""

    minutes: dict[int, float] = field(default_factory=dict)
    changed: float = math.inf

    def put(self, minute: float, values: Values) -> None:
        for _, value in values:
            self.minutes[int(minute)] = value
            self.changed = min(self.changed, minute)

    def earliest_change(self) -> float:
        changed, self.changed = self.changed, math.inf
        return changed

    def read(self, queries: set[MetricQuery], start: float, end: float) -> Mapping[MetricQuery, Series]:
        return {
            query: {
                at: sum(self.minutes.get(minute, 0.0) for minute in range(at, at + query.period_s, MINUTE_S))
                for at in range(int(start), int(end), query.period_s)
                if any(minute in self.minutes for minute in range(at, at + query.period_s, MINUTE_S))
            }
            for query in queries
        }


def changes(*, period_s: int, periods: int, threshold: float, sent: dict[int, float]) -> list[AlarmChange]:
    """What an alarm does that rings above the threshold, given the messages sent in each minute."""
    clock, found = VirtualClock(START_S), []

    def note(action: str, change: AlarmChange) -> None:
        found.append(change)

    monitoring = Monitoring(clock, Sums(), on_action=note, on_scaled=lambda _: None)
    rule = {"ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"}
    metric = {"Namespace": "AWS/SQS", "MetricName": "NumberOfMessagesSent", "Statistic": "Sum"}
    monitoring.add_alarm(
        Alarm.from_properties(
            "Sent",
            {
                **rule,
                **metric,
                "Period": period_s,
                "EvaluationPeriods": periods,
                "Threshold": threshold,
                "AlarmActions": ["ring"],
                "OKActions": ["calm"],
            },
        )
    )
    query = MetricQuery("m1", "AWS/SQS", "NumberOfMessagesSent", (), "Sum", period_s)
    monitoring.add_source(lambda: [(query, sent.get(round((clock.now - START_S) / MINUTE_S) - 1, 0.0))])
    clock.run_until(START_S + 4 * DAY_S)
    return found


def test_an_alarm_over_two_hours_of_minutes_stays_in_alarm_for_days() -> None:
    *_, last = changes(period_s=MINUTE_S, periods=120, threshold=-1.0, sent={})
    assert last.state is State.ALARM
    assert last.at < START_S + 3 * HOUR_S


def test_an_hour_counts_all_of_its_messages_whenever_they_were_sent() -> None:
    for minute in (0, 30, 59):
        ring, calm = changes(period_s=HOUR_S, periods=1, threshold=9, sent={5 * 60 + minute: 10.0})[-2:]
        assert (ring.state, calm.state) == (State.ALARM, State.OK)
        assert START_S + 6 * HOUR_S <= ring.at < START_S + 6 * HOUR_S + 3 * MINUTE_S


def test_twelve_periods_of_five_minutes_ring_after_an_hour_of_them_and_not_before() -> None:
    busy = dict.fromkeys(range(100, 100 + 65), 1.0)
    ring, _ = changes(period_s=300, periods=12, threshold=0, sent=busy)[-2:]
    assert START_S + 160 * MINUTE_S <= ring.at < START_S + 163 * MINUTE_S
    gap = {minute: count for minute, count in busy.items() if minute not in range(130, 135)}
    assert {one.state for one in changes(period_s=300, periods=12, threshold=0, sent=gap)} <= {State.OK}
