"""The table of docs/costs.md of the whole bill, by the functions of `sluice cost`, from the templates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.bill import function_settings
from benchmarks.list_prices import LAMBDA_POLLERS, LONG_POLLS_A_MINUTE, Minute, month
from sluice.core.model import Workload
from sluice_operator.core.account_bill import BillItem, plane_bill, together, workers_bill, workload_bill
from sluice_operator.core.account_usage import (
    FleetHours,
    FunctionUsage,
    PlaneUsage,
    Window,
    WorkloadUsage,
    invocations_a_month,
)
from sluice_operator.price_files import shipped
from sluice_worker.core.model import Outcome
from tests.support.builders import parsed
from tests.templates import stacks
from tests.test_costs import (
    SCALE,
    alarms,
    assert_table,
    dollars,
    published_metrics,
    tracked_metrics,
    worker_metrics,
)

ROOT = Path(__file__).resolve().parents[1]
PRICES = shipped()
SIZES = (1, 10, 1000)
END = datetime(2026, 1, 31, tzinfo=UTC)
WINDOW = Window(start=END - timedelta(days=30), end=END)
PUBLISH_S = {1: 0.075, 10: 0.18, 1000: 12.0}
"""publish_backlog, by the number of workloads: `python benchmarks/bill.py`, as in docs/scale.md."""
LINE_BYTES = 540
"""What publish_backlog logs of a workload a minute; tests/cli/test_cost.py measures it."""
HEALTH_METRICS = 2
"""Custom metrics of its own health that occur every hour."""


def hours(count: int) -> dict[str, float]:
    return {f"metric {number}": WINDOW.hours for number in range(count)}


def plane_usage(workloads: Sequence[Workload]) -> PlaneUsage:
    """The control plane of template.yaml, with so many workloads that target tracking scales."""
    plane = stacks.plane()
    size, minutes = len(workloads), WINDOW.hours * 60
    expressions = {
        name: schedule["ScheduleExpression"]
        for name, schedule in stacks.of_type(plane, "AWS::Scheduler::Schedule").items()
        if schedule.get("State", "ENABLED") == "ENABLED"
    }
    memory_mb = int(function_settings("PublishBacklogFunction")["MemorySize"])
    publisher = FunctionUsage(
        name="publish_backlog",
        invocations=minutes,
        duration_ms=minutes * PUBLISH_S[size] * 1000,
        memory_mb=memory_mb,
    )
    return PlaneUsage(
        window=WINDOW,
        alarms=list(alarms(plane).values()),
        dashboards=len(stacks.of_type(plane, "AWS::CloudWatch::Dashboard")),
        schedules={name: invocations_a_month(each) for name, each in expressions.items()},
        functions=[publisher],
        logged_bytes={"publish_backlog": minutes * LINE_BYTES * size},
        metric_hours=hours(HEALTH_METRICS),
        queue_requests=dict.fromkeys(polled_queues(), minutes * LAMBDA_POLLERS * LONG_POLLS_A_MINUTE),
        read_units=0.0,
        write_units=0.0,
        points_a_minute=sum(map(published_metrics, workloads)),
        workloads=size,
        sends_events=False,
    )


def polled_queues() -> list[str]:
    """The queues of template.yaml that Lambda polls."""
    functions = stacks.template("template.yaml")["Resources"].values()
    return [
        event["Properties"]["Queue"]["Fn::GetAtt"][0]
        for function in functions
        for event in function.get("Properties", {}).get("Events", {}).values()
        if event["Type"] == "SQS"
    ]


def workload_usage(fleet: str) -> WorkloadUsage:
    """A workload of workload.yaml with one instance, whose worker publishes every minute."""
    stack = stacks.workload(fleet)
    served = parsed(stacks.document(stack))
    tracking = {"Metrics": [{"MetricStat": {"Period": 60}}] * tracked_metrics(fleet)}
    return WorkloadUsage(
        workload=served,
        window=WINDOW,
        alarms=[*alarms(stack).values(), tracking, tracking],
        dashboards=0,
        metric_hours=hours(published_metrics(served)),
        worker_metric_hours=hours(worker_metrics(Outcome.SUCCESS)),
        fleet=FleetHours(instance_hours=WINDOW.hours, known_h=WINDOW.hours, window_h=WINDOW.hours),
    )


def bills() -> dict[int, dict[str, float]]:
    """Dollars a month by item, for each number of workloads: half of them on groups, half on services."""
    kinds = {fleet: workload_usage(fleet) for fleet in ("asg", "ecs")}
    found = {}
    for size in SIZES:
        usages = [kinds["ecs" if number % 2 else "asg"] for number in range(size)]
        bill = {
            f"Control plane: {each.what}": amount(each)
            for each in plane_bill(plane_usage([used.workload for used in usages]), PRICES)
        }
        for used in usages:
            for label, items in (
                ("Workloads", workload_bill(used, PRICES)),
                ("Workers", workers_bill(used, PRICES)),
            ):
                for each in items:
                    what = each.what.removeprefix("workers' ")
                    name = f"{label}: {what}"
                    bill[name] = bill.get(name, 0.0) + amount(each)
        found[size] = bill
    return found


def amount(item: BillItem) -> float:
    assert isinstance(item.usd, float), f"{item.what} is unknown"
    return item.usd


def test_what_the_whole_costs_for_1_10_and_1000_workloads() -> None:
    found = bills()
    rows = [(label, *(dollars(found[size][label]) for size in SIZES)) for label in found[1]]
    rows.append(("**Together**", *(f"**{dollars(sum(found[size].values()))}**" for size in SIZES)))
    assert_table("The whole a month", rows)


def test_the_durations_of_the_publisher_are_those_of_the_measured_bill() -> None:
    [row] = re.findall(r"^\| publish_backlog: Lambda \|(.*)\|$", SCALE, flags=re.MULTILINE)
    cells = [float(cell) for cell in row.split("|")]
    for size, measured in zip(SIZES, cells[::3], strict=True):
        minute = Minute(invocations=1, billed_s=PUBLISH_S[size], memory_mb=512)
        assert month(minute) == pytest.approx(measured, abs=0.01)


def test_an_alarm_more_in_the_template_raises_the_bill() -> None:
    used = workload_usage("asg")
    more = replace(used, alarms=[*used.alarms, {"Period": 60}])  # type: ignore[misc]
    difference = together(workload_bill(more, PRICES)).usd - together(workload_bill(used, PRICES)).usd
    assert difference == pytest.approx(0.10)


@pytest.mark.parametrize(
    ("page", "amounts"),
    [
        ("README.md", ["a workload", "the control plane"]),
        ("docs/decisions/0040-one-control-plane-per-account-and-region.md", ["the control plane"]),
        ("docs/ways-in.md", ["the control plane"]),
    ],
)
def test_a_page_states_what_the_items_of_one_workload_add_up_to(page: str, amounts: list[str]) -> None:
    costs = dict.fromkeys(("a workload", "the control plane"), 0.0)
    for item, cost in bills()[1].items():
        costs["the control plane" if item.startswith("Control plane: ") else "a workload"] += cost
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    for amount_of in amounts:
        assert f"${costs[amount_of]:.2f}" in text, f"{amount_of} costs ${costs[amount_of]:.2f}"
