"""The bill of an account: quantities, what is unknown, and what the code reads of CloudWatch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sluice.core.model import Trigger, Unknown, Workload
from sluice.events import RetuneRequest
from sluice.ports import Policy
from sluice.usecases.guard_downstream import guard_downstream
from sluice.usecases.retune import retune_targets
from sluice.usecases.shards import MAX_WORKLOADS_PER_INVOCATION, WORKLOADS_PER_SHARD
from sluice.usecases.tick import publish_backlog
from sluice_operator.core import account_bill, hardware
from sluice_operator.core.account_bill import (
    WorkloadBill,
    metrics_read_per_hour,
    plane_bill,
    puts_a_minute,
    queue_reads_a_month,
    together,
    workers_bill,
    workload_bill,
)
from sluice_operator.core.account_usage import (
    FleetHours,
    FunctionUsage,
    PlaneUsage,
    Window,
    WorkloadUsage,
    fleet_hours,
    invocations_a_month,
)
from sluice_operator.core.hardware import Ec2Instances, FargateTasks, price_of
from sluice_operator.core.monthly_cost import FleetPrice
from sluice_operator.core.prices import Item
from sluice_operator.price_files import shipped
from tests.support.builders import (
    MINUTE_NOW,
    deadline_workload,
    dynamic_workload,
    effective,
    guard_settings,
    queue_url,
    workload,
)
from tests.support.fakes import FakeAccount

PRICES = shipped()
END = datetime(2026, 1, 31, tzinfo=UTC)
WINDOW = Window(start=END - timedelta(days=30), end=END)
UNREAD = Unknown(reason="AWS answered Throttling")
ONE_METRIC: dict[str, Any] = {"AlarmName": "one", "Period": 60}


def plane_usage(**changes: Any) -> PlaneUsage:
    used = PlaneUsage(
        window=WINDOW,
        alarms=[ONE_METRIC],
        dashboards=0,
        schedules={"every minute": 43_800.0},
        functions=[
            FunctionUsage(name="publish_backlog", invocations=43_200, duration_ms=3_240_000, memory_mb=512)
        ],
        logged_bytes={"publish_backlog": 2e9},
        metric_hours={"Held": 720.0},
        queue_requests={"ticks": 1e6},
        read_units=720.0,
        write_units=1440.0,
        points_a_minute=2,
        workloads=1,
        sends_events=False,
    )
    return replace(used, **changes)


def workload_usage(served: Workload | None = None, **changes: Any) -> WorkloadUsage:
    used = WorkloadUsage(
        workload=served or workload(),
        window=WINDOW,
        alarms=[ONE_METRIC],
        dashboards=0,
        metric_hours={"BacklogPerInstance": 720.0},
        worker_metric_hours={"MsgProcessingDuration": 360.0},
        fleet=FleetHours(instance_hours=720.0, known_h=720.0, window_h=720.0),
    )
    return replace(used, **changes)


def item(items: Any, what: str) -> Any:
    [found] = [each for each in items if each.what == what]
    return found


class TestTheControlPlane:
    def test_usage_of_720_hours_is_scaled_to_730(self) -> None:
        bill = plane_bill(plane_usage(), PRICES)
        assert item(bill, "Lambda publish_backlog").quantity == pytest.approx(3240 * 0.5 * 730 / 720)
        assert item(bill, "Lambda requests").quantity == pytest.approx(43_800)
        assert item(bill, "logs").quantity == pytest.approx(2 * 730 / 720)
        assert item(bill, "SQS").usd == pytest.approx(0.4 * 730 / 720)
        assert item(bill, "custom metrics").usd == pytest.approx(0.3)

    def test_a_function_is_billed_by_its_processor(self) -> None:
        arm = plane_usage()
        [function] = arm.functions  # type: ignore[misc]
        intel = replace(arm, functions=[replace(function, architecture="x86_64")])
        ratio = PRICES.of(Item.LAMBDA_X86_64_GB_S) / PRICES.of(Item.LAMBDA_ARM64_GB_S)
        what = "Lambda publish_backlog"
        assert item(plane_bill(intel, PRICES), what).usd == pytest.approx(
            ratio * item(plane_bill(arm, PRICES), what).usd
        )

    def test_a_function_that_never_ran_has_no_line_and_is_counted(self) -> None:
        used = plane_usage()
        idle = FunctionUsage(name="surge", invocations=0.0, duration_ms=0.0, memory_mb=512)
        bill = plane_bill(replace(used, functions=[*used.functions, idle]), PRICES)  # type: ignore[misc]
        assert not [each for each in bill if each.what == "Lambda surge"]
        assert item(bill, "Lambda requests").because == "of 1 functions; 1 never ran"

    def test_high_resolution_alarms_are_dearer_and_a_line_of_their_own(self) -> None:
        fast = {"AlarmName": "fast", "Period": 10}
        bill = plane_bill(plane_usage(alarms=[ONE_METRIC, fast]), PRICES)
        assert item(bill, "alarms").usd == pytest.approx(0.1)
        assert item(bill, "high-resolution alarms").usd == pytest.approx(0.3)
        assert not [each for each in plane_bill(plane_usage(alarms=[fast]), PRICES) if each.what == "alarms"]

    def test_events_are_unknown_where_a_bus_is_set_and_no_line_elsewhere(self) -> None:
        assert not [each for each in plane_bill(plane_usage(), PRICES) if each.what == "events"]
        found = item(plane_bill(plane_usage(sends_events=True), PRICES), "events")
        assert "no count of events by sender" in found.usd.reason

    @pytest.mark.parametrize(
        "changes",
        [
            {"alarms": UNREAD},
            {"dashboards": UNREAD},
            {"schedules": UNREAD},
            {"schedules": {"every minute": UNREAD}},
            {"functions": UNREAD},
            {"logged_bytes": {"publish_backlog": UNREAD, "shutdown": 1.0}},
            {"logged_bytes": UNREAD},
            {"metric_hours": {"Held": UNREAD}},
            {"metric_hours": UNREAD},
            {"queue_requests": {"ticks": UNREAD}},
            {"read_units": UNREAD},
            {"write_units": UNREAD},
        ],
    )
    def test_what_could_not_be_read_is_unknown_and_the_sum_says_so(self, changes: Any) -> None:
        whole, bill = plane_bill(plane_usage(), PRICES), plane_bill(plane_usage(**changes), PRICES)
        unknown = [each for each in bill if isinstance(each.usd, Unknown)]
        assert {each.usd for each in unknown} == {UNREAD}
        assert together(bill).unknown == len(unknown)
        assert together(bill).usd < together(whole).usd or "dashboards" in changes

    @pytest.mark.parametrize("unread", ["invocations", "duration_ms", "memory_mb"])
    def test_a_function_that_could_not_be_read_is_unknown_alone(self, unread: str) -> None:
        [function] = plane_usage().functions  # type: ignore[misc]
        other = replace(function, name="shutdown")
        changes: dict[str, Any] = {unread: UNREAD}
        if unread == "invocations":
            changes["duration_ms"] = UNREAD
        bill = plane_bill(plane_usage(functions=[replace(function, **changes), other]), PRICES)
        assert item(bill, "Lambda publish_backlog").usd == UNREAD
        assert isinstance(item(bill, "Lambda requests").usd, Unknown) is (unread == "invocations")
        assert not isinstance(item(bill, "Lambda shutdown").usd, Unknown)

    @pytest.mark.parametrize(
        ("workloads", "points", "expected"),
        [(0, 0, 0), (1, 2, 1), (1000, 2000, 2), (1001, 1001, 5), (5000, 1, 20)],
    )
    def test_how_often_data_points_are_put(self, workloads: int, points: int, expected: int) -> None:
        assert puts_a_minute(workloads, points) == expected

    def test_shards_begin_where_the_ticks_do(self) -> None:
        assert account_bill.SHARDED_ABOVE == MAX_WORKLOADS_PER_INVOCATION
        assert account_bill.SHARD_WORKLOADS == WORKLOADS_PER_SHARD


class TestAWorkload:
    def test_its_stack_and_what_is_read_for_it(self) -> None:
        bill = workload_bill(workload_usage(dashboards=2), PRICES)
        assert item(bill, "alarms").usd == pytest.approx(0.1)
        assert item(bill, "dashboards").usd == pytest.approx(6.0)
        assert item(bill, "GetQueueAttributes").quantity == 43_800
        assert item(bill, "GetMetricData").because.startswith("none by its settings")

    def test_a_deadline_reads_its_queue_at_every_tick(self) -> None:
        assert queue_reads_a_month(deadline_workload()) == 43_800 + 730 * 3600 / 10
        bill = workload_bill(workload_usage(deadline_workload()), PRICES)
        assert item(bill, "GetQueueAttributes").because == "every minute, and every 10 s"

    def test_a_fifo_queue_has_its_own_price_and_what_is_read_at_times_is_said(self) -> None:
        bill = workload_bill(workload_usage(workload(queue_url=queue_url("builds.fifo"))), PRICES)
        assert item(bill, "GetQueueAttributes").usd_each == PRICES.of(Item.SQS_FIFO_REQUEST)
        assert "3 every 5 minutes while messages wait" in item(bill, "GetMetricData").because

    def test_workers_metrics_are_billed_by_the_hours_with_values(self) -> None:
        bill = workers_bill(workload_usage(), PRICES)
        assert item(bill, "workers' metrics").usd == pytest.approx(0.15)
        assert item(bill, "workers' PutMetricData").quantity == pytest.approx(730 * 60)

    @pytest.mark.parametrize(
        ("changes", "puts"),
        [
            ({"worker_metric_hours": {}}, 0.0),
            ({"worker_metric_hours": UNREAD}, UNREAD),
            ({"fleet": UNREAD}, UNREAD),
        ],
    )
    def test_without_metrics_workers_put_none_and_unknown_ones_stay_unknown(
        self, changes: Any, puts: object
    ) -> None:
        bill = workers_bill(workload_usage(**changes), PRICES)
        assert item(bill, "workers' PutMetricData").usd == puts

    def test_workers_calls_are_scaled_by_the_hours_of_which_the_fleets_size_is_known(self) -> None:
        day = FleetHours(instance_hours=48.0, known_h=24.0, window_h=720.0)
        bill = workers_bill(workload_usage(fleet=day), PRICES)
        assert item(bill, "workers' PutMetricData").quantity == pytest.approx(2 * 730 * 60)
        none = FleetHours(instance_hours=0.0, known_h=0.0, window_h=720.0)
        found = item(workers_bill(workload_usage(fleet=none), PRICES), "workers' PutMetricData").usd
        assert found == Unknown(reason="the fleet's size is known of no hour")

    @pytest.mark.parametrize(
        ("known_h", "window_h", "missing_h"),
        [(24.0, 720.0, 696.0), (719.0, 720.0, 1.0), (719.6, 720.0, 0.0), (0.1, 0.4, 0.3), (0.35, 0.4, 0.0)],
    )
    def test_hours_without_the_fleets_size_make_the_total_incomplete(
        self, known_h: float, window_h: float, missing_h: float
    ) -> None:
        fleet = FleetHours(instance_hours=known_h, known_h=known_h, window_h=window_h)
        price = FleetPrice(label="mine", usd_per_hour=1.0)
        bill = WorkloadBill(name="transcription", stack=[], workers=[], fleet=fleet, price=price)
        assert bill.total.usd == pytest.approx(known_h)
        assert bill.total.missing_h == pytest.approx(missing_h)
        assert bill.total.lacking == bool(missing_h)
        assert bill.lacks == bool(missing_h)
        unpriced = replace(bill, price=UNREAD)
        assert unpriced.lacks == bool(missing_h)
        assert unpriced.total.lacking == 1 + bool(missing_h)
        assert replace(unpriced, price_unread=True).lacks

    def test_a_fleet_without_a_price_makes_the_total_incomplete(self) -> None:
        used = workload_usage()
        bill = WorkloadBill(
            name="transcription",
            stack=workload_bill(used, PRICES),
            workers=workers_bill(used, PRICES),
            fleet=FleetHours(instance_hours=10.0, known_h=20.0, window_h=720.0),
            price=FleetPrice(label="mine", usd_per_hour=0.5),
        )
        without = replace(bill, price=UNREAD)
        assert bill.fleet_usd == 5.0
        assert bill.total.usd == pytest.approx(without.total.usd + 5.0)
        assert (bill.total.unknown, without.total.unknown) == (0, 1)
        assert replace(bill, fleet=UNREAD).lacks
        assert (replace(bill, fleet=UNREAD).missing_h, replace(bill, fleet=UNREAD).total.unknown) == (0.0, 1)
        assert replace(bill, fleet=UNREAD).fleet_usd is UNREAD


class TestTime:
    def test_a_window_counts_the_hours_of_the_clock_that_it_touches(self) -> None:
        start = END.replace(minute=50)
        assert Window(start=start, end=start + timedelta(minutes=20)).clock_hours == 2
        assert WINDOW.clock_hours == WINDOW.hours == 720

    def test_instance_hours_are_those_of_the_minutes_that_are_known(self) -> None:
        hours = [END - timedelta(hours=each) for each in (3, 2, 1)]
        sizes = dict(zip(hours, [4.0, 2.0, 1.0], strict=True))
        samples = {hours[0]: 60.0, hours[1]: 30.0}
        found = fleet_hours(sizes, samples, WINDOW)
        assert (found.instance_hours, found.known_h, found.missing_h) == (5.0, 1.5, 718.5)

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("cron(* * * * ? *)", 43_800),
            ("cron(0 * * * ? *)", 730),
            ("cron(0/15 * * * ? *)", 4 * 730),
            ("cron(5,35 6 * * ? *)", 2 * 730 / 24),
            ("rate(1 minute)", 43_800),
            ("rate(2 hours)", 365),
        ],
    )
    def test_a_schedule_is_counted_by_its_expression(self, expression: str, expected: float) -> None:
        assert invocations_a_month(expression) == pytest.approx(expected)

    @pytest.mark.parametrize(
        "expression",
        [
            "cron(0 0 1 * ? *)",
            "cron(L * * * ? *)",
            "at(2026-01-01T00:00:00)",
            "rate(1 week)",
            "rate(0 days)",
            "",
        ],
    )
    def test_one_that_is_not_understood_is_unknown(self, expression: str) -> None:
        assert isinstance(invocations_a_month(expression), Unknown)


class TestWhatAnInstanceCosts:
    def test_it_is_that_of_the_table(self) -> None:
        price = price_of(Ec2Instances(types=["c7g.large", "c7g.large"]), PRICES)
        assert price == FleetPrice(label="c7g.large, on demand", usd_per_hour=PRICES.ec2_hour["c7g.large"])
        tasks = price_of(FargateTasks(vcpu=1, memory_gb=2, architecture="x86_64"), PRICES)
        assert tasks == FleetPrice(
            label="Fargate tasks, 1 vCPU, 2 GB, x86_64", usd_per_hour=pytest.approx(0.04937)
        )

    @pytest.mark.parametrize(
        ("found", "reason"),
        [
            (Ec2Instances(types=["c7g.large", "m7g.large"]), "several instance types (c7g.large, m7g.large)"),
            (Ec2Instances(types=["z9.huge"]), "have no z9.huge"),
            (Ec2Instances(types=[]), "names no instance type"),
            (UNREAD, "AWS answered Throttling"),
        ],
    )
    def test_without_one_the_reason_and_the_way_out_are_said(self, found: Any, reason: str) -> None:
        price = price_of(found, PRICES)
        assert isinstance(price, Unknown)
        assert reason in price.reason
        assert price.reason.endswith(hardware.GIVE)


MINUTES = 240


def metrics_read_in_an_hour(served: Workload) -> float:
    """What ticks, retunes and the guard read for a workload in its last hour of four, by GetMetricData."""
    account = FakeAccount()
    account.add_workload(served, visible=3, desired=1)
    account.policies.by_arn[str(served.policy_arn)] = Policy(
        fleet=served.fleet, target=10, definition={"PolicyARN": served.policy_arn}
    )
    account.clock.at = MINUTE_NOW
    for minute in range(MINUTES):
        account.metrics.put(served.queue_metric("NumberOfMessagesSent"), account.clock(), 30.0)
        account.metrics.put(served.duration_metric, account.clock(), *[2.0] * 30)
        account.clock.advance(minutes=1)
        if minute == MINUTES - 60:
            account.calls.made.clear()
        publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)
        if served.guard is not None:
            guard_downstream(account.clock(), account.ports, account.report, account.remaining_s)
        if minute % 60 == 59:
            request = RetuneRequest(trigger=Trigger.SCHEDULE)
            retune_targets(request, account.ports, account.report, account.remaining_s)
    return sum(len(queries) for queries, _, _ in account.calls.named("metrics.read"))  # type: ignore[misc]


@pytest.mark.parametrize(
    "served",
    [
        workload(),
        dynamic_workload(),
        effective(workload()),
        effective(workload(), processing_s=2),
        effective(dynamic_workload()),
        deadline_workload(),
        workload(guard=guard_settings(failed_percent=50)),
    ],
    ids=["backlog", "dynamic", "effective", "given", "effective dynamic", "deadline", "guard"],
)
def test_the_metrics_that_are_billed_are_those_that_the_code_reads(served: Workload) -> None:
    assert sum(metrics_read_per_hour(served).values()) == metrics_read_in_an_hour(served)
