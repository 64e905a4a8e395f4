"""A dashboard of the embedded account as the console shows it: by its stored body and AWS's answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3

from sluice_sim.aws_rules.dashboards import Line, Widget
from sluice_sim.embedded.cloudwatch import data_query

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient


def body(cloudwatch: CloudWatchClient, name: str) -> str:
    """The dashboard's body as it was put."""
    return cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]


def drawn(
    cloudwatch: CloudWatchClient, widget: Widget, start: float, end: float
) -> Mapping[Line, Mapping[int, float]]:
    """The values of each line that the widget draws, by the start of their period (epoch seconds).

    The periods begin at the full hour, so that those of a minute and of an hour do.
    """
    queries: list[Any] = [_query(line) for line in widget.lines]
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=queries,
        StartTime=datetime.fromtimestamp(start // 3600 * 3600, UTC),
        EndTime=datetime.fromtimestamp(end, UTC),
        ScanBy="TimestampAscending",
    )
    found = {
        result["Id"]: {
            int(at.timestamp()): value
            for at, value in zip(result["Timestamps"], result["Values"], strict=True)
        }
        for result in answer["MetricDataResults"]
    }
    return {line: found[line.id] for line in widget.lines if line.visible}


def rows(widget: Widget, start: float, end: float) -> list[dict[str, str]]:
    """The rows of a log widget: field -> text."""
    logs = boto3.client("logs")
    query = logs.start_query(
        logGroupNames=list(widget.log_groups),
        startTime=int(start),
        endTime=int(end),
        queryString=widget.query,
    )
    while (answer := logs.get_query_results(queryId=query["queryId"]))["status"] == "Running":
        pass
    return [{cell["field"]: cell["value"] for cell in row} for row in answer["results"]]


def _query(line: Line) -> dict[str, Any]:
    if line.metric:
        return {**data_query(line.id, line.metric), "ReturnData": line.visible}
    return {"Id": line.id, "Expression": line.expression, "Label": line.label, "ReturnData": line.visible}
