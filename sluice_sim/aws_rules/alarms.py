"""CloudWatch metric alarms: the evaluation range, and the state that results from it.

An alarm is built from resolved `AWS::CloudWatch::Alarm` properties. The rules for M of N datapoints and
missing data are pure functions; when an alarm is evaluated, and what its actions do, is up to the caller.
`alarm_properties` validates the properties; a combination that CloudWatch would reject is an AlarmError.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sluice_sim.aws_rules.alarm_properties import (
    PROPERTIES,
    AlarmError,
    MetricQuery,
    PropertyReader,
    metrics,
)
from sluice_sim.aws_rules.metric_math import (
    ASSUMED,
    Expression,
    MissingOperand,
    Series,
)

__all__ = ["EXTRA_POINTS", "Alarm", "AlarmError", "MetricQuery", "State", "Treatment", "next_state"]

EXTRA_POINTS = 2
"""CloudWatch retrieves more datapoints than N: 5 for N = 3 (documented). Assumption: N + 2 for every N."""

_OPERATORS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}


class State(StrEnum):
    """The three states of a CloudWatch alarm; a new alarm starts in INSUFFICIENT_DATA."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class Treatment(StrEnum):
    """TreatMissingData: how a missing datapoint is evaluated."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A metric alarm: M (`datapoints_to_alarm`) of N (`evaluation_periods`) periods against a threshold."""

    name: str
    description: str
    queries: tuple[MetricQuery, ...]
    expression: Expression
    comparison: str
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int
    treatment: Treatment
    actions_enabled: bool
    ok_actions: tuple[str, ...]
    alarm_actions: tuple[str, ...]
    insufficient_data_actions: tuple[str, ...]
    properties: Mapping[str, Any] = field(repr=False, compare=False)
    """What it was built from."""

    @classmethod
    def from_properties(cls, logical_id: str, properties: Mapping[str, Any]) -> "Alarm":
        """The alarm of a resolved template; `logical_id` names it in errors, and without an AlarmName."""
        read = PropertyReader(logical_id, properties)
        read.only(PROPERTIES)
        periods = read.integer("EvaluationPeriods")
        needed = read.integer("DatapointsToAlarm", periods)
        if needed > periods:
            raise read.error("DatapointsToAlarm", f"must not exceed EvaluationPeriods {periods}")
        queries, expression = metrics(read)
        span_s = queries[0].period_s * periods
        if span_s > 86_400:  # AWS's limit for periods under an hour
            raise read.error(
                "EvaluationPeriods", f"times the period makes {span_s} s; at most one day is allowed"
            )
        return cls(
            name=read.text("AlarmName", logical_id),
            description=read.text("AlarmDescription", ""),
            queries=queries,
            expression=expression,
            comparison=read.one_of("ComparisonOperator", _OPERATORS),
            threshold=read.number("Threshold"),
            evaluation_periods=periods,
            datapoints_to_alarm=needed,
            treatment=Treatment(read.one_of("TreatMissingData", list(Treatment), "missing")),
            actions_enabled=read.flag("ActionsEnabled", default=True),
            ok_actions=read.texts("OKActions"),
            alarm_actions=read.texts("AlarmActions"),
            insufficient_data_actions=read.texts("InsufficientDataActions"),
            properties=properties,
        )

    @property
    def period_s(self) -> int:
        """Seconds in one period; the same for all of an alarm's metrics."""
        return self.queries[0].period_s

    def metric_queries(self) -> tuple[MetricQuery, ...]:
        """The metrics whose series `datapoints` needs, by id."""
        return self.queries

    def breaches(self, value: float) -> bool:
        """Whether a value breaches the threshold."""
        return _OPERATORS[self.comparison][0](value, self.threshold)

    def datapoints(
        self, series: Mapping[str, Series], now: float, missing: MissingOperand = ASSUMED
    ) -> list[float | None]:
        """The evaluation range at `now`, newest last; None for a missing datapoint.

        `series` holds, by query id, the statistic of each period keyed by the period's start (epoch
        seconds, a multiple of the period). The newest period is the last one that has ended at `now`.
        """
        return list(self.values(series, self.evaluation_range(now), missing).values())

    def periods(self, start: float, end: float) -> range:
        """The starts of the periods that begin in start <= period < end."""
        return range(-(-int(start) // self.period_s) * self.period_s, int(end), self.period_s)

    def evaluation_range(self, now: float) -> range:
        """The starts of the periods that are evaluated at `now`, newest last."""
        end = int(now // self.period_s) * self.period_s
        return range(end - (self.evaluation_periods + EXTRA_POINTS) * self.period_s, end, self.period_s)

    def values(
        self, series: Mapping[str, Series], periods: Sequence[int], missing: MissingOperand = ASSUMED
    ) -> dict[int, float | None]:
        """The value of each of these periods, by its start; None for a missing datapoint."""
        values = self.expression.evaluate(series, missing, minutes=periods, period_s=self.period_s)
        return {at: values.get(at) for at in periods}

    def next_state(self, points: Sequence[float | None], previous: State) -> State:
        """The state that follows from `points` (the evaluation range, newest last); see `next_state`."""
        crosses, threshold = _OPERATORS[self.comparison][0], self.threshold
        return next_state(
            [None if point is None else crosses(point, threshold) for point in points],
            previous,
            evaluation_periods=self.evaluation_periods,
            datapoints_to_alarm=self.datapoints_to_alarm,
            treatment=self.treatment,
        )

    def reason_text(self, points: Sequence[float | None], state: State) -> str:
        """A short state reason in CloudWatch's style, with the datapoints that were evaluated."""
        real = [point for point in points if point is not None][-self.evaluation_periods :]
        gaps = self.evaluation_periods - len(real)
        if state is State.INSUFFICIENT_DATA:
            return f"Insufficient Data: {gaps} of {self.evaluation_periods} datapoints were missing."
        crossing = [point for point in real if self.breaches(point)]
        bound = f"{_OPERATORS[self.comparison][1]} the threshold ({self.threshold})"
        counts = f"{len(crossing)} out of the last {self.evaluation_periods} datapoints"
        needed = f"{self.datapoints_to_alarm} needed for ALARM"
        filled = f"; {gaps} missing, treated as [{self.treatment}]" if gaps else ""
        verb = "was" if len(crossing) == 1 else "were"
        return f"Threshold Crossed: {counts} {real} {verb} {bound} ({needed}{filled})."


def next_state(
    breaching: Sequence[bool | None],
    previous: State,
    *,
    evaluation_periods: int,
    datapoints_to_alarm: int,
    treatment: Treatment,
) -> State:
    """The alarm state that follows from an evaluation range (newest last; True breaches, None is missing).

    With N or more real datapoints, the newest N decide and the treatment is not used. With fewer, every real
    datapoint counts and the treatment fills up to N. Under `missing`, datapoints that all breach but are
    fewer than M lead to ALARM once the oldest of them is M periods old (AWS's premature-alarm rule); under
    `ignore` they keep the state. Assumptions where AWS's tables say nothing: one real datapoint within the
    threshold prevents the premature alarm, and under `missing` breaching datapoints that are too recent lead
    to OK.
    """
    return _next_state(tuple(breaching), previous, evaluation_periods, datapoints_to_alarm, treatment)


@lru_cache(maxsize=1024)
def _next_state(
    breaching: tuple[bool | None, ...],
    previous: State,
    evaluation_periods: int,
    datapoints_to_alarm: int,
    treatment: Treatment,
) -> State:
    real = [point for point in breaching if point is not None][-evaluation_periods:]
    gaps = evaluation_periods - len(real)
    crossings = sum(real) + (gaps if treatment is Treatment.BREACHING else 0)
    if crossings >= datapoints_to_alarm:
        return State.ALARM
    if not all(real) or treatment in (Treatment.BREACHING, Treatment.NOT_BREACHING):
        return State.OK
    if treatment is Treatment.IGNORE:
        return previous
    if not real:
        return State.INSUFFICIENT_DATA
    oldest_age = len(breaching) - breaching.index(True)  # 1 is the newest period
    return State.ALARM if oldest_age >= datapoints_to_alarm else State.OK
