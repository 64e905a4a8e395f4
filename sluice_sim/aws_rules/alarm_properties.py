"""Reads the properties of a CloudWatch alarm: types, and the metrics that the alarm evaluates.

In resolved `AWS::CloudWatch::Alarm` properties CloudFormation allows numbers and flags as text. Scaling
policies are read with the same reader. A property that would change the outcome and is not simulated (units,
anomaly detection, several expressions) is an error that names the place, the value and the way out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sluice_sim.aws_rules.metric_math import (
    Expression,
    parse,
)

_METRIC = {"MetricName", "Namespace", "Dimensions", "Statistic", "ExtendedStatistic", "Period"}
_ACTIONS = {"ActionsEnabled", "OKActions", "AlarmActions", "InsufficientDataActions"}
_RULE = {"ComparisonOperator", "Threshold", "EvaluationPeriods", "DatapointsToAlarm", "TreatMissingData"}
PROPERTIES = {"AlarmName", "AlarmDescription", "Tags", "Metrics"} | _METRIC | _ACTIONS | _RULE
"""The supported properties of an alarm; tags and the description change no outcome."""

_PERIODS_S = (10, 20, 30)
_REQUIRED = object()


class AlarmError(ValueError):
    """An alarm definition that CloudWatch would reject, or that is not simulated."""


class MetricQuery(NamedTuple):
    """One metric of an alarm: `stat` over periods of `period_s` seconds; dimensions sorted by name."""

    id: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    stat: str
    period_s: int


class PropertyReader:
    """Typed access to resolved properties; `where` names them in errors, no default means required."""

    def __init__(
        self, where: str, properties: Mapping[str, Any], raises: type[ValueError] = AlarmError
    ) -> None:
        self.where = where
        self.properties = properties
        self._raises = raises

    def error(self, key: str, sentence: str) -> ValueError:
        """An error about one property, with its place and value."""
        return self._raises(f"{self.where}.{key} = {self.properties.get(key)!r}: {sentence}")

    def only(self, known: set[str]) -> None:
        """Raise an error for any property outside `known`."""
        for key in sorted(self.properties.keys() - known):
            raise self.error(key, f"is not simulated; known here are {', '.join(sorted(known))}")

    def _value(self, key: str, default: object = _REQUIRED) -> object:
        value = self.properties.get(key, default)
        if value is _REQUIRED:
            raise self._raises(f"{self.where}.{key} is missing; it is needed here")
        return value

    def text(self, key: str, default: object = _REQUIRED) -> str:
        """A scalar as text."""
        value = self._value(key, default)
        if isinstance(value, (dict, list)):
            raise self.error(key, "must be text")
        return str(value)

    def name(self, key: str) -> str:
        """A required text that is not empty."""
        value = self._value(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, "must be a name, not empty")
        return value

    def number(self, key: str, default: object = _REQUIRED) -> float:
        """A finite number, or the text of one."""
        text = self.text(key, default)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(key, "must be a finite number")
        return value

    def positive(self, key: str) -> float:
        """A finite number above 0, or the text of one."""
        value = self.number(key)
        if value <= 0:
            raise self.error(key, "must be a positive number")
        return value

    def integer(self, key: str, default: object = _REQUIRED, *, min_value: int = 1) -> int:
        """An integer of at least `min_value`, or the text of one."""
        value = self.number(key, default)
        if value != int(value) or value < min_value:
            raise self.error(key, f"must be a whole number from {min_value} on")
        return int(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false, or the text of either."""
        text = str(self._value(key, default)).lower()
        if text not in ("true", "false"):
            raise self.error(key, "must be true or false")
        return text == "true"

    def one_of(
        self, key: str, known: Mapping[str, object] | Sequence[str], default: object = _REQUIRED
    ) -> str:
        """A text that is one of `known`."""
        value = self.text(key, default)
        if value not in known:
            raise self.error(key, f"must be one of {', '.join(known)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty if absent."""
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, "must be a list of texts")
        return tuple(value)

    def inner(self, key: str) -> "PropertyReader":
        """A required nested mapping."""
        value = self._value(key)
        if not isinstance(value, dict):
            raise self.error(key, "must be a mapping")
        return PropertyReader(f"{self.where}.{key}", value, self._raises)

    def items(self, key: str) -> "list[PropertyReader]":
        """A list of mappings; empty if absent."""
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(key, "must be a list of mappings")
        return [
            PropertyReader(f"{self.where}.{key}[{index}]", item, self._raises)
            for index, item in enumerate(value)
        ]


def metrics(read: PropertyReader) -> tuple[tuple[MetricQuery, ...], Expression]:
    """The metrics of an alarm and the expression over them; for a single metric, just its id."""
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


def _math_query(entry: PropertyReader) -> MetricQuery:
    entry.only({"Id", "MetricStat", "Label", "ReturnData"})
    stat = entry.inner("MetricStat")
    stat.only({"Metric", "Period", "Stat"})
    metric = stat.inner("Metric")
    metric.only({"MetricName", "Namespace", "Dimensions"})
    return _query(entry.text("Id"), metric, stat)


def _query(query_id: str, metric: PropertyReader, stat: PropertyReader) -> MetricQuery:
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
