"""Writes examples/grafana-*.json: the dashboard of `workload.yaml` for Grafana's CloudWatch data source.

Each file is made from the resolved template, so that a metric on its dashboard is in Grafana too. What
differs from one workload to the next is a variable.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sluice_sim import template
from sluice_sim.account import ACCOUNT_ID, identity
from sluice_sim.aws_rules.dashboards import Line, Widget, widgets

ROOT = Path(__file__).resolve().parents[1]
SOURCE = {"type": "cloudwatch", "uid": "${datasource}"}
NAMES = {
    "Name": ("WORKLOAD", "workload"),
    "QueueName": ("QUEUE", "queue"),
    "AutoScalingGroupName": ("GROUP", "group"),
    "ClusterName": ("CLUSTER", "cluster"),
    "ServiceName": ("SERVICE", "service"),
    "ControlPlaneStack": ("PLANE", "control_plane"),
}
"""Parameter -> its value while the template is resolved, and the variable that takes its place."""
NUMBERS = {
    "AcceptableLatencySeconds": ("9001", "promise_seconds"),
    "ProcessingSeconds": ("9002", "processing_seconds"),
    "ConcurrencyPerInstance": ("9003", "concurrency"),
    "MessagesPerInstance": ("9004", "target"),
    "MaxCapacity": ("9005", "max_capacity"),
    "OldestMessageAgeSeconds": ("9006", "alarm_age_seconds"),
}
DEFAULTS = {
    "workload": "transcription",
    "control_plane": "sluice",
    "namespace": "Sluice",
    "promise_seconds": "600",
    "processing_seconds": "60",
    "concurrency": "1",
    "target": "10",
    "max_capacity": "10",
    "alarm_age_seconds": "900",
}
"""What to type into each variable that no metric lists."""
LISTED = {
    "queue": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", {}),
    "group": ("AWS/AutoScaling", "GroupDesiredCapacity", "AutoScalingGroupName", {}),
    "cluster": ("ECS/ContainerInsights", "DesiredTaskCount", "ClusterName", {}),
    "service": (
        "ECS/ContainerInsights",
        "DesiredTaskCount",
        "ServiceName",
        {"ClusterName": "${cluster}"},
    ),
}
"""Variable -> namespace, metric and dimension whose values CloudWatch lists, and a filter."""
FLEETS = {"asg": ("AutoScalingGroupName",), "ecs": ("ClusterName", "ServiceName")}
ENGINES = ("target_tracking", "deadline")
ROWS_PER_ROW = 4 / 3
"""A row of Grafana's grid is lower than one of CloudWatch's; both have 24 columns."""


def main() -> None:
    """Write a file for each kind of fleet and way of scaling."""
    for name, dashboard in files().items():
        (ROOT / "examples" / name).write_text(json.dumps(dashboard, indent=2) + "\n", encoding="utf-8")


def files() -> dict[str, dict[str, Any]]:
    """File -> dashboard."""
    return {
        f"grafana-{fleet}-{engine.replace('_', '-')}.json": _dashboard(fleet, engine)
        for fleet in FLEETS
        for engine in ENGINES
    }


def body(fleet: str, engine: str) -> str:
    """The template's dashboard, with a placeholder for each value that becomes a variable."""
    given = {name: value for name, (value, _) in (NAMES | NUMBERS).items()}
    for other in FLEETS.keys() - {fleet}:
        given = {name: value for name, value in given.items() if name not in FLEETS[other]}
    if engine == "deadline":
        del given["OldestMessageAgeSeconds"]  # the promise is what the age is judged by
    exports = ("MetricNamespace", "RegistryPrefix", "BootstrapFunctionArn", "ShutdownFunctionArn")
    stack = template.resolve(
        template.load(ROOT / "workload.yaml"),
        given | {"FleetType": fleet, "Scaling": engine, "Dashboard": "true", "PromiseAlarm": "true"},
        identity=lambda *about: identity("stack", *about),
        imports={f"PLANE-{name}": "NAMESPACE" for name in exports},
        account_id=ACCOUNT_ID,
        region="REGION",
        stack_name="stack",
    )
    return str(stack.resources["WorkloadDashboard"].properties["DashboardBody"])


def with_variables(text: str) -> str:
    """The text with a variable in place of each placeholder."""
    for placeholder, variable in (*NAMES.values(), *NUMBERS.values()):
        text = text.replace(placeholder, f"${{{variable}}}")
    return text.replace("NAMESPACE", "${namespace}").replace("REGION", "${region}")


def _dashboard(fleet: str, engine: str) -> dict[str, Any]:
    panels = [
        _panel(number, widget)
        for number, widget in enumerate(widgets(body(fleet, engine)), start=1)
        if widget.kind != "alarm"
    ]
    fleet_name = "an Auto Scaling group" if fleet == "asg" else "an ECS service"
    used = json.dumps(panels)
    return {
        "uid": f"sluice-{fleet}-{engine.replace('_', '-')}",
        "title": f"Sluice: {fleet_name}, {engine.replace('_', ' ')}",
        "description": f"{fleet_name}, scaled by {engine.replace('_', ' ')}; made from workload.yaml",
        "tags": ["sluice"],
        "schemaVersion": 39,
        "editable": True,
        "timezone": "browser",
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": list(_variables(used))},
        "annotations": {"list": [_alarm_changes()]},
        "panels": panels,
    }


