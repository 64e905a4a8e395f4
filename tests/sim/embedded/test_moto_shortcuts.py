"""The faster versions of moto's functions return what moto returns."""

import importlib
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from moto.cloudwatch.models import cloudwatch_backends
from moto.core import utils
from moto.sqs.exceptions import InvalidAttributeName
from moto.sqs.models import Queue, SQSBackend, sqs_backends

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded import moto_shortcuts
from tests.sluice.aws import account

EVERY = [*Queue.BASE_ATTRIBUTES, *Queue.FIFO_ATTRIBUTES, *Queue.KMS_ATTRIBUTES]


@pytest.mark.parametrize("names", [[], ["All"], EVERY[::-1], ["ApproximateNumberOfMessages"] * 2], ids=str)
@pytest.mark.parametrize("queue", ["plain", "ordered.fifo"])
def test_a_queue_has_the_attributes_that_moto_returns(queue: str, names: Sequence[str]) -> None:
    with account.account():
        url = account.create_queue(queue)
        if queue == "plain":
            account.send(url, 3)
            account.receive(url)
        backend = sqs_backends[ACCOUNT_ID][REGION]
        attributes = SQSBackend.get_queue_attributes(backend, queue, list(names))
        assert attributes == moto_shortcuts._original_attributes(backend, queue, list(names))
        assert bool(attributes) is bool(names)


def test_an_unknown_attribute_is_refused() -> None:
    with account.account():
        account.create_queue("plain")
        backend = sqs_backends[ACCOUNT_ID][REGION]
        with pytest.raises(InvalidAttributeName):
            SQSBackend.get_queue_attributes(backend, "plain", ["QueueArn", "Colour"])


def test_names_are_converted_as_in_moto() -> None:
    assert [moto_shortcuts._snake_case(name) for name in EVERY] == list(
        map(utils.camelcase_to_underscores, EVERY)
    )


@pytest.fixture
def untouched() -> Iterator[Any]:
    """moto's models of SQS as they are without any shortcut."""
    name = "moto.sqs.models"
    ours = sys.modules.pop(name)
    try:
        yield importlib.import_module(name)
    finally:
        sys.modules[name] = ours


def test_a_message_is_visible_when_moto_says_so(untouched: Any) -> None:
    listed = untouched.Queue.messages.fget
    noon = datetime(2026, 1, 15, 12, tzinfo=UTC)
    lengths = []
    with account.account(), time_machine.travel(noon, tick=False) as travel:
        url = account.create_queue("plain")
        account.send(url, 2)
        account.client("sqs").send_message(QueueUrl=url, MessageBody="later", DelaySeconds=20)
        [one] = account.client("sqs").receive_message(QueueUrl=url, VisibilityTimeout=10)["Messages"]
        queue = sqs_backends[ACCOUNT_ID][REGION].get_queue("plain")
        for second in range(22):
            travel.move_to(noon + timedelta(seconds=second, microseconds=second % 2))
            assert moto_shortcuts._visible_messages(queue) == listed(queue) == queue.messages
            lengths.append(len(queue.messages))
    # Visible again a moment after its timeout, no longer delayed at that very moment: as moto has it.
    assert lengths == [1] * 11 + [2] * 9 + [3] * 2
    assert len(one["ReceiptHandle"]) == len(untouched.generate_receipt_handle())


