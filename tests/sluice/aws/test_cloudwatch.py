from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sluice.aws.cloudwatch import CloudWatchMetrics
from sluice.core.model import (
    BACKLOG_PER_INSTANCE,
    EFFECTIVE_BACKLOG_PER_INSTANCE,
    DataPoint,
    Metric,
    Unknown,
)
from sluice.ports import SeriesQuery
from tests.sluice.aws import account
from tests.sluice.aws.stubs import (
    ANY,
    Call,
    refusal,
    stubbed,
    unchecked,
)
from tests.support.builders import (
    MINUTE_NOW,
    POOL,
    ecs_workload,
    metric,
    minutes_ago,
    plenty,
)

ONE_AT_A_TIME = ThreadPoolExecutor(1)
"""For answers that are written out in order."""
START, END = minutes_ago(5), minutes_ago(0)
QUERY = SeriesQuery(metric=metric(), statistic="Maximum", period_s=60)


def point(index: int = 0, namespace: str = "Sluice", name: str = BACKLOG_PER_INSTANCE) -> DataPoint:
    of = Metric(namespace=namespace, name=name, dimensions={"AutoScalingGroupName": str(index)})
    return DataPoint(metric=of, at=MINUTE_NOW, value=index)


def both(index: int) -> list[DataPoint]:
    return [point(index), point(index, name=EFFECTIVE_BACKLOG_PER_INSTANCE)]


def datum(index: int, name: str = BACKLOG_PER_INSTANCE) -> dict[str, Any]:
    return {
        "MetricName": name,
        "Dimensions": [{"Name": "AutoScalingGroupName", "Value": str(index)}],
        "Timestamp": MINUTE_NOW,
        "Value": index,
        "Unit": "Count",
    }


def put_both(*indices: int, answer: Mapping[str, Any] | None = None) -> Call:
    data = [
        datum(index, name)
        for index in indices
        for name in (BACKLOG_PER_INSTANCE, EFFECTIVE_BACKLOG_PER_INSTANCE)
    ]
    return ("put_metric_data", {"Namespace": "Sluice", "MetricData": data}, answer or {})


def put(*indices: int, answer: Mapping[str, Any] | None = None, namespace: str = "Sluice") -> Call:
    parameters = {"Namespace": namespace, "MetricData": [datum(index) for index in indices]}
    return ("put_metric_data", parameters, answer if answer is not None else {})


def result(query_id: str, values: Mapping[datetime, float], status: str = "Complete") -> dict[str, Any]:
    return {
        "Id": query_id,
        "Label": query_id,
        "Timestamps": list(values),
        "Values": list(values.values()),
        "StatusCode": status,
    }


def get(*results: Mapping[str, Any], token: str = "", more: str = "") -> Call:
    parameters = {
        "MetricDataQueries": ANY,
        "StartTime": START,
        "EndTime": END,
        "ScanBy": "TimestampAscending",
    }
    answer = {"MetricDataResults": list(results)} | ({"NextToken": more} if more else {})
    return ("get_metric_data", parameters | ({"NextToken": token} if token else {}), answer)


