"""Faster versions of some of moto's functions, with the same results, and the percentiles that it lacks.

moto converts the name of every operation and queue attribute to snake case on each use, character by
character. It counts all messages of a queue several times per requested attribute, builds two datetimes per
message to decide whether it is visible, draws receipt handles letter by letter, and compares every sample of
a period with each requested metric. Together that is half of the time of a demo run.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from time import time
from types import SimpleNamespace
from typing import Any

from moto.cloudwatch.models import CloudWatchBackend, MetricDatumBase, Statistics
from moto.core import responses, utils
from moto.moto_api._internal import mock_random
from moto.sqs import models
from moto.sqs.models import Message, Queue, SQSBackend

from sluice_sim.aws_rules import metric_math
from sluice_sim.aws_rules.percentiles import needs_single_values, of_single_values

_RECEIPT_HANDLE_LENGTH = 185
MANY_PERIODS = 100

_snake_case = cache(utils.camelcase_to_underscores)
_original_attributes = SQSBackend.get_queue_attributes
_original_metric_data = CloudWatchBackend.get_metric_data
_original_statistic = Statistics.get_statistics_for_type


def install_shortcuts() -> None:
    """Patch moto for the rest of this process."""
    for module in (responses, models):
        vars(module)["camelcase_to_underscores"] = _snake_case
    vars(models)["unix_time"], vars(models)["unix_time_millis"] = time, _time_ms
    vars(models)["generate_receipt_handle"] = _receipt_handle
    SQSBackend.get_queue_attributes = _attributes  # type: ignore[assignment, method-assign]
    Queue.messages = property(_visible_messages)  # type: ignore[assignment, method-assign]
    CloudWatchBackend.get_metric_data = _metric_data  # type: ignore[assignment, method-assign]
    Statistics.get_statistics_for_type = _statistic  # type: ignore[assignment, method-assign]


def _time_ms() -> float:
    return time() * 1000


def _receipt_handle() -> str:
    return "".join(mock_random.choices(string.ascii_lowercase, k=_RECEIPT_HANDLE_LENGTH))


def _visible_messages(queue: Queue) -> list[Message]:
    now_ms = vars(models)["unix_time_millis"]()  # looked up anew: worker processes put SQS on the wall clock
    return [
        message
        for message in queue._messages  # noqa: SLF001 - this replaces the public list
        if message.visible_at < now_ms and message.delayed_until <= now_ms
    ]


def _attributes(backend: SQSBackend, queue_name: str, attribute_names: Sequence[str]) -> dict[str, Any]:
    known = {*Queue.BASE_ATTRIBUTES, *Queue.FIFO_ATTRIBUTES, *Queue.KMS_ATTRIBUTES}
    if not known.issuperset(attribute_names):
        return _original_attributes(backend, queue_name, list(attribute_names))  # "All", or an unknown name
    every = backend.get_queue(queue_name).attributes
    return {name: every[name] for name in attribute_names if every.get(name) is not None}


def _metric_data(
    backend: CloudWatchBackend,
    queries: list[dict[str, Any]],
    start_time: datetime,
    end_time: datetime,
    scan_by: str = "TimestampAscending",
) -> list[dict[str, Any]]:
    if any("SELECT" in query.get("Expression", "") for query in queries):
        return _original_metric_data(
            backend, queries, start_time, end_time, scan_by
        )  # reads metrics in another way
    found = _stored(backend, [query for query in queries if "MetricStat" in query], start_time, end_time)
    found |= {
        query["Id"]: _computed(query, queries, found, start_time, end_time)
        for query in queries
        if "Expression" in query
    }
    answers = [found[query["Id"]] for query in queries if query.get("ReturnData", True)]
    if scan_by == "TimestampDescending":
        for answer in answers:
            answer["timestamps"].reverse()
            answer["values"].reverse()
    return answers


def _stored(
    backend: CloudWatchBackend, queries: list[dict[str, Any]], start_time: datetime, end_time: datetime
) -> dict[str, dict[str, Any]]:
    """Each metric's answer by its id; moto itself does not compare namespaces where there are dimensions."""
    every, found = backend.get_all_metrics(), dict[str, dict[str, Any]]()
    for namespace in {query["MetricStat"]["Metric"]["Namespace"] for query in queries}:
        own = [query for query in queries if query["MetricStat"]["Metric"]["Namespace"] == namespace]
        names = {query["MetricStat"]["Metric"]["MetricName"] for query in own}
        named = [datum for datum in every if datum.name in names and datum.namespace == namespace]
        for query in own:
            period_s = int(query["MetricStat"]["Period"])
            long = (end_time - start_time).total_seconds() > MANY_PERIODS * period_s
            read = _period_by_period if long else _from
            found[query["Id"]] = read(named, {**query, "ReturnData": True}, start_time, end_time)
    return found


def _from(
    data: Sequence[MetricDatumBase], query: dict[str, Any], start_time: datetime, end_time: datetime
) -> dict[str, Any]:
    # The only method of the backend that moto calls here.
    holder: Any = SimpleNamespace(get_all_metrics=partial(list, data))
    [answer] = _original_metric_data(holder, [query], start_time, end_time)
    return answer


def _period_by_period(
    data: Sequence[MetricDatumBase], query: dict[str, Any], start_time: datetime, end_time: datetime
) -> dict[str, Any]:
    """As moto answers, which looks through all values for each of the periods."""
    start_time = start_time.replace(microsecond=0)
    period = timedelta(seconds=int(query["MetricStat"]["Period"]))
    name = query["MetricStat"]["Metric"]["MetricName"]
    periods: dict[int, list[MetricDatumBase]] = {}
    for datum in data:
        if datum.name == name and start_time <= datum.timestamp < end_time:
            periods.setdefault((datum.timestamp - start_time) // period, []).append(datum)
    answer = _from((), query, start_time, end_time)
    for place, values in sorted(periods.items()):
        first = start_time + place * period
        part = _from(values, query, first, min(first + period, end_time))
        answer["timestamps"] += part["timestamps"]
        answer["values"] += part["values"]
    return answer


def _computed(
    query: dict[str, Any],
    queries: list[dict[str, Any]],
    found: dict[str, dict[str, Any]],
    start_time: datetime,
    end_time: datetime,
) -> dict[str, Any]:
    """The answer of a metric math expression, which moto does not evaluate; its metrics have one period."""
    expression = metric_math.parse(query["Expression"])
    [period_s] = {int(each["MetricStat"]["Period"]) for each in queries if each["Id"] in expression.ids}
    series = {
        name: {
            int((at - start_time).total_seconds()): float(value)
            for at, value in zip(found[name]["timestamps"], found[name]["values"], strict=True)
        }
        for name in expression.ids
    }
    requested = range(0, int((end_time - start_time).total_seconds()), period_s)
    values = expression.evaluate(series, minutes=requested, period_s=period_s)
    return {
        "id": query["Id"],
        "label": query.get("Label") or query["Id"],
        "values": list(values.values()),
        "timestamps": [start_time + timedelta(seconds=at) for at in values],
        "status_code": "Complete",
    }


def _statistic(statistics: Statistics, stat: str) -> Any:
    if needs_single_values(stat):
        return of_single_values(stat, statistics.metric_single_values_list)
    return _original_statistic(statistics, stat)
