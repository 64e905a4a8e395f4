"""A workload's dashboard: off by default, valid under all parameters, within CloudWatch's limits."""

from __future__ import annotations

import html
import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_sim.aws_rules.dashboards import Widget, widgets
from sluice_sim.template import resolve
from sluice_sim.template.errors import TemplateError
from tests.templates.stacks import (
    ACCOUNT,
    EXPORTS,
    REGION,
    ROOT,
    WORKLOAD_TEMPLATE,
    identity,
    of_type,
    template,
    workload,
)
from tests.templates.test_every_allowed_parameter import GREEN, PHASES, parameters
from tests.templates.test_optional_alarms import EVERY as EVERY_ALARM

DASHBOARD = "AWS::CloudWatch::Dashboard"
SHOWN = {"Dashboard": "true"}
DYNAMIC = {"TargetType": "dynamic"}
DEADLINE = {"Scaling": "deadline", "ProcessingSeconds": "5"}
MAX_NAME = 255
REPEATS = {".", "..."}
"""What stands for the entry above in a dashboard's list of metrics (documented)."""
COMBINATIONS = [
    scaling | tracked | namespace | alarms
    for scaling, tracked, namespace, alarms in itertools.product(
        ({}, DYNAMIC, DEADLINE),
        ({}, {"TrackedMetric": "backlog"}, {"TrackedMetric": "effective"}, {"MetricSource": "native"}),
        ({}, {"DurationNamespace": "Media/Workers: #1"}),
        ({}, EVERY_ALARM),
    )
]


def body(fleet: str, **overrides: str) -> str:
    [found] = of_type(workload(fleet, **SHOWN, **overrides), DASHBOARD).values()
    return found["DashboardBody"]


def titled(text: str, title: str) -> Widget:
    [found] = [widget for widget in widgets(text) if re.fullmatch(title, widget.title)]
    return found


def marks(widget: Widget) -> dict[str, float]:
    return {annotation.label: annotation.value for annotation in widget.annotations}


def lines(widget: Widget) -> dict[str, str]:
    """Id -> expression, or namespace and name; hidden inputs included."""
    return {
        line.id: f"{line.metric.namespace} {line.metric.name}" if line.metric else line.expression
        for line in widget.lines
    }


def test_there_is_none_by_default(fleet: str) -> None:
    stack = workload(fleet)
    assert of_type(stack, DASHBOARD) == {}
    assert "DashboardUrl" not in stack.outputs


@pytest.mark.parametrize("mode", ["active", "observe", "paused"])
def test_the_parameter_creates_one_and_the_stack_says_where_it_is(fleet: str, mode: str) -> None:
    stack = workload(fleet, **SHOWN, Mode=mode, CreateScalableTarget="true")
    [found] = of_type(stack, DASHBOARD).values()
    assert stack.outputs["DashboardUrl"] == (
        f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}"
        f"#dashboards/dashboard/{found['DashboardName']}"
    )


def test_its_name_differs_by_region_as_all_regions_of_an_account_share_the_names() -> None:
    [found] = of_type(workload(Name="w" * 64, **SHOWN), DASHBOARD).values()
    assert found["DashboardName"] == f"sluice-{'w' * 64}-{REGION}"
    assert re.fullmatch(r"[A-Za-z0-9_-]+", found["DashboardName"])
    assert len(found["DashboardName"]) <= MAX_NAME


@pytest.mark.parametrize("value", ["yes", "True", "", "1"])
def test_another_value_of_the_parameter_is_refused(value: str) -> None:
    with pytest.raises(TemplateError, match="Dashboard"):
        workload(Dashboard=value)


@pytest.mark.parametrize("name", sorted(REPEATS))
@pytest.mark.parametrize("parameter", ["AutoScalingGroupName", "DurationNamespace"])
def test_a_name_that_a_dashboard_reads_as_the_entry_above_is_refused(parameter: str, name: str) -> None:
    with pytest.raises(TemplateError, match="dots alone; set Dashboard=false"):
        workload(**SHOWN, **{parameter: name})
    assert workload(**{parameter: name}).resources