class TestPublish:
    def test_a_thousand_and_one_points_are_two_calls(self) -> None:
        points = {f"w{index}": [point(index)] for index in range(1001)}
        with stubbed("cloudwatch", put(*range(1000)), put(1000)) as client:
            assert CloudWatchMetrics(lambda: client, POOL).publish(points) == {}

    def test_a_refused_batch_names_its_own_workloads_alone(self) -> None:
        points = {f"w{index}": [point(index)] for index in range(1001)}
        calls = [put(*range(1000), answer=refusal("Throttling", "slow down")), put(1000)]
        with stubbed("cloudwatch", *calls) as client:
            refused = CloudWatchMetrics(lambda: client, POOL).publish(points)
        assert set(refused) == {f"w{index}" for index in range(1000)}
        assert set(refused.values()) == {
            "PutMetricData of 1000 points to Sluice: AWS answered Throttling: slow down"
        }

    def test_both_points_of_a_workload_are_in_one_call_of_a_thousand_at_most(self) -> None:
        points = {f"w{index}": both(index) for index in range(501)}
        with stubbed("cloudwatch", put_both(*range(500)), put_both(500)) as client:
            assert CloudWatchMetrics(lambda: client, POOL).publish(points) == {}

    def test_the_two_points_of_a_workload_are_refused_together(self) -> None:
        points = {f"w{index}": both(index) for index in range(501)}
        calls = [put_both(*range(500)), put_both(500, answer=refusal("Throttling", "slow down"))]
        with stubbed("cloudwatch", *calls) as client:
            assert CloudWatchMetrics(lambda: client, POOL).publish(points) == {
                "w500": "PutMetricData of 2 points to Sluice: AWS answered Throttling: slow down"
            }

    def test_the_two_points_of_a_workload_are_never_split_over_two_calls(self) -> None:
        points = {f"w{index}": both(index) if index % 2 else [point(index)] for index in range(600)}
        calls_: list[list[str]] = []
        with unchecked("cloudwatch") as client:
            client._make_api_call = lambda operation, parameters: calls_.append(
                [datum["Dimensions"][0]["Value"] for datum in parameters["MetricData"]]
            )
            assert CloudWatchMetrics(lambda: client, POOL).publish(points) == {}
        assert [len(call) for call in calls_] == [750, 150]
        assert not set(calls_[0]) & set(calls_[1])

    def test_each_namespace_is_a_call_of_its_own(self) -> None:
        with unchecked("cloudwatch", PutMetricData={}) as client:
            calls_: list[tuple[str, int]] = []
            client._make_api_call = lambda operation, parameters: calls_.append(
                (parameters["Namespace"], len(parameters["MetricData"]))
            )
            CloudWatchMetrics(lambda: client, POOL).publish(
                {"a": [point(1)], "b": [point(2, "Other")], "c": [point(3, "Other")]}
            )
        assert sorted(calls_) == [("Other", 2), ("Sluice", 1)]

    @pytest.mark.usefixtures("in_account")
    def test_the_point_that_arrives_carries_its_minute_its_dimensions_and_its_value(self) -> None:
        client = account.client("cloudwatch")
        at = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=3)
        of = metric(**ecs_workload().fleet.dimensions)
        CloudWatchMetrics(lambda: client, POOL).publish(
            {"queue-proc": [DataPoint(metric=of, at=at, value=4.5)]}
        )
        found = client.get_metric_statistics(
            Namespace="Sluice",
            MetricName="BacklogPerInstance",
            Dimensions=[
                {"Name": "ClusterName", "Value": "workers"},
                {"Name": "ServiceName", "Value": "queue-proc"},
            ],
            StartTime=at - timedelta(minutes=5),
            EndTime=at + timedelta(minutes=5),
            Period=60,
            Statistics=["Maximum", "SampleCount"],
        )["Datapoints"]
        assert [(one["Timestamp"], one["Maximum"], one["SampleCount"], one["Unit"]) for one in found] == [
            (at, 4.5, 1, "Count")
        ]


