"""The saved queries of Logs Insights, over the lines that workers and functions really write."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest

from sluice_sim.aws_rules.logs_insights import LogEvent, Query
from sluice_sim.embedded.cloud import embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import TRANSCRIPTION
from sluice_worker.core.counters import Counters
from sluice_worker.core.gauges import Gauges
from sluice_worker.core.model import Outcome
from sluice_worker.runtime.reporter import Reporter
from tests.templates import stacks

NOON = 1_768_478_400.0
IDLE = Gauges(buffered={}, buffer_use=0, pushed=0, popped=0, pollers=1, slots=1, busy=0, depths={})
FOLDER = "Sluice/sluice/"
WORKERS = ("Throughput of all workers", "Processing rate of each worker", "Share of failed messages")
DECISIONS = "Decisions by reason"


def saved() -> dict[str, Mapping[str, Any]]:
    """The saved queries by name, as CloudFormation makes them."""
    made = stacks.of_type(stacks.plane(), "AWS::Logs::QueryDefinition").values()
    return {query["Name"].removeprefix(FOLDER): query for query in made}


def reports(worker: str, minutes: list[tuple[int, int]]) -> Iterator[LogEvent]:
    """The lines of a worker that processed and failed so many messages in each minute from noon on."""
    counters, out = Counters(began_at=NOON), io.StringIO()
    reporter = Reporter(worker, counters, dict, None, gauges=lambda: IDLE, out=out)
    for number, (processed, failed) in enumerate(minutes, start=1):
        for outcome, count in ((Outcome.SUCCESS, processed), (Outcome.FAILURE, failed)):
            for _ in range(count):
                counters.record_end(outcome, 0.5)
        reporter.report(counters.close(NOON + 60 * number))
    for number, line in enumerate(out.getvalue().splitlines(), start=1):
        yield event(NOON + 60 * number, line)


def event(at: float, message: str) -> LogEvent:
    return LogEvent(at=at, message=message, group="123456789012:/ecs/workers/w", stream="w", pointer=str(at))


LOG = [
    *reports("a", [(60, 0), (30, 10), (0, 0), (0, 0), (60, 0), (12, 4)]),
    *reports("b", [(120, 0), (120, 20)]),
    event(NOON + 61, "2026-01-15 12:01:01,000 WARNING sluice_worker.aws.sqs receiving failed"),
    event(NOON + 62, json.dumps({"_aws": {"Timestamp": 1}, "MsgProcessingDuration": [0.5, 0.5]})),
]
ANSWERS: dict[str, list[dict[str, str]]] = {
    "Throughput of all workers": [
        {
            "bin(5m)": "2026-01-15 12:00:00.000",
            "messages": "330",
            "per_second": "1.1",
            "per_hour": "3960",
        },
        {"bin(5m)": "2026-01-15 12:05:00.000", "messages": "72", "per_second": "0.24", "per_hour": "864"},
    ],
    "Processing rate of each worker": [
        {"workerId": "a", "messages": "162", "per_second": "0.45"},
        {"workerId": "b", "messages": "240", "per_second": "2"},
    ],
    "Share of failed messages": [
        {
            "bin(5m)": "2026-01-15 12:00:00.000",
            "failed": "30",
            "succeeded": "330",
            "failed_percent": str(3000 / 360),
        },
        {
            "bin(5m)": "2026-01-15 12:05:00.000",
            "failed": "4",
            "succeeded": "72",
            "failed_percent": str(400 / 76),
        },
    ],
}


def test_the_queries_are_in_a_folder_of_their_own() -> None:
    made = stacks.of_type(stacks.plane(), "AWS::Logs::QueryDefinition").values()
    assert {query["Name"] for query in made} == {FOLDER + name for name in (*WORKERS, DECISIONS)}


@pytest.mark.parametrize("name", WORKERS)
def test_a_query_of_the_workers_gives_the_numbers_of_their_reports(name: str) -> None:
    query = saved()[name]
    assert "LogGroupNames" not in query, "the fleets' log groups are their owners'"
    assert Query.parse(query["QueryString"]).run(LOG) == ANSWERS[name]


@pytest.mark.parametrize("name", WORKERS)
def test_a_misspelt_field_changes_the_answer_of_a_query_of_the_workers(name: str) -> None:
    text = saved()[name]["QueryString"]
    fields = set(re.findall(r"report\.\w+|workerId", text))
    assert fields
    for field in fields:
        assert Query.parse(text.replace(field, f"{field}s")).run(LOG) != ANSWERS[name], field


def test_idle_workers_have_no_share_of_failed_messages() -> None:
    idle = list(reports("a", [(0, 0), (0, 0)]))
    assert Query.parse(saved()["Share of failed messages"]["QueryString"]).run(idle) == []


def test_the_query_of_the_decisions_counts_what_the_functions_have_logged() -> None:
    query = saved()[DECISIONS]
    with embedded_aws(stacks.ROOT) as aws:
        Demo(aws, stacks.ROOT).add_workload(TRANSCRIPTION)
        url = aws.sqs.get_queue_url(QueueName="transcription")["QueueUrl"]
        aws.sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"duration_s": 600}))
        aws.clock.run_until(aws.clock.now + 300)
        logs = boto3.client("logs")
        span = {"startTime": int(aws.clock.now - 300), "endTime": int(aws.clock.now)}
        query_id = logs.start_query(
            logGroupNames=query["LogGroupNames"], queryString=query["QueryString"], **span
        )["queryId"]
        while (answer := logs.get_query_results(queryId=query_id))["status"] == "Running":
            pass
        decided = [line.record for line in aws.log if "decision" in line.record]
    found = [{cell["field"]: cell["value"] for cell in row} for row in answer["results"]]
    keys = ("workload", "decision", "reason", "outcome")
    times = Counter(tuple(record[key] for key in keys) for record in decided)
    assert {tuple(row[key] for key in keys): int(row["times"]) for row in found} == times
    assert times["transcription", "bootstrap", "work_waits", "acted"] == 1
    messages = {record["message"] for record in decided}
    assert all(row["last"] in messages for row in found)


def test_the_query_of_the_decisions_reads_every_function_that_decides() -> None:
    """`send_test_messages` decides nothing, nor does the state machine itself, whose function does."""
    groups = stacks.of_type(stacks.plane(), "AWS::Logs::LogGroup").values()
    names = {group["LogGroupName"] for group in groups}
    silent = {"/aws/lambda/sluice/send_test_messages", "/aws/vendedlogs/states/sluice-switch"}
    assert set(saved()[DECISIONS]["LogGroupNames"]) == names - silent
