"""Every metric, alarm and log line on a workload's dashboard is one that something really publishes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import boto3
import pytest

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.aws_rules.dashboards import Widget, widgets
from sluice_sim.embedded import dashboards
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import PHOTO_IMPORT, QUEUE_PROC, TRANSCRIPTION
from sluice_sim.embedded.server import http_endpoint
from sluice_sim.embedded.timeline import SteadyArrivals
from sluice_sim.embedded.workers import Assignment, SimulatedWorkers
from sluice_worker.core.model import Outcome
from tests.scenarios.conftest import ROOT
from tests.support import grafana
from tests.templates.test_optional_alarms import EVERY as EVERY_ALARM

pytestmark = pytest.mark.slow

ARRIVAL = 8
"""Minute: by then the shutdown alarm has rung over an empty queue."""
MINUTES = 20
GROUP = replace(TRANSCRIPTION, bursts={ARRIVAL: 30}, boot_s=60)
SERVICE = replace(QUEUE_PROC, steady=SteadyArrivals(first=1, last=MINUTES, per_minute=30))
ENGINE = replace(PHOTO_IMPORT, bursts={ARRIVAL: 60}, boot_s=60)
WORKLOADS = {"group": GROUP, "service": SERVICE, "deadline engine": ENGINE}
NOT_SHOWN = {
    "NumberOfMessagesReceived",  # a message that is received again counts again
    "MsgProcessingDuration",  # all messages are shown by Outcome; the successes alone are the engines' input
}

Key = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name and dimensions: what makes a metric."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """The account after the run, with each workload's dashboard as it was deployed."""

    aws: EmbeddedAws
    bodies: Mapping[str, str]
    published: frozenset[Key]


def _with_waits(aws: EmbeddedAws, assignment: Assignment) -> SimulatedWorkers:
    """Workers that run with --publish-wait."""
    return SimulatedWorkers(aws, replace(assignment, publishes_waits=True))


def _send(aws: EmbeddedAws, queue: str, outcome: Outcome, delay_s: int) -> None:
    body = json.dumps({"duration_s": 1, "outcome": outcome.value})
    url = aws.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    aws.sqs.send_message(QueueUrl=url, MessageBody=body, DelaySeconds=delay_s)


def _published(aws: EmbeddedAws) -> frozenset[Key]:
    aws.flush_metrics()
    pages = aws.cloudwatch.get_paginator("list_metrics").paginate()
    return frozenset(
        (
            each["Namespace"],
            each["MetricName"],
            frozenset((one["Name"], one["Value"]) for one in each["Dimensions"]),
        )
        for page in pages
        for each in page["Metrics"]
    )


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    with embedded_aws(ROOT) as aws:
        demo = Demo(aws, ROOT, worker_factory=_with_waits)
        for scenario in WORKLOADS.values():
            demo.add_workload(scenario, EVERY_ALARM | {"Dashboard": "true"})
            for outcome, delay_s in ((Outcome.FAILURE, 0), (Outcome.TIMEOUT, 0), (Outcome.SUCCESS, 120)):
                send = partial(_send, aws, scenario.name, outcome, delay_s)
                aws.clock.at(aws.clock.now + (ARRIVAL + 1) * 60, send)
        minutes = demo.minutes()
        for _ in range(MINUTES):
            next(minutes)
        yield Played(
            aws=aws,
            bodies={
                kind: dashboards.body(aws.cloudwatch, f"sluice-{scenario.name}-{REGION}")
                for kind, scenario in WORKLOADS.items()
            },
            published=_published(aws),
        )


def _keys(shown: tuple[Widget, ...]) -> frozenset[Key]:
    return frozenset(
        (line.metric.namespace, line.metric.name, frozenset(line.metric.dimensions))
        for widget in shown
        for line in widget.lines
        if line.metric
    )


def _unpublished(played: Played, body: str) -> frozenset[Key]:
    return _keys(widgets(body)) - played.published


