"""CloudWatch metric alarms: what one reads, which points it looks at, and which state they make.

Owns: an alarm as resolved `AWS::CloudWatch::Alarm` properties define it, and CloudWatch's rules for M of N
points and missing data, as pure functions of data; who evaluates when, and what an action does, is the
caller's. Refuses every property that would change the outcome and is not simulated (units, anomaly bands,
several expressions).
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sluice_sim.metric_math import ASSUMED, Expression, MissingOperand, Series, parse

EXTRA_POINTS = 2
"""CloudWatch fetches more points than N; documented for N = 3 alone (5). Assumption: N + 2 for every N."""

_OPERATORS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
_METRIC = {"MetricName", "Namespace", "Dimensions", "Statistic", "ExtendedStatistic", "Period"}
_ACTIONS = {"ActionsEnabled", "OKActions", "AlarmActions", "InsufficientDataActions"}
_RULE = {"ComparisonOperator", "Threshold", "EvaluationPeriods", "DatapointsToAlarm", "TreatMissingData"}
_PROPERTIES = {"AlarmName", "AlarmDescription", "Tags", "Metrics"} | _METRIC | _ACTIONS | _RULE
_PERIODS_S = (10, 20, 30)
_REQUIRED = object()


class AlarmError(ValueError):
    """An alarm definition that CloudWatch would refuse, or that is not simulated."""


class State(StrEnum):
    """The three states of a CloudWatch alarm; a new alarm starts in INSUFFICIENT_DATA."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class Treatment(StrEnum):
    """What TreatMissingData makes of a point that is not there."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricQuery:
    """One metric an alarm reads: `stat` over periods of `period_s` seconds; dimensions sorted by name."""

    id: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    stat: str
    period_s: int


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

    @classmethod
    def from_properties(cls, logical_id: str, properties: Mapping[str, Any]) -> "Alarm":
        """The alarm of a resolved template; `logical_id` names it in errors and where AlarmName is absent."""
        read = _Reader(logical_id, properties)
        read.only(_PROPERTIES)
        periods = read.integer("EvaluationPeriods")
        needed = read.integer("DatapointsToAlarm", periods)
        if needed > periods:
            raise read.error("DatapointsToAlarm", f"must not exceed EvaluationPeriods {periods}")
        queries, expression = _metrics(read)
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
        )

    @property
    def period_s(self) -> int:
        """Seconds in one period; the same for all of an alarm's metrics."""
        return self.queries[0].period_s

    def metric_queries(self) -> tuple[MetricQuery, ...]:
        """The metrics whose series `datapoints` needs, by id."""
        return self.queries

    def breaches(self, value: float) -> bool:
        """Whether one value is on the wrong side of the threshold."""
        return _OPERATORS[self.comparison][0](value, self.threshold)

    def datapoints(
        self, series: Mapping[str, Series], now: float, missing: MissingOperand = ASSUMED
    ) -> list[float | None]:
        """The evaluation range at `now`, newest last, None where there is no point.

        `series` holds, by query id, the statistic of each period keyed by the period's start (epoch
        seconds, a multiple of the period). The newest period is the last one that has ended at `now`.
        """
        values = self.expression.evaluate(series, missing)
        newest = (int(now // self.period_s) - 1) * self.period_s
        count = self.evaluation_periods + EXTRA_POINTS
        return [values.get(newest - age * self.period_s) for age in reversed(range(count))]

    def next_state(self, points: Sequence[float | None], previous: State) -> State:
        """The state that `points` (the evaluation range, newest last) put the alarm in; see `next_state`."""
        return next_state(
            [None if point is None else self.breaches(point) for point in points],
            previous,
            evaluation_periods=self.evaluation_periods,
            datapoints_to_alarm=self.datapoints_to_alarm,
            treatment=self.treatment,
        )

    def reason_text(self, points: Sequence[float | None], state: State) -> str:
        """A short state reason in CloudWatch's manner, quoting the real points that were looked at."""
        real = [point for point in points if point is not None][-self.evaluation_periods :]
        gaps = self.evaluation_periods - len(real)
        if state is State.INSUFFICIENT_DATA:
            return f"Insufficient Data: {gaps} of {self.evaluation_periods} datapoints were missing."
        crossing = [point for point in real if self.breaches(point)]
        bound = f"{_OPERATORS[self.comparison][1]} the threshold ({self.threshold})"
        counts = f"{len(crossing)} out of the last {self.evaluation_periods} datapoints"
        least = f"{self.datapoints_to_alarm} needed for ALARM"
        filled = f"; {gaps} missing, treated as [{self.treatment}]" if gaps else ""
        verb = "was" if len(crossing) == 1 else "were"
        return f"Threshold Crossed: {counts} {real} {verb} {bound} ({least}{filled})."


def next_state(
    breaching: Sequence[bool | None],
    previous: State,
    *,
    evaluation_periods: int,
    datapoints_to_alarm: int,
    treatment: Treatment,
) -> State:
    """CloudWatch's verdict on an evaluation range (newest last; True breaches, None is missing).

    With N real points or more the newest N decide and the treatment plays no part. With fewer, every real
    point counts and the treatment fills up to N. Under `missing`, points that all breach but are fewer than
    M still make an ALARM once the oldest of them is M periods old (AWS's premature-alarm rule); under
    `ignore` they retain the state. Assumptions where AWS's tables are silent: one real point within the
    threshold rules the premature alarm out, and under `missing` breaching points that are too young make
    OK.
    """
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
    oldest_age = len(breaching) - list(breaching).index(True)  # 1 is the newest period
    return State.ALARM if oldest_age >= datapoints_to_alarm else State.OK


def _metrics(read: "_Reader") -> tuple[tuple[MetricQuery, ...], Expression]:
    """The metrics and the expression over them; a single metric is the expression that names it."""
    if "Metrics" not in read.properties:
        return (_query("m1", read, read),), parse("m1")
    if both := sorted(_METRIC & read.properties.keys()):
        raise read.error(both[0], "cannot stand beside Metrics; leave one of them out")
    entries = read.items("Metrics")
    queries = tuple(_math_query(entry) for entry in entries if "MetricStat" in entry.properties)
    ids, periods_s = {query.id for query in queries}, {query.period_s for query in queries}
    if not 1 <= len(queries) <= 10 or len(ids) < len(queries) or len(periods_s) > 1:
        raise read.error("Metrics", "must hold 1 to 10 MetricStats, each of its own Id and all of one Period")
    returned = [entry for entry in entries if entry.flag("ReturnData", default=True)]
    if len(returned) != 1:
        raise read.error(
            "Metrics", f"returns {len(returned)} series; give all entries but one ReturnData: false"
        )
    for entry in entries:
        if "MetricStat" not in entry.properties:
            entry.only({"Id", "Expression", "Label", "ReturnData"})
            if entry is not returned[0]:
                raise entry.error("Expression", "is not the returned one; only one expression is simulated")
    text = returned[0].text("Expression", "") or returned[0].text("Id")
    expression = parse(text)
    if unknown := sorted(expression.ids - ids):
        raise returned[0].error(
            "Expression", f"reads {', '.join(unknown)}, which no MetricStat here has as its Id"
        )
    return queries, expression


def _math_query(entry: "_Reader") -> MetricQuery:
    entry.only({"Id", "MetricStat", "Label", "ReturnData"})
    stat = entry.inner("MetricStat")
    stat.only({"Metric", "Period", "Stat"})
    metric = stat.inner("Metric")
    metric.only({"MetricName", "Namespace", "Dimensions"})
    return _query(entry.text("Id"), metric, stat)


def _query(query_id: str, metric: "_Reader", stat: "_Reader") -> MetricQuery:
    period_s = stat.integer("Period")
    if period_s % 60 and period_s not in _PERIODS_S:
        raise stat.error("Period", f"must be one of {_PERIODS_S} or a multiple of 60 seconds")
    keys = [key for key in ("Stat", "Statistic", "ExtendedStatistic") if key in stat.properties]
    if len(keys) != 1:
        raise stat.error("Statistic", f"is given {len(keys)} times; give one statistic")
    return MetricQuery(
        id=query_id,
        namespace=metric.text("Namespace"),
        name=metric.text("MetricName"),
        dimensions=tuple(
            sorted(
                (dimension.text("Name"), dimension.text("Value")) for dimension in metric.items("Dimensions")
            )
        ),
        stat=stat.text(keys[0]),
        period_s=period_s,
    )


class _Reader:
    """Typed access to resolved properties, in which CloudFormation lets numbers and flags be text."""

    def __init__(self, where: str, properties: Mapping[str, Any]) -> None:
        self.where = where
        self.properties = properties

    def error(self, key: str, sentence: str) -> AlarmError:
        """What is wrong with one property, where, and its value."""
        return AlarmError(f"{self.where}.{key} = {self.properties.get(key)!r}: {sentence}")

    def only(self, known: set[str]) -> None:
        """Refuse properties outside `known`."""
        for key in sorted(self.properties.keys() - known):
            raise self.error(key, f"is not simulated; known here are {', '.join(sorted(known))}")

    def _value(self, key: str, default: object = _REQUIRED) -> object:
        value = self.properties.get(key, default)
        if value is _REQUIRED:
            raise AlarmError(f"{self.where}.{key} is missing; the simulated alarm needs it")
        return value

    def text(self, key: str, default: object = _REQUIRED) -> str:
        value = self._value(key, default)
        if isinstance(value, (dict, list)):
            raise self.error(key, "must be text")
        return str(value)

    def number(self, key: str, default: object = _REQUIRED) -> float:
        text = self.text(key, default)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(key, "must be a finite number")
        return value

    def integer(self, key: str, default: object = _REQUIRED) -> int:
        value = self.number(key, default)
        if value != int(value) or value < 1:
            raise self.error(key, "must be a whole number from 1 on")
        return int(value)

    def flag(self, key: str, *, default: bool) -> bool:
        text = str(self._value(key, default)).lower()
        if text not in ("true", "false"):
            raise self.error(key, "must be true or false")
        return text == "true"

    def one_of(
        self, key: str, known: Mapping[str, object] | Sequence[str], default: object = _REQUIRED
    ) -> str:
        value = self.text(key, default)
        if value not in known:
            raise self.error(key, f"must be one of {', '.join(known)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, "must be a list of texts")
        return tuple(value)

    def inner(self, key: str) -> "_Reader":
        value = self._value(key)
        if not isinstance(value, dict):
            raise self.error(key, "must be a mapping")
        return _Reader(f"{self.where}.{key}", value)

    def items(self, key: str) -> "list[_Reader]":
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(key, "must be a list of mappings")
        return [_Reader(f"{self.where}.{key}[{index}]", item) for index, item in enumerate(value)]