def _variables(used: str) -> Iterator[dict[str, Any]]:
    yield {"type": "datasource", "name": "datasource", "label": "Data source", "query": "cloudwatch"}
    yield _listed("region", {"queryType": "regions"})
    for name, (namespace, metric, dimension, filters) in LISTED.items():
        if f"${{{name}}}" in used:
            query = {
                "queryType": "dimensionValues",
                "region": "${region}",
                "namespace": namespace,
                "metricName": metric,
                "dimensionKey": dimension,
                "dimensionFilters": filters,
            }
            yield _listed(name, query)
    for name, value in DEFAULTS.items():
        if f"${{{name}}}" in used or name == "workload":
            label = name.replace("_", " ")
            yield {
                "type": "textbox",
                "name": name,
                "label": label,
                "query": value,
                "current": {"value": value},
            }


def _listed(name: str, query: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "query",
        "name": name,
        "label": name,
        "datasource": SOURCE,
        "refresh": 1,
        "query": {**query, "refId": "CloudWatchVariableQueryEditor-VariableQuery"},
    }


def _alarm_changes() -> dict[str, Any]:
    """Marks in every panel when an alarm of the workload changes its state."""
    return {
        "name": "Alarms",
        "enable": True,
        "iconColor": "orange",
        "datasource": SOURCE,
        "target": {
            "queryMode": "Annotations",
            "refId": "Alarms",
            "region": "${region}",
            "namespace": "",
            "prefixMatching": True,
            "alarmNamePrefix": "sluice-${workload}-",
            "actionPrefix": "",
        },
    }


def _panel(number: int, widget: Widget) -> dict[str, Any]:
    above = 3  # rows of the alarms' states, which are annotations here
    panel: dict[str, Any] = {
        "id": number,
        "title": with_variables(widget.title),
        "datasource": SOURCE,
        "gridPos": {
            "x": widget.x,
            "y": round((widget.y - above) * ROWS_PER_ROW),
            "w": widget.width,
            "h": round(widget.height * ROWS_PER_ROW),
        },
    }
    if widget.kind == "log":
        return panel | {"type": "table", "targets": [_log_query(widget)]}
    custom: dict[str, Any] = {"drawStyle": "line", "fillOpacity": 0, "spanNulls": False}
    if widget.stacked:
        custom |= {"fillOpacity": 60, "stacking": {"mode": "normal", "group": "A"}}
    marks = [_mark(widget, index) for index in range(len(widget.annotations))]
    dashed = {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}}
    return panel | {
        "type": "timeseries",
        "fieldConfig": {
            "defaults": {"min": 0, "custom": custom},
            "overrides": [
                {"matcher": {"id": "byName", "options": mark["label"]}, "properties": [dashed]}
                for mark in marks
            ],
        },
        "targets": [*map(_query, widget.lines), *marks],
    }


def _query(line: Line) -> dict[str, Any]:
    query: dict[str, Any] = {
        "refId": line.id,
        "id": line.id,
        "datasource": SOURCE,
        "queryMode": "Metrics",
        "metricQueryType": 0,
        "metricEditorMode": 0 if line.metric else 1,
        "region": "${region}",
        "namespace": "",
        "expression": with_variables(line.expression),
        "label": line.label,
        "period": str(line.period_s),
        "hide": not line.visible,
    }
    if line.metric:
        query |= {
            "namespace": with_variables(line.metric.namespace),
            "metricName": line.metric.name,
            "dimensions": {name: with_variables(value) for name, value in line.metric.dimensions},
            "matchExact": True,
            "statistic": line.metric.stat,
        }
    return query


def _mark(widget: Widget, index: int) -> dict[str, Any]:
    """A horizontal line: Grafana's thresholds take no variables, an expression does."""
    annotation, first = widget.annotations[index], next(line for line in widget.lines if line.metric)
    value = with_variables(f"{annotation.value:g}")
    return _query(
        Line(
            id=f"mark{index}",
            label=annotation.label,
            visible=True,
            period_s=first.period_s,
            metric=None,
            expression=f"FILL({first.id}, 0) * 0 + {value}",
        )
    )


def _log_query(widget: Widget) -> dict[str, Any]:
    return {
        "refId": "decisions",
        "id": "decisions",
        "datasource": SOURCE,
        "queryMode": "Logs",
        "region": "${region}",
        "expression": with_variables(widget.query),
        "logGroupNames": [with_variables(name) for name in widget.log_groups],
        "statsGroups": [],
    }


if __name__ == "__main__":
    main()