@pytest.mark.parametrize("given", COMBINATIONS, ids=lambda given: ",".join(given) or "defaults")
def test_it_is_valid_whatever_else_the_workload_is(fleet: str, given: dict[str, str]) -> None:
    if given.get("MetricSource") == "native":
        given = given | {"ProcessingSeconds": "5"}
    found = widgets(body(fleet, **given))
    assert len(found) == 11
    covered = [
        (x, y)
        for widget in found
        for x in range(widget.x, widget.x + widget.width)
        for y in range(widget.y, widget.y + widget.height)
    ]
    assert len(set(covered)) == len(covered), "two widgets overlap"
    assert len(covered) == 24 * (1 + max(y for _, y in covered)), "the grid has a hole"


@pytest.mark.slow
@pytest.mark.parametrize("fleet", ["asg", "ecs"])
@pytest.mark.parametrize("mode", ["active", "observe", "paused"])
@settings(max_examples=60, deadline=None, phases=PHASES)
@given(data=st.data())
def test_every_allowed_parameter_yields_a_valid_dashboard(fleet: str, mode: str, data: Any) -> None:
    drawn = parameters(fleet, mode).filter(lambda each: REPEATS.isdisjoint(each.values()))
    given_parameters = data.draw(drawn) | dict.fromkeys(GREEN.values(), "") | SHOWN
    plane = given_parameters.get("ControlPlaneStack", "sluice")
    stack = resolve(
        template(WORKLOAD_TEMPLATE),
        given_parameters,
        identity=identity,
        imports={key.replace("sluice-", f"{plane}-", 1): value for key, value in EXPORTS.items()},
        account_id=ACCOUNT,
        region=REGION,
        stack_name="sluice-workload",
    )
    [found] = of_type(stack, DASHBOARD).values()
    shown = widgets(found["DashboardBody"])
    named = {
        pair for widget in shown for line in widget.lines if line.metric for pair in line.metric.dimensions
    }
    assert ("QueueName", given_parameters["QueueName"]) in named
    for parameter in {"asg": ["AutoScalingGroupName"], "ecs": ["ClusterName", "ServiceName"]}[fleet]:
        assert (parameter, given_parameters[parameter]) in named


def test_the_fleets_counts_stand_beside_the_most_that_it_may_have(fleet: str) -> None:
    if fleet == "asg":
        found = titled(body(fleet), "Instances")
        assert lines(found)["max_size"] == "AWS/AutoScaling GroupMaxSize"
    else:
        found = titled(body(fleet), "Tasks")
    assert {"desired", "pending", "running"} <= lines(found).keys()
    assert marks(found) == {"MaxCapacity": 5}


def test_a_static_target_is_a_line(fleet: str) -> None:
    found = titled(body(fleet, MessagesPerInstance="0.5"), "Messages per instance")
    assert lines(found) == {"backlog": "Sluice BacklogPerInstance"}
    assert marks(found) == {"target": 0.5}


def test_what_target_tracking_reads_is_shown_beside_the_backlog(fleet: str) -> None:
    found = titled(body(fleet, ProcessingSeconds="60"), "Messages per instance")
    assert lines(found) == {
        "effective": "Sluice EffectiveBacklogPerInstance",
        "backlog": "Sluice BacklogPerInstance",
    }


def test_a_dynamic_target_follows_the_processing_time_within_its_bounds(fleet: str) -> None:
    text = body(
        fleet, **DYNAMIC, DurationStatistic="p90", MinMessagesPerInstance="2", MaxMessagesPerInstance="50"
    )
    found = titled(text, "Messages per instance")
    assert marks(found) == {}
    [target] = [line for line in found.lines if line.id == "target"]
    [duration] = [line for line in found.lines if line.id == "duration"]
    raw = "600 * 1 / duration"
    assert target.expression == f"IF({raw} < 2, 2, IF({raw} > 50, 50, {raw}))"
    assert duration.metric is not None
    assert (duration.metric.stat, duration.period_s, duration.visible) == ("p90", 3600, False)


def test_the_deadline_engines_backlog_is_seconds_of_work_against_the_promise(fleet: str) -> None:
    text = body(fleet, **DEADLINE, AcceptableLatencySeconds="300", ConcurrencyPerInstance="4")
    found = titled(text, "Seconds of work per instance")
    assert lines(found)["work"] == "backlog * 5 / 4"
    assert [line.id for line in found.lines if line.visible] == ["work"]
    assert marks(found) == {"promise": 300}