class TestRead:
    def test_a_query_uses_the_documents_metric_and_statistic(self) -> None:
        query_ = {
            "Id": "q0",
            "MetricStat": {
                "Metric": {
                    "Namespace": "Sluice",
                    "MetricName": "BacklogPerInstance",
                    "Dimensions": [{"Name": "AutoScalingGroupName", "Value": "transcription"}],
                },
                "Period": 60,
                "Stat": "Maximum",
            },
        }
        method, parameters, answer = get(result("q0", {minutes_ago(2): 0.0, minutes_ago(1): 4.0}))
        call = (method, {**parameters, "MetricDataQueries": [query_]}, answer)
        with stubbed("cloudwatch", call) as client:
            series = CloudWatchMetrics(lambda: client, POOL).read(
                {"transcription": QUERY}, START, END, plenty
            )
        assert series == {"transcription": {minutes_ago(2): 0.0, minutes_ago(1): 4.0}}

    def test_five_hundred_and_one_queries_are_two_calls(self) -> None:
        queries = {f"w{index}": QUERY for index in range(501)}
        first = get(*(result(f"q{index}", {minutes_ago(1): index}) for index in range(500)))
        with stubbed("cloudwatch", first, get(result("q0", {minutes_ago(1): 500}))) as client:
            series = CloudWatchMetrics(lambda: client, ONE_AT_A_TIME).read(queries, START, END, plenty)
        assert series == {f"w{index}": {minutes_ago(1): index} for index in range(501)}

    def test_every_page_of_an_answer_is_read_and_joined(self) -> None:
        calls = [
            get(
                result("q0", {minutes_ago(3): 1}, "PartialData"),
                result("q1", {minutes_ago(3): 7}),
                more="page-2",
            ),
            get(result("q0", {minutes_ago(2): 2}, "PartialData"), token="page-2", more="page-3"),
            get(result("q0", {minutes_ago(1): 3}), token="page-3"),
        ]
        with stubbed("cloudwatch", *calls) as client:
            series = CloudWatchMetrics(lambda: client, POOL).read(
                {"a": QUERY, "b": QUERY}, START, END, plenty
            )
        assert series == {
            "a": {minutes_ago(3): 1, minutes_ago(2): 2, minutes_ago(1): 3},
            "b": {minutes_ago(3): 7},
        }

    @pytest.mark.parametrize("status", ["InternalError", "Forbidden"])
    def test_a_query_that_cloudwatch_could_not_answer_is_unknown_and_the_others_are_read(
        self, status: str
    ) -> None:
        call = get(result("q0", {}, status), result("q1", {minutes_ago(1): 3}))
        with stubbed("cloudwatch", call) as client:
            series = CloudWatchMetrics(lambda: client, POOL).read(
                {"a": QUERY, "b": QUERY}, START, END, plenty
            )
        unknown = series["a"]
        assert isinstance(unknown, Unknown)
        assert unknown.reason.startswith(f"GetMetricData answered {status} for ")
        assert series["b"] == {minutes_ago(1): 3}

    def test_a_refused_call_is_unknown_for_its_own_queries_alone(self) -> None:
        queries = {f"w{index}": QUERY for index in range(501)}
        method, parameters, _ = get()
        calls = [
            (method, parameters, refusal("Throttling", "slow down")),
            get(result("q0", {minutes_ago(1): 9})),
        ]
        with stubbed("cloudwatch", *calls) as client:
            series = CloudWatchMetrics(lambda: client, ONE_AT_A_TIME).read(queries, START, END, plenty)
        throttled = Unknown(reason="GetMetricData of 500 queries: AWS answered Throttling: slow down")
        assert all(series[f"w{index}"] == throttled for index in range(500))
        assert series["w500"] == {minutes_ago(1): 9}

    @pytest.mark.parametrize(
        "answer",
        [
            {},
            {"MetricDataResults": [{"Id": "q0", "StatusCode": "Complete"}]},
            {"MetricDataResults": [result("q9", {})]},
            {"MetricDataResults": [result("q0", {minutes_ago(1): 1}) | {"Values": [1.0, 2.0]}]},
        ],
    )
    def test_a_malformed_answer_is_unknown_and_never_a_number(self, answer: Mapping[str, Any]) -> None:
        with unchecked("cloudwatch", GetMetricData=answer) as client:
            series = CloudWatchMetrics(lambda: client, POOL).read({"a": QUERY}, START, END, plenty)["a"]
        assert isinstance(series, Unknown)
        assert "AWS's answer cannot be read" in series.reason
