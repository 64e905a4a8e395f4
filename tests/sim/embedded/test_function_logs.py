"""The functions' logs are read through boto3 as at AWS: log groups, events, Logs Insights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import TRANSCRIPTION
from tests.sim.embedded.test_embedded import ROOT, wait

TICKS = "/aws/lambda/sluice/publish_backlog"
ALARMS = "/aws/lambda/sluice/bootstrap"
DECISIONS = "fields @timestamp, @message | filter ispresent(decision)"


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    """Five minutes of a workload whose messages wait."""
    with embedded_aws(ROOT) as account:
        Demo(account, ROOT).add_workload(TRANSCRIPTION)
        url = account.sqs.get_queue_url(QueueName="transcription")["QueueUrl"]
        account.sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"duration_s": 600}))
        wait(account, 300)
        yield account


def start(aws: EmbeddedAws, text: str, groups: tuple[str, ...] = (TICKS, ALARMS), **more: Any) -> Any:
    span = {"startTime": int(aws.clock.now - 300), "endTime": int(aws.clock.now)}
    return boto3.client("logs").start_query(logGroupNames=list(groups), queryString=text, **span | more)


def rows(query: Any) -> list[dict[str, str]]:
    logs = boto3.client("logs")
    while (answer := logs.get_query_results(queryId=query["queryId"]))["status"] == "Running":
        assert answer["results"] == []
    assert answer["status"] == "Complete"
    return [{cell["field"]: cell["value"] for cell in row} for row in answer["results"]]


def test_the_log_groups_are_those_of_the_template_with_their_retention(aws: EmbeddedAws) -> None:
    groups = boto3.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/sluice/")["logGroups"]
    names = {group["logGroupName"]: group["retentionInDays"] for group in groups}
    assert {TICKS, ALARMS} <= names.keys()
    assert set(names.values()) == {30}


def test_a_query_runs_then_completes_with_the_lines_of_several_groups(aws: EmbeddedAws) -> None:
    query = start(aws, DECISIONS)
    assert boto3.client("logs").get_query_results(queryId=query["queryId"])["status"] == "Running"
    found = rows(query)
    messages = [json.loads(row["@message"]) for row in found]
    assert "bootstrap 0 -> 1: work waits and nothing runs" in [line["message"] for line in messages]
    assert {line["service"] for line in messages} >= {"publish_backlog", "bootstrap"}
    assert all(row["@timestamp"].startswith("2026-01-15 12:2") and row["@ptr"] for row in found)
    assert [row["@timestamp"] for row in found] == sorted((row["@timestamp"] for row in found), reverse=True)


def test_a_query_reads_only_its_span_and_no_more_than_its_limit(aws: EmbeddedAws) -> None:
    everything = rows(start(aws, "fields @message"))
    assert len(rows(start(aws, "fields @message", limit=2))) == 2
    early = rows(start(aws, "fields @message", endTime=int(aws.clock.now - 200)))
    assert 0 < len(early) < len(everything)


def test_a_query_of_a_time_before_the_log_groups_were_made_is_malformed(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="before the log groups creation time") as refused:
        start(aws, "fields @message", startTime=0, endTime=1)
    assert refused.value.response["Error"]["Code"] == "MalformedQueryException"


def test_a_query_of_an_unknown_log_group_is_refused(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError) as refused:
        start(aws, DECISIONS, groups=(TICKS, "/aws/lambda/other"))
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert "/aws/lambda/other" in str(refused.value)


def test_a_query_that_is_not_understood_is_malformed_and_says_where(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="parse") as refused:
        start(aws, "parse @message '*' as all")
    assert refused.value.response["Error"]["Code"] == "MalformedQueryException"


def test_a_query_that_is_stopped_has_no_results(aws: EmbeddedAws) -> None:
    logs, query = boto3.client("logs"), start(aws, DECISIONS)
    assert logs.stop_query(queryId=query["queryId"])["success"] is True
    answer = logs.get_query_results(queryId=query["queryId"])
    assert (answer["status"], answer["results"]) == ("Cancelled", [])
    with pytest.raises(ClientError, match="ResourceNotFound"):
        logs.get_query_results(queryId="12345678-0000-0000-0000-000000000000")


def test_the_lines_are_events_too_as_a_tail_reads_them(aws: EmbeddedAws) -> None:
    events = boto3.client("logs").filter_log_events(logGroupName=TICKS)["events"]
    newest = json.loads(events[-1]["message"])
    assert newest["service"] == "publish_backlog"
    assert aws.clock.now - 60 <= events[-1]["timestamp"] / 1000 <= aws.clock.now


def test_a_query_that_has_ended_cannot_be_stopped(aws: EmbeddedAws) -> None:
    query = start(aws, DECISIONS)
    rows(query)
    with pytest.raises(ClientError, match="not running"):
        boto3.client("logs").stop_query(queryId=query["queryId"])


def test_a_query_whose_end_is_before_its_start_is_refused(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="less than start time"):
        start(aws, DECISIONS, endTime=int(aws.clock.now - 301))


def test_a_query_reads_at_most_fifty_log_groups(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="51 log groups"):
        start(aws, DECISIONS, groups=(TICKS,) * 51)