@pytest.mark.parametrize(
    ("given", "promise"),
    [
        ({}, {}),
        (DYNAMIC, {"promise": 600}),
        (DEADLINE, {"promise": 600}),
        ({"PromiseAlarm": "true"}, {"promise": 600}),
    ],
    ids=["static", "dynamic", "deadline", "judged by the alarm"],
)
def test_waits_are_shown_against_the_promise_if_there_is_one(
    fleet: str, given: dict[str, str], promise: dict[str, float]
) -> None:
    found = titled(body(fleet, **given), "Seconds from sent to started")
    assert marks(found) == promise
    assert [line.metric.stat for line in found.lines if line.metric] == ["p50", "p90", "p99"]


@pytest.mark.parametrize(
    ("given", "mark"),
    [
        ({}, {"alarm": 900}),
        ({"OldestMessageAgeSeconds": "120"}, {"alarm": 120}),
        (DEADLINE, {"promise": 600}),
        (DEADLINE | {"OldestMessageAgeSeconds": "120"}, {"alarm": 120}),
    ],
    ids=["default", "given", "by the promise", "given beside a promise"],
)
def test_the_oldest_message_is_shown_against_what_its_alarm_judges_by(
    fleet: str, given: dict[str, str], mark: dict[str, float]
) -> None:
    assert marks(titled(body(fleet, **given), r"Age of the oldest message \(s\)")) == mark


def test_what_the_workers_publish_is_read_where_they_publish_it(fleet: str) -> None:
    text = body(fleet, DurationNamespace="Media/Workers")
    waits = titled(text, "Seconds from sent to started")
    assert set(lines(waits).values()) == {"Media/Workers MsgWaitDuration"}
    failed = titled(text, r"Failed share.*")
    assert {*lines(failed).values()} - {failed.lines[0].expression} == {"Media/Workers MsgProcessingDuration"}


def test_its_alarms_are_those_that_the_stack_creates(fleet: str) -> None:
    for alarms in ({}, *({name: value} for name, value in EVERY_ALARM.items()), EVERY_ALARM):
        stack = workload(fleet, **SHOWN, **alarms)
        names = {each["AlarmName"] for each in of_type(stack, "AWS::CloudWatch::Alarm").values()}
        [found] = of_type(stack, DASHBOARD).values()
        shown = json.loads(found["DashboardBody"])["widgets"][0]["properties"]["alarms"]
        assert {arn.rpartition(":")[2] for arn in shown} == names


def test_the_picture_in_the_docs_shows_every_widget_with_its_lines() -> None:
    drawn = html.unescape((ROOT / "docs/dashboard.svg").read_text(encoding="utf-8"))
    texts = set(re.findall(r"<text[^>]*>([^<]+)</text>", drawn))
    for widget in widgets(body("asg", Name="photo-import", **DEADLINE)):
        assert widget.title in texts
        visible = [line.label for line in widget.lines if line.visible]
        assert set(visible) <= texts
        assert all(any(text.startswith(mark.label) for text in texts) for mark in widget.annotations)


def test_decisions_are_read_from_the_logs_of_its_own_control_plane(fleet: str) -> None:
    found = titled(body(fleet, ControlPlaneStack="sluice-e2e"), "Decisions about .*")
    plane = template("template.yaml")["Resources"].values()
    groups = {
        each["Properties"]["LogGroupName"]["Fn::Sub"].replace("${AWS::StackName}", "sluice-e2e")
        for each in plane
        if each["Type"] == "AWS::Logs::LogGroup"
    }
    # The guard's exists only if the plane has one, and a query of a log group that does not exist fails. No
    # workload with a dashboard has colors to switch.
    elsewhere = ("send_test_messages", "guard_downstream", "switch")
    unasked = {f"/aws/lambda/sluice-e2e/{name}" for name in elsewhere}
    unasked.add("/aws/vendedlogs/states/sluice-e2e-switch")
    assert set(found.log_groups) == groups - unasked
