"""examples/grafana-*.json: valid for the CloudWatch data source, with the same metrics as the dashboard."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from sluice_sim.aws_rules.dashboards import Widget, widgets
from tests.templates.stacks import WORKLOADS, of_type, workload

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads(Path(__file__).with_name("grafana-cloudwatch.schema.json").read_text(encoding="utf-8"))
KINDS = [(fleet, engine) for fleet in ("asg", "ecs") for engine in ("target_tracking", "deadline")]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_grafana", ROOT / "docs/grafana.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


grafana = _generator()


def stored(fleet: str, engine: str) -> dict[str, Any]:
    path = ROOT / "examples" / f"grafana-{fleet}-{engine.replace('_', '-')}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def filled_in(fleet: str) -> dict[str, str]:
    """Variable -> what an operator chooses for the workload of `deployed`."""
    given = WORKLOADS[fleet]
    return {
        "workload": given["Name"],
        "queue": given["QueueName"],
        "group": given.get("AutoScalingGroupName", ""),
        "cluster": given.get("ClusterName", ""),
        "service": given.get("ServiceName", ""),
        "control_plane": "sluice",
        "namespace": "Sluice",
        "region": "eu-west-1",
        "promise_seconds": "300",
        "processing_seconds": "7",
        "concurrency": "2",
        "target": "9",
        "max_capacity": given["MaxCapacity"],
        "alarm_age_seconds": "900",
    }


def interpolated(dashboard: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    text = re.sub(
        r"\$\{(\w+)\}", lambda found: values.get(found[1], found[0]), json.dumps(dashboard["panels"])
    )
    return {panel["title"]: panel for panel in json.loads(text)}


def deployed(fleet: str, engine: str) -> list[Widget]:
    stack = workload(
        fleet,
        Dashboard="true",
        Scaling=engine,
        PromiseAlarm="true",
        AcceptableLatencySeconds="300",
        ProcessingSeconds="7",
        ConcurrencyPerInstance="2",
        MessagesPerInstance="9",
    )
    [found] = of_type(stack, "AWS::CloudWatch::Dashboard").values()
    return [widget for widget in widgets(found["DashboardBody"]) if widget.kind != "alarm"]


def asked(widget: Widget) -> Iterator[tuple[Any, ...]]:
    for line in widget.lines:
        metric = line.metric
        yield (
            line.id,
            line.visible,
            str(line.period_s),
            line.expression,
            (metric.namespace, metric.name, dict(metric.dimensions), metric.stat) if metric else None,
        )


def asked_by_grafana(panel: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for query in panel["targets"]:
        if not query["id"].startswith("mark"):
            yield (
                query["id"],
                not query["hide"],
                query["period"],
                query["expression"],
                (query["namespace"], query["metricName"], query["dimensions"], query["statistic"])
                if "metricName" in query
                else None,
            )


@pytest.mark.parametrize(("fleet", "engine"), KINDS)
def test_it_is_valid_for_the_cloudwatch_data_source(fleet: str, engine: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(stored(fleet, engine), SCHEMA)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda query: query.update(id="Visible"),
        lambda query: query.update(queryMode="metrics"),
        lambda query: query.pop("region"),
        lambda query: query.pop("statistic"),
        lambda query: query.update(period=60),
        lambda query: query.update(dimensions=[["QueueName", "q"]]),
        lambda query: query.update(stat="Sum"),
        lambda query: query.update(datasource={"type": "prometheus", "uid": "x"}),
    ],
)
def test_a_query_that_the_data_source_does_not_know_is_found(break_it: Any) -> None:
    broken = copy.deepcopy(stored("asg", "deadline"))
    break_it(broken["panels"][0]["targets"][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


@pytest.mark.parametrize(("fleet", "engine"), KINDS)
def test_it_asks_for_the_same_as_the_dashboard_of_the_workload(fleet: str, engine: str) -> None:
    panels = interpolated(stored(fleet, engine), filled_in(fleet))
    shown = deployed(fleet, engine)
    assert list(panels) == [widget.title for widget in shown]
    for widget in shown:
        panel = panels[widget.title]
        if widget.kind == "log":
            [query] = panel["targets"]
            assert (query["expression"], tuple(query["logGroupNames"])) == (widget.query, widget.log_groups)
        else:
            assert list(asked_by_grafana(panel)) == list(asked(widget))


@pytest.mark.parametrize(("fleet", "engine"), KINDS)
def test_its_horizontal_lines_are_those_of_the_dashboard(fleet: str, engine: str) -> None:
    panels = interpolated(stored(fleet, engine), filled_in(fleet))
    for widget in deployed(fleet, engine):
        marks = [query for query in panels[widget.title]["targets"] if query["id"].startswith("mark")]
        drawn = {query["label"]: float(query["expression"].rpartition("+ ")[2]) for query in marks}
        assert drawn == {mark.label: mark.value for mark in widget.annotations}


@pytest.mark.parametrize(("fleet", "engine"), KINDS)
def test_every_variable_that_it_uses_can_be_chosen_and_each_that_can_be_is_used(
    fleet: str, engine: str
) -> None:
    dashboard = stored(fleet, engine)
    chosen = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert {"region", "workload", "queue"} <= set(chosen)
    assert {"asg": {"group"}, "ecs": {"cluster", "service"}}[fleet] <= set(chosen)
    assert set(re.findall(r"\$\{(\w+)\}", json.dumps(dashboard))) == set(chosen)
    assert len(set(chosen)) == len(chosen)


def test_no_name_of_the_project_and_no_placeholder_is_left_in_it() -> None:
    for fleet, engine in KINDS:
        text = json.dumps(stored(fleet, engine))
        assert not re.search(
            r"\b(WORKLOAD|QUEUE|GROUP|CLUSTER|SERVICE|PLANE|NAMESPACE|REGION|900[1-9])\b", text
        )
        assert "123456789012" not in text


@pytest.mark.parametrize(("fleet", "engine"), KINDS)
def test_it_is_what_make_grafana_writes(fleet: str, engine: str) -> None:
    name = f"grafana-{fleet}-{engine.replace('_', '-')}.json"
    assert grafana.files()[name] == stored(fleet, engine), "run make grafana"