@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_metric_on_the_dashboard_is_published_inputs_of_expressions_included(
    played: Played, kind: str
) -> None:
    assert len(_keys(widgets(played.bodies[kind]))) > 15
    assert _unpublished(played, played.bodies[kind]) == frozenset()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"AWS/SQS", "NumberOfMessagesSent"', '"AWS/SQS", "NumberOfMessageSent"'),
        ('"AWS/AutoScaling", "GroupPendingInstances"', '"AWS/EC2", "GroupPendingInstances"'),
        ('"Sluice", "MsgWaitDuration"', '"sluice", "MsgWaitDuration"'),
        ('"Outcome", "failure"', '"Outcome", "failed"'),
        ('"Outcome", "timeout"', '"outcome", "timeout"'),
        ('"service", "deadline_tick"', '"service", "deadline-tick"'),
        ('"QueueName", "photo-import"', '"QueueName", "photos"'),
        ('"AutoScalingGroupName", "photo-import"', '"GroupName", "photo-import"'),
    ],
)
def test_a_wrong_namespace_name_or_dimension_is_no_metric_that_anything_publishes(
    played: Played, right: str, wrong: str
) -> None:
    body = played.bodies["deadline engine"]
    assert right in body
    assert _unpublished(played, body.replace(right, wrong))


@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_line_that_is_drawn_has_values(played: Played, kind: str) -> None:
    aws = played.aws
    empty = [
        (widget.title, line.label)
        for widget in widgets(played.bodies[kind])
        if widget.kind == "metric"
        for line, points in dashboards.drawn(
            aws.cloudwatch, widget, aws.clock.now - 3600 * 2, aws.clock.now
        ).items()
        if not points
    ]
    assert empty == []


@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_metric_of_the_workload_is_on_its_dashboard(played: Played, kind: str) -> None:
    """The queue's and the fleet's own; those that are left out are named, each with its reason."""
    shown = _keys(widgets(played.bodies[kind]))
    about = {
        dimension
        for namespace, _, dimensions in shown
        if not namespace.endswith("/ControlPlane")
        for dimension in dimensions
        if dimension[0] in ("QueueName", "AutoScalingGroupName", "ServiceName")
    }
    of_workload = {key for key in played.published if key[2] & about}
    assert {name for _, name, _ in of_workload - shown} <= NOT_SHOWN


@pytest.mark.parametrize("kind", WORKLOADS)
def test_it_shows_the_state_of_every_alarm_of_the_workload(played: Played, kind: str) -> None:
    [shown] = [widget for widget in widgets(played.bodies[kind]) if widget.kind == "alarm"]
    prefix = f"sluice-{WORKLOADS[kind].name}-"
    described = played.aws.cloudwatch.describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
    assert sorted(shown.alarms) == sorted(alarm["AlarmArn"] for alarm in described)
    assert all(arn.startswith(f"arn:aws:cloudwatch:{REGION}:{ACCOUNT_ID}:alarm:") for arn in shown.alarms)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_its_table_lists_the_decisions_about_the_workload_alone(played: Played, kind: str) -> None:
    [table] = [widget for widget in widgets(played.bodies[kind]) if widget.kind == "log"]
    rows = dashboards.rows(table, played.aws.clock.now - 3600 * 2, played.aws.clock.now)
    assert rows
    wanted = {"@timestamp", "decision", "outcome", "reason", "message"}
    assert all(wanted <= row.keys() for row in rows)
    name = WORKLOADS[kind].name
    decided = [
        line.record
        for line in played.aws.log
        if line.record.get("workload") == name and "decision" in line.record
    ]
    assert len(rows) == min(len(decided), 50)
    assert {row["message"] for row in rows} <= {record["message"] for record in decided}


def test_only_the_workload_that_asks_for_it_has_a_dashboard(played: Played) -> None:
    listed: list[Any] = played.aws.cloudwatch.list_dashboards()["DashboardEntries"]
    assert sorted(each["DashboardName"] for each in listed) == sorted(
        f"sluice-{scenario.name}-{REGION}" for scenario in WORKLOADS.values()
    )


