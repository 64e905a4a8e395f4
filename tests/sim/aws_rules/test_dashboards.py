"""A dashboard's body as CloudWatch reads it; what it would refuse, or read as another metric, is an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sluice_sim.aws_rules.dashboards import DashboardError, widgets

SENT = ["AWS/SQS", "NumberOfMessagesSent", "QueueName", "photos", {"id": "sent", "visible": False}]
AN_HOUR: list[Any] = [{"expression": "sent * 3600 / PERIOD(sent)", "id": "an_hour", "label": "sent"}]


def body(*metrics: list[Any], x: int = 0, width: int = 24, **more: Any) -> str:
    properties = {
        "title": "Rates",
        "region": "eu-west-1",
        "view": "timeSeries",
        "stacked": False,
        "period": 300,
        "stat": "Sum",
        "metrics": metrics or [AN_HOUR, SENT],
    }
    widget = {"type": "metric", "x": x, "y": 0, "width": width, "height": 6, "properties": properties | more}
    return json.dumps({"widgets": [widget]})


def test_a_metric_inherits_the_statistic_and_the_period_of_its_widget() -> None:
    [shown] = widgets(body())
    [expression, metric] = shown.lines
    assert (expression.expression, expression.visible) == ("sent * 3600 / PERIOD(sent)", True)
    assert metric.metric is not None
    assert (metric.metric.stat, metric.period_s, metric.visible) == ("Sum", 300, False)
    assert metric.metric.dimensions == (("QueueName", "photos"),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no JSON object with widgets"),
        ("[]", "no JSON object with widgets"),
        ('{"widgets": []}', "0 widgets"),
        (body([".", "NumberOfMessagesSent", "QueueName", "photos", {"id": "sent"}]), "not namespace, name"),
        (body(["AWS/SQS", "NumberOfMessagesSent", "QueueName", ".", {"id": "sent"}]), "not namespace, name"),
        (body(["AWS/SQS", "NumberOfMessagesSent", "QueueName", {"id": "sent"}]), "not namespace, name"),
        (body(SENT, SENT), "an id occurs twice"),
        (body(AN_HOUR), "reads sent, which is no id"),
        (body(*[SENT] * 501), "501 metrics"),
        (body(x=1), "leave the grid"),
        (body(sparkline=True), "sparkline is not played"),
    ],
)
def test_what_is_no_dashboard_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(DashboardError, match=why):
        widgets(text)


def test_more_alarms_than_a_widget_takes_are_refused() -> None:
    widget = {"type": "alarm", "x": 0, "y": 0, "width": 1, "height": 1}
    properties = {"title": "Alarms", "alarms": ["arn"] * 101}
    with pytest.raises(DashboardError, match="101 alarms"):
        widgets(json.dumps({"widgets": [widget | {"properties": properties}]}))