def test_metrics_are_read_as_moto_reads_them() -> None:
    noon = datetime(2026, 1, 15, 12)  # noqa: DTZ001 - moto's are naive
    with account.account():
        cloudwatch = account.client("cloudwatch")
        for minute in range(4):
            for name, fleet in (("Depth", "a"), ("Depth", "b"), ("Age", "a")):
                datum = {
                    "MetricName": name,
                    "Dimensions": [{"Name": "Fleet", "Value": fleet}],
                    "Timestamp": noon.replace(tzinfo=UTC) + timedelta(minutes=minute),
                    "Value": 10 * minute + len(name),
                }
                cloudwatch.put_metric_data(Namespace="Tests", MetricData=[datum])
        queries = [
            {"Id": f"q{number}", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
            for number, metric in enumerate(
                {"Namespace": "Tests", "MetricName": name, "Dimensions": [{"Name": "Fleet", "Value": "a"}]}
                for name in ("Depth", "Age", "Unknown")
            )
        ]
        backend = cloudwatch_backends[ACCOUNT_ID][REGION]
        span = (noon, noon + timedelta(minutes=3))
        read = backend.get_metric_data(queries, *span)
        assert read == moto_shortcuts._original_metric_data(backend, queries, *span)
    assert [result["values"] for result in read] == [[5, 15, 25], [3, 13, 23], []]


NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def _metric(query_id: str, namespace: str, **more: Any) -> Any:
    metric = {"Namespace": namespace, "MetricName": "Sent", "Dimensions": [{"Name": "Queue", "Value": "a"}]}
    return {"Id": query_id, "MetricStat": {"Metric": metric, "Period": 300, "Stat": "Sum"}, **more}


def _answers(*queries: Any, **more: Any) -> dict[str, list[float]]:
    answer = account.client("cloudwatch").get_metric_data(
        MetricDataQueries=list(queries), StartTime=NOON, EndTime=NOON + timedelta(minutes=20), **more
    )
    return {each["Id"]: each["Values"] for each in answer["MetricDataResults"]}


@pytest.fixture
def two_namespaces() -> Iterator[None]:
    moto_shortcuts.install_shortcuts()
    with account.account(), time_machine.travel(NOON, tick=False):
        for namespace, value in (("Ours", 3.0), ("Theirs", 40.0)):
            for minute in (1, 6, 11):
                datum = {
                    "MetricName": "Sent",
                    "Dimensions": [{"Name": "Queue", "Value": "a"}],
                    "Timestamp": NOON + timedelta(minutes=minute),
                    "Value": value + minute,
                }
                account.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[datum])
        yield


@pytest.mark.usefixtures("two_namespaces")
def test_a_metric_of_another_namespace_is_another_metric() -> None:
    assert _answers(_metric("ours", "Ours"), _metric("none", "ours")) == {"ours": [14, 9, 4], "none": []}


@pytest.mark.usefixtures("two_namespaces")
def test_metric_math_is_evaluated_over_metrics_that_are_not_returned_themselves() -> None:
    both = (_metric("ours", "Ours", ReturnData=False), _metric("theirs", "Theirs", ReturnData=False))
    share = {"Id": "share", "Expression": "ours * 3600 / PERIOD(ours) / theirs"}
    expected = [4 * 12 / 41, 9 * 12 / 46, 14 * 12 / 51]
    assert _answers(share, *both, ScanBy="TimestampAscending") == {"share": pytest.approx(expected)}
    assert _answers(share, *both) == {"share": pytest.approx(expected[::-1])}


def test_a_long_series_is_the_same_read_period_by_period() -> None:
    with account.account() as made:
        del made
        backend = cloudwatch_backends[ACCOUNT_ID][REGION]
        start = datetime(2026, 1, 15, 12)  # noqa: DTZ001 - as moto keeps it
        for place in range(0, 300, 7):
            backend.put_metric_data(
                "Own",
                [
                    {
                        "MetricName": name,
                        "Dimensions": [{"Name": "A", "Value": "b"}],
                        "Timestamp": start + timedelta(seconds=30 * place),
                        "Value": float(place),
                    }
                    for name in ("m", "other")
                ],
            )
        metric = {"Namespace": "Own", "MetricName": "m", "Dimensions": [{"Name": "A", "Value": "b"}]}
        query = {"Id": "q", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Average"}}
        end = start + timedelta(minutes=140, seconds=30)
        whole = moto_shortcuts._from(backend.metric_data, query, start, end)
        assert len(whole["values"]) > 30
        assert moto_shortcuts._period_by_period(backend.metric_data, query, start, end) == whole