# ---- Grafana, over HTTP ----


GRAFANA = {
    "group": "grafana-asg-target-tracking.json",
    "service": "grafana-ecs-target-tracking.json",
    "deadline engine": "grafana-asg-deadline.json",
}
"""The workload's kind -> its dashboard; that of a service with deadlines asks for what these two do."""


def _chosen(kind: str) -> dict[str, str]:
    """What an operator chooses for each variable."""
    name = WORKLOADS[kind].name
    numbers = ("promise_seconds", "processing_seconds", "concurrency", "target", "max_capacity")
    return dict.fromkeys((*numbers, "alarm_age_seconds"), "1") | {
        "datasource": "sluice-cloudwatch",
        "region": REGION,
        "control_plane": "sluice",
        "namespace": "Sluice",
        "workload": name,
        "queue": name,
        "group": name,
        "cluster": "workers",
        "service": name,
    }


def _without_values(played: Played, endpoint: str, kind: str, text: str) -> list[tuple[str, str]]:
    """Title and id of each line of the dashboard for which AWS has no value."""
    found = []
    start, end = (datetime.fromtimestamp(played.aws.clock.now - ago_s, UTC) for ago_s in (7200, 0))
    for panel in grafana.panels(json.loads(text), _chosen(kind)):
        asked = grafana.request(panel, start, end)
        values, other = (grafana.ask(endpoint, asked, protocol) for protocol in grafana.PROTOCOLS)
        assert other == values
        shown = {target["id"] for target in panel["targets"] if not target["hide"]}
        assert values.keys() == shown
        found += [(panel["title"], name) for name in shown if not values[name]]
    return found


@pytest.fixture(scope="module")
def endpoint(played: Played) -> Iterator[str]:
    with http_endpoint() as url:
        yield url


@pytest.mark.parametrize("kind", GRAFANA)
def test_every_line_of_grafanas_dashboard_gets_values_over_http(
    played: Played, endpoint: str, kind: str
) -> None:
    text = (ROOT / "examples" / GRAFANA[kind]).read_text(encoding="utf-8")
    assert _without_values(played, endpoint, kind, text) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"metricName": "NumberOfMessagesSent"', '"metricName": "NumberOfMessageSent"'),
        ('"namespace": "${namespace}"', '"namespace": "sluice"'),
        ('"metricName": "MsgWaitDuration"', '"metricName": "MsgWait"'),
        ('"QueueName": "${queue}"', '"Queue": "${queue}"'),
    ],
)
def test_a_line_that_asks_for_what_nobody_publishes_gets_none(
    played: Played, endpoint: str, right: str, wrong: str
) -> None:
    text = (ROOT / "examples" / GRAFANA["group"]).read_text(encoding="utf-8")
    assert right in text
    assert _without_values(played, endpoint, "group", text.replace(right, wrong))


@pytest.mark.parametrize("kind", GRAFANA)
def test_the_values_of_grafanas_variables_are_listed_over_http(
    played: Played, endpoint: str, kind: str
) -> None:
    """As the data source does for a list of a dimension's values: by ListMetrics."""
    dashboard = json.loads((ROOT / "examples" / GRAFANA[kind]).read_text(encoding="utf-8"))
    client = boto3.client("cloudwatch", endpoint_url=endpoint)
    queries = [each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    listed = [each for each in queries if each["queryType"] == "dimensionValues"]
    assert listed
    for query in listed:
        pages = client.get_paginator("list_metrics").paginate(
            Namespace=query["namespace"], MetricName=query["metricName"]
        )
        values = {
            dimension["Value"]
            for page in pages
            for metric in page["Metrics"]
            for dimension in metric["Dimensions"]
            if dimension["Name"] == query["dimensionKey"]
        }
        assert values & set(_chosen(kind).values()), query["dimensionKey"]
