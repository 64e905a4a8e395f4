"""`sluice history` writes a trace and durations from CloudWatch, here moto."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import botocore.client
import pytest
from moto import mock_aws

from sluice_cli import history
from sluice_operator import history as queue_reads
from sluice_operator.core import queue_history
from sluice_sim.workloads import (
    service_times,
    traces,
)
from tests.support.builders import document

NOW = datetime(2026, 1, 15, 12, 7, 30, tzinfo=UTC)
SENT_AT = NOW.replace(second=0)


class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


@pytest.fixture
def cloudwatch(monkeypatch):
    monkeypatch.setattr(history, "datetime", Clock)
    with mock_aws():
        yield boto3.client("cloudwatch", region_name="eu-west-1")


def send(cloudwatch, minutes_ago, count, queue="transcription"):
    """Messages sent in a minute; SQS publishes 0 for a minute in which none were."""
    datum = {
        "MetricName": "NumberOfMessagesSent",
        "Dimensions": [{"Name": "QueueName", "Value": queue}],
        "Timestamp": SENT_AT - timedelta(minutes=minutes_ago),
        "Value": count,
    }
    cloudwatch.put_metric_data(Namespace="AWS/SQS", MetricData=[datum])


def process(cloudwatch, minutes_ago, *seconds):
    datum = {
        "MetricName": "MsgProcessingDuration",
        "Dimensions": [{"Name": "AutoScalingGroupName", "Value": "transcription"}],
        "Timestamp": SENT_AT - timedelta(minutes=minutes_ago),
    }
    cloudwatch.put_metric_data(
        Namespace="Sluice", MetricData=[{**datum, "Value": value} for value in seconds]
    )


def test_sent_messages_become_a_trace_minute_by_minute(sluice, cloudwatch, tmp_path):
    for minutes_ago in range(6, 41):
        send(cloudwatch, minutes_ago, 0)
    send(cloudwatch, 30, 12)
    send(cloudwatch, 30, 3)
    send(cloudwatch, 10, 5)
    send(cloudwatch, 10, 70, queue="another")
    send(cloudwatch, 3, 8)  # too new to be counted in full
    path = tmp_path / "a.csv"
    result = sluice("history", "transcription", "--days", 1, "--out", path)
    assert result.stdout == f"{path}: 20 messages in 35 intervals of 60 s\n", result.stderr
    assert result.stderr == ""
    trace = traces.read(path)
    begin = SENT_AT - timedelta(minutes=40)
    assert (trace.interval_s, trace.start_s, trace.arrivals.size) == (60.0, begin.timestamp(), 35)
    sent = {int(minute): int(trace.arrivals[minute]) for minute in trace.arrivals.nonzero()[0]}
    assert sent == {40 - 30: 15, 40 - 10: 5}


def test_a_short_gap_is_filled_a_long_one_cuts_and_only_a_silence_is_zero(sluice, cloudwatch, tmp_path):
    filled, long, silent = range(70, 74), range(110, 140), range(200, 800)
    for minutes_ago in range(6, 900):
        if not any(minutes_ago in gap for gap in (filled, long, silent)):
            send(cloudwatch, minutes_ago, 4 if minutes_ago < 200 else 0)
    path = tmp_path / "a.csv"
    result = sluice("history", "transcription", "--days", 1, "--out", path)
    assert result.exit_code == 0, result.stderr
    trace = traces.read(path)
    assert trace.arrivals.tolist() == [0] * 700 + [4] * 60, "the silence, and all up to the long gap"
    assert "CloudWatch has no value of the queue from 01-15 09:48 to 01-15 10:18 UTC" in result.stderr
    assert "SQS was silent 1 time, for 10.0 hours" in result.stderr
    for minutes_ago in long:
        send(cloudwatch, minutes_ago, 4)
    result = sluice("history", "transcription", "--days", 1, "--out", path)
    assert traces.read(path).arrivals.tolist() == [0] * 700 + [4] * 194
    assert "4 minutes without a value were filled with the mean" in result.stderr


@pytest.mark.parametrize(("days", "period_s"), [(15, 60), (16, 300), (63, 300), (64, 3600), (455, 3600)])
def test_the_period_is_the_finest_that_cloudwatch_still_has(sluice, monkeypatch, tmp_path, days, period_s):
    requested = {}

    def read(self, queries, since, until, remaining_s):
        requested.update(queries=queries, since=since, until=until)
        values = [4.0, 1.0] + [0.0] * (int((until - since).total_seconds()) // period_s - 2)
        return {
            name: {since + timedelta(seconds=period_s * place): value for place, value in enumerate(values)}
            for name in queries
        }

    monkeypatch.setattr(history.CloudWatchMetrics, "read", read)
    result = sluice("history", "transcription", "--days", days, "--out", tmp_path / "a.csv")
    assert result.exit_code == 0, result.stderr
    assert {query.period_s for query in requested["queries"].values()} == {period_s}
    assert requested["queries"]["sent"].statistic == "Sum"
    assert requested["until"] - requested["since"] == timedelta(days=days)
    assert requested["since"].timestamp() % period_s == 0
    trace = traces.read(tmp_path / "a.csv")
    assert (trace.interval_s, trace.arrivals[:3].tolist()) == (period_s, [4, 1, 0])


def test_more_days_than_cloudwatch_keeps_are_rejected(sluice, tmp_path):
    result = sluice("history", "transcription", "--days", 456)
    assert result.exit_code == 2
    assert "456 is not in the range 1<=x<=455" in result.stderr


def test_every_page_is_read(sluice, monkeypatch, tmp_path):
    pages = {
        None: ([datetime(2026, 1, 15, 11, 0, tzinfo=UTC)], [2.0], "more"),
        "more": ([datetime(2026, 1, 15, 11, 1, tzinfo=UTC)], [3.0], None),
    }

    def call(self, operation, arguments):
        assert operation == "GetMetricData", "it takes no other permission"
        times, values, token = pages[arguments.get("NextToken")]
        answer = {"Id": "q0", "Timestamps": times, "Values": values, "StatusCode": "Complete"}
        return {"MetricDataResults": [answer]} | ({"NextToken": token} if token else {})

    monkeypatch.setattr(history, "datetime", Clock)
    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    result = sluice("history", "transcription", "--days", 1, "--out", tmp_path / "a.csv")
    assert ": 5 messages in" in result.stdout, result.stderr


def test_durations_are_weighted_by_their_hours_messages(sluice, cloudwatch, tmp_path, monkeypatch):
    monkeypatch.setattr(queue_reads, "PERCENTILES", [])
    monkeypatch.setattr(queue_history, "PERCENTILES", [])  # moto has none
    send(cloudwatch, 10, 5)
    process(cloudwatch, 200, 2.0, 2.0, 2.0)
    process(cloudwatch, 100, 8.0)
    path = tmp_path / "d.csv"
    result = sluice(
        "history", "transcription", "--days", 1, "--out", tmp_path / "a.csv", "--durations-out", path
    )
    assert result.exit_code == 0, result.stderr
    durations = service_times.read(path)
    by_length = {
        seconds: durations.messages[durations.seconds == seconds].sum() for seconds in set(durations.seconds)
    }
    assert by_length == pytest.approx({2.0: 3.0, 8.0: 1.0})


def test_percentiles_become_twenty_rows_per_hour(sluice, monkeypatch, tmp_path):
    hour = datetime(2026, 1, 15, 11, tzinfo=UTC)

    def read(self, queries, since, until, remaining_s):
        values = {"Sum": 9.0, "Maximum": 9.0, "SampleCount": 60.0, "Average": 5.0}
        return {
            name: {hour: values.get(query.statistic) or float(query.statistic.removeprefix("p"))}
            for name, query in queries.items()
        }

    monkeypatch.setattr(history, "datetime", Clock)
    monkeypatch.setattr(history.CloudWatchMetrics, "read", read)
    path = tmp_path / "d.csv"
    sluice("history", "transcription", "--days", 1, "--out", tmp_path / "a.csv", "--durations-out", path)
    durations = service_times.read(path)
    assert durations.seconds.tolist() == [2.5 + 5 * part for part in range(20)]
    assert set(durations.messages) == {3.0}


def test_a_document_names_the_metric_its_workers_publish(sluice, cloudwatch, tmp_path):
    described = document("transcription", duration_metric={"namespace": "Else", "dimensions": {"App": "x"}})
    file = tmp_path / "w.json"
    file.write_text(json.dumps(described))
    send(cloudwatch, 10, 5)
    process(cloudwatch, 100, 8.0)
    result = sluice("history", file, "--days", 1, "--out", tmp_path / "a", "--durations-out", tmp_path / "d")
    assert result.exit_code == 2
    assert "no MsgProcessingDuration with {'App': 'x'} in Else" in result.stderr


def test_a_queue_without_messages_makes_no_trace(sluice, cloudwatch, tmp_path):
    result = sluice("history", "transcription", "--out", tmp_path / "a.csv")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no message sent to queue transcription in the last 14 days" in result.stderr
    assert not (tmp_path / "a.csv").exists()


def test_an_aws_error_is_one_line(sluice, monkeypatch, tmp_path):
    def call(self, operation, arguments):
        raise botocore.exceptions.NoCredentialsError

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    result = sluice("history", "transcription", "--out", tmp_path / "a.csv")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: GetMetricData of 3 queries: Unable to locate credentials; check the network, the region, and "
        "that your credentials (AWS_PROFILE) allow cloudwatch:GetMetricData\n"
    )


@pytest.mark.parametrize(
    ("variables", "printed", "way_out"),
    [
        ({}, "You must specify a region", "give --region"),
        ({"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found", "your profiles (none)"),
        ({"AWS_DEFAULT_REGION": ""}, "You must specify a region", "give --region"),
        (
            {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "localhost"},
            "Invalid endpoint: localhost",
            "AWS_ENDPOINT_URL take a URL",
        ),
        (
            {"AWS_REGION": "eu-west-1", "AWS_MAX_ATTEMPTS": "x"},
            "invalid literal for int() with base 10: 'x'",
            "look at your AWS_... variables",
        ),
    ],
    ids=["no region", "no such profile", "an empty region", "no endpoint", "no number of attempts"],
)
def test_a_missing_aws_configuration_is_reported_with_the_way_out(
    sluice, monkeypatch, tmp_path, variables, printed, way_out
):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    result = sluice("history", "transcription", "--out", tmp_path / "arrivals.csv")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(f"Error: your AWS configuration: {printed}")
    assert way_out in result.stderr


@pytest.mark.parametrize(
    ("options", "variables", "expected"),
    [
        (
            ["--region", "eu-west-3"],
            {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"},
            "eu-west-3",
        ),
        ([], {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        ([], {"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ([], {"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ([], {"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ([], {}, "eu-west-9"),
    ],
    ids=["option", "both", "AWS_REGION", "empty", "AWS_DEFAULT_REGION", "profile"],
)
def test_the_region_comes_from_the_option_then_aws_region_then_boto3(
    sluice, monkeypatch, tmp_path, options, variables, expected
):
    """boto3 is the only AWS SDK that ignores AWS_REGION."""
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-west-9\n", encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    requested = []

    def call(client, operation, parameters):
        requested.append(client.meta.region_name)
        return {"MetricDataResults": []}

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    sluice("history", "transcription", "--out", tmp_path / "a.csv", *options)
    assert set(requested) == {expected}


def test_the_trace_and_the_durations_need_two_files(sluice, tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    for other in ("a.csv", "link.csv", "./a.csv"):
        written = ("--out", tmp_path / "a.csv", "--durations-out", f"{tmp_path}/{other}")
        result = sluice("history", "transcription", *written)
        assert result.exit_code == 2
        assert "--out and --durations-out name the same file: give two names" in result.stderr
