"""The tables of docs/costs.md add up from the templates, the code and the list prices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import list_prices as prices
from benchmarks import stub_aws
from benchmarks.bill import month_of_policy
from sluice.aws.engine_states import DynamoDbEngineStates
from sluice.core.deadline.learning import Learned
from sluice.core.deadline.plan import Processing
from sluice.core.fifo import EVERY_MINUTES
from sluice.core.minutes import MINUTE
from sluice.core.model import MSG_PROCESSING_DURATION, Deadline, TrackedMetric, Tracking, Trigger, Workload
from sluice.core.sustained_arrivals import READ_MINUTES
from sluice.decision_events import REPEAT_AFTER
from sluice.events import RetuneRequest
from sluice.ports import NO_TICK_S, StateWrite, StoredState
from sluice.usecases.guard_downstream import guard_downstream
from sluice.usecases.native_metrics import PUBLISHED_MINUTES
from sluice.usecases.offered_load import (
    ARRIVALS,
    PROCESSING,
)
from sluice.usecases.retune import retune_targets
from sluice.usecases.tick import publish_backlog
from sluice_sim.template import ResolvedStack
from sluice_worker.core.counters import ReportInterval
from sluice_worker.core.gauges import Gauges
from sluice_worker.core.metrics import gauge_series, series
from sluice_worker.core.model import Depth, Outcome, Priority
from tests.sluice.aws import account as moto_account
from tests.sluice.core.deadline.test_encoding import traffic
from tests.support.builders import (
    MINUTE_NOW,
    POOL,
    deadline,
    engine_state,
    guard_settings,
    plenty,
    queue_url,
)
from tests.support.builders import ecs_workload as ecs
from tests.support.builders import workload as asg
from tests.support.fakes import FakeAccount
from tests.templates import stacks
from tests.templates import test_optional_alarms as optional_alarms

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/costs.md").read_text(encoding="utf-8")
SCALE = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
FLEETS = ("asg", "ecs")
BUILD = {"asg": asg, "ecs": ecs}
GREEN = {
    "asg": {"GreenAutoScalingGroupName": "transcription-green"},
    "ecs": {"GreenServiceName": "queue-proc-green"},
}
TRACKING_ALARMS = 2
"""AlarmHigh and AlarmLow, of each target-tracking policy."""
ALARM_QUOTA = 5000
PROCESSES = 30
LONG_REPORT_MINUTES = 5
SIMULATED_MINUTES = 120

Row = tuple[str, ...]


def dollars(price: float) -> str:
    return f"${price:.2f}"


def table(header: str) -> list[Row]:
    """The rows of the page's table whose header starts with this text."""
    found = PAGE.partition(f"\n| {header}")[2].partition("\n\n")[0]
    assert found, f"docs/costs.md has no table that begins with | {header}"
    rows = re.findall(r"^\|(.*)\|$", found, flags=re.MULTILINE)[1:]
    return [tuple(cell.strip() for cell in re.split(r"\s*\|\s*", row)) for row in rows]


def markdown(rows: Sequence[Row]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def assert_table(header: str, expected: Sequence[Row]) -> None:
    assert table(header) == list(expected), (
        f"docs/costs.md, table | {header} ...: the templates and the code give\n{markdown(expected)}"
    )


def alarms(stack: ResolvedStack) -> dict[str, Mapping[str, Any]]:
    return {
        name: resource.properties
        for name, resource in stack.resources.items()
        if resource.type == "AWS::CloudWatch::Alarm"
    }


def month_of_alarms(fleet: str, **parameters: str) -> float:
    found = alarms(stacks.workload(fleet, **parameters))
    return sum(prices.month_of_alarm(alarm) for alarm in found.values())


def counting_arrivals(fleet: str, *, processing_s: float | None = 60) -> Workload:
    tracking = Tracking(metric=TrackedMetric.EFFECTIVE, processing_s=processing_s)
    return replace(BUILD[fleet](), tracking=tracking)


def published_metrics(workload: Workload) -> int:
    """Custom metrics that a tick publishes for one workload."""
    account = FakeAccount()
    account.add_workload(workload, visible=3, desired=1)
    publish_backlog(MINUTE_NOW, account.ports, account.report, account.remaining_s)
    return len(account.metrics.samples)


def tracked_metrics(fleet: str, **parameters: str) -> int:
    """Metrics in each alarm of the target-tracking policy."""
    [policy] = [
        resource.properties
        for resource in stacks.workload(fleet, **parameters).resources.values()
        if resource.type.endswith("::ScalingPolicy")
    ]
    [configuration] = [value for name, value in policy.items() if name.startswith("TargetTracking")]
    metrics = configuration["CustomizedMetricSpecification"].get("Metrics", [{"MetricStat": {}}])
    return sum("MetricStat" in query for query in metrics)


def tracking(fleet: str, **parameters: str) -> float:
    return TRACKING_ALARMS * tracked_metrics(fleet, **parameters) * prices.ALARM_METRIC


def per_workload() -> Iterator[tuple[str, list[float]]]:
    """Label and price per fleet type, of everything with a fixed price."""
    plain = [published_metrics(BUILD[fleet]()) for fleet in FLEETS]
    more = [published_metrics(counting_arrivals(fleet)) - 1 for fleet in FLEETS]
    assert plain == more == [1, 1], "each of these two rows is for one custom metric"
    yield "Custom metric BacklogPerInstance", [count * prices.CUSTOM_METRIC for count in plain]
    effective = "Custom metric EffectiveBacklogPerInstance, if it is tracked"
    yield effective, [count * prices.CUSTOM_METRIC for count in more]
    of_fleet = [alarms(stacks.workload(fleet, Name="NAME")) for fleet in FLEETS]
    assert of_fleet[0].keys() == of_fleet[1].keys()
    for name in of_fleet[0]:
        both = [found[name] for found in of_fleet]
        counts = list(dict.fromkeys(str(len(prices.alarm_periods_s(alarm))) for alarm in both))
        of_metrics = "" if counts == ["1"] else f" (metrics: {', '.join(counts)})"
        yield f"Alarm `{both[0]['AlarmName']}`{of_metrics}", [prices.month_of_alarm(alarm) for alarm in both]
    yield "Target tracking's two alarms, mode `active`", [tracking(fleet) for fleet in FLEETS]


def test_what_a_workload_costs() -> None:
    rows = list(per_workload())
    expected = [(label, *map(dollars, both)) for label, both in rows]
    together = [sum(both[column] for _, both in rows) for column in range(len(FLEETS))]
    expected.append(("**Together**", *(f"**{dollars(total)}**" for total in together)))
    assert_table("Per workload", expected)


def test_what_the_alarms_cost_that_are_off_by_default() -> None:
    every = {fleet: alarms(stacks.workload(fleet, **optional_alarms.EVERY, Name="NAME")) for fleet in FLEETS}
    by_default = alarms(stacks.workload("asg")).keys()
    assert every["asg"].keys() == every["ecs"].keys()
    rows, totals = [], dict.fromkeys(FLEETS, 0.0)
    switches = optional_alarms.SWITCHES | {name: names for name, (_, names) in optional_alarms.GIVEN.items()}
    for parameter, names in sorted(switches.items()):
        price = {
            fleet: sum(
                prices.month_of_alarm(alarm)
                for logical_id, alarm in found.items()
                if logical_id not in by_default and alarm["AlarmName"].removeprefix("sluice-NAME-") in names
            )
            for fleet, found in every.items()
        }
        rows.append((f"`{parameter}`", *(dollars(price[fleet]) for fleet in FLEETS)))
        totals = {fleet: totals[fleet] + price[fleet] for fleet in FLEETS}
    rows.append(("**Together**", *(f"**{dollars(totals[fleet])}**" for fleet in FLEETS)))
    assert_table("Alarms that are off by default", rows)


def test_what_the_dashboard_costs() -> None:
    """It reads what is published anyway, so that it adds no custom metric."""
    price = {}
    for fleet in FLEETS:
        shown, plain = stacks.workload(fleet, Dashboard="true").resources, stacks.workload(fleet).resources
        [dashboard] = [shown[name] for name in shown.keys() - plain.keys()]
        assert dashboard.type == "AWS::CloudWatch::Dashboard"
        price[fleet] = prices.DASHBOARD
    assert_table("What a person sees", [("`Dashboard`", *(dollars(price[fleet]) for fleet in FLEETS))])


def read_cost(metrics: int, every_minutes: int) -> float:
    return metrics * prices.MINUTES / every_minutes * prices.GET_METRIC_DATA_PER_METRIC


def queries_of_a_tick(**state: int) -> int:
    """Metrics that a tick reads for a FIFO workload in a minute with a FIFO check."""
    account = FakeAccount()
    served = account.add_workload(asg("queue-proc", queue_url=queue_url("builds.fifo")), **state)
    publish_backlog(MINUTE_NOW, account.ports, account.report, account.remaining_s)
    assert account.report.backlogs.keys() == {served.name}
    return sum(len(queries) for queries, _, _ in account.calls.named("metrics.read"))  # type: ignore[misc]


def read_for_arrivals(
    *, processing_s: float | None, measured: bool = False, forgetful: bool = False
) -> float:
    """Dollars per month for metrics that ticks read, at 30 sustained arrivals per minute.

    `forgetful`: each tick runs in a process without memory of the last one, as shards may.
    """
    account = FakeAccount()
    served = account.add_workload(counting_arrivals("asg", processing_s=processing_s), visible=3, desired=1)
    account.clock.at = MINUTE_NOW
    for minute in range(SIMULATED_MINUTES):
        account.metrics.put(served.queue_metric("NumberOfMessagesSent"), account.clock(), 30.0)
        if measured:
            account.metrics.put(served.duration_metric, account.clock(), *[2.0] * 30)
        account.clock.advance(minutes=1)
        if minute >= READ_MINUTES:
            publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)
        if minute == SIMULATED_MINUTES - 61:
            account.calls.made.clear()
        if forgetful:
            account.last_known.clear()
    assert all(name in ("NumberOfMessagesSent", MSG_PROCESSING_DURATION) for name in metrics_read(account))
    return prices.MINUTES / 60 * len(metrics_read(account)) * prices.GET_METRIC_DATA_PER_METRIC


def metrics_read(account: FakeAccount) -> list[str]:
    """The name of each metric that was read."""
    return [
        query.metric.name
        for queries, _, _ in account.calls.named("metrics.read")  # type: ignore[misc]
        for query in queries.values()
    ]


def test_what_a_workload_costs_in_addition() -> None:
    known = {"ProcessingSeconds": "60"}
    natively = {fleet: tracking(fleet, MetricSource="native") - tracking(fleet) for fleet in FLEETS}
    with_arrivals = {
        fleet: tracking(fleet, MetricSource="native", **known) - tracking(fleet, **known) for fleet in FLEETS
    }
    arrivals = read_for_arrivals(processing_s=60)
    every_minute = read_for_arrivals(processing_s=60, forgetful=True)
    processing = read_for_arrivals(processing_s=None, measured=True) - arrivals
    unknown = read_for_arrivals(processing_s=None) - arrivals
    assert arrivals == pytest.approx(read_cost(1, ARRIVALS.refresh_interval // MINUTE))
    assert every_minute == pytest.approx(read_cost(1, 1))
    assert processing == pytest.approx(read_cost(2, PROCESSING.refresh_interval // MINUTE))
    assert unknown == pytest.approx(read_cost(4, PROCESSING.retry_interval // MINUTE))
    groups = queries_of_a_tick(visible=9, in_flight=2, desired=4)
    proof = queries_of_a_tick(desired=1)
    looks = dollars(read_cost(groups, EVERY_MINUTES))
    proofs = dollars(read_cost(proof, 1))
    looked = f"GetMetricData of {groups} metrics every {EVERY_MINUTES} minutes"
    reads = dollars(prices.MINUTES * prices.SQS_PER_REQUEST)
    assert {tracked_metrics(fleet, MetricSource="native") for fleet in FLEETS} == {2}
    assert {tracked_metrics(fleet, MetricSource="native", **known) for fleet in FLEETS} == {3}
    expected = [
        (
            "If EffectiveBacklogPerInstance is tracked: GetMetricData of arrivals every 5 minutes",
            *[dollars(arrivals)] * 2,
        ),
        (
            "The same above 1000 workloads, at most: every minute, as each process remembers its own",
            *[dollars(every_minute)] * 2,
        ),
        (
            "And of the processing time, unless a static target has ProcessingSeconds: 2 metrics every hour",
            *[dollars(processing)] * 2,
        ),
        (
            "The same while the workers publish none: 4 metrics every 10 minutes",
            *[dollars(unknown)] * 2,
        ),
        (
            "`MetricSource=native`: the two alarms have three metrics each",
            *(dollars(with_arrivals[fleet]) for fleet in FLEETS),
        ),
        (
            "`MetricSource=native` with `TrackedMetric=backlog`: two metrics each",
            *(dollars(natively[fleet]) for fleet in FLEETS),
        ),
        (f"FIFO, while messages wait and several run: {looked}", looks, looks),
        (
            f"While it is empty above its minimum: GetMetricData of {proof} metric every minute",
            proofs,
            proofs,
        ),
        (
            "A policy on AWS's own metrics, while instances run: GetMetricData of 1 metric every 5 minutes",
            *[dollars(read_cost(1, PUBLISHED_MINUTES.refresh_interval // MINUTE))] * 2,
        ),
        ("GetQueueAttributes every minute", reads, reads),
        (
            "Blue/green: the second policy's two alarms, and other alarms of both colors",
            *(
                dollars(tracking(fleet) + month_of_alarms(fleet, **GREEN[fleet]) - month_of_alarms(fleet))
                for fleet in FLEETS
            ),
        ),
        (
            "Its BacklogPerInstance, in the month of a switch: that of the other color too, at most",
            *[dollars(prices.CUSTOM_METRIC)] * 2,
        ),
    ]
    assert_table("In addition, per workload", expected)


def hourly_queries(workload: Workload) -> int:
    """Metrics that the hourly step reads for one workload of the deadline engine."""
    account = FakeAccount()
    account.add_workload(workload)
    retune_targets(
        RetuneRequest(trigger=Trigger.SCHEDULE), account.ports, account.report, account.remaining_s
    )
    return len(metrics_read(account))


def item_bytes(state_bytes: int) -> int:
    """The size of the item of the workload with the longest name: a state of this size, what was learned."""
    name, now_s = "w" * 64, MINUTE_NOW.timestamp()
    processing = Processing(mean_s=5.0, variation=0.5)
    learned = Learned(at_s=now_s, margin_s=10.0, messages=1e6, processing=processing)
    with moto_account.account():
        moto_account.create_state_table()
        dynamodb = moto_account.client("dynamodb")
        states = DynamoDbEngineStates(lambda: dynamodb, POOL, "states")
        states.learn(name, learned)
        before = StoredState(tick_s=NO_TICK_S, state=None, learned=learned)
        states.write({name: StateWrite(state=engine_state(now_s), replaces=before)}, plenty)
        [item] = dynamodb.scan(TableName="states")["Items"]
    return stub_aws.item_bytes(item) - len(item["state"]["B"]) + state_bytes


def deadline_rows() -> Iterator[tuple[str, list[float]]]:
    """Label and price per fleet type, of what a workload of the deadline engine costs."""
    stack_of = {fleet: stacks.workload(fleet, Scaling="deadline", ProcessingSeconds="5") for fleet in FLEETS}
    known = Tracking(processing_s=5)
    served = {fleet: replace(BUILD[fleet](), deadline=deadline(), tracking=known) for fleet in FLEETS}
    yield (
        "Custom metric BacklogPerInstance",
        [published_metrics(served[fleet]) * prices.CUSTOM_METRIC for fleet in FLEETS],
    )
    yield (
        "Its four alarms, as above",
        [sum(map(prices.month_of_alarm, alarms(stack_of[fleet]).values())) for fleet in FLEETS],
    )
    held = {
        fleet: stacks.workload(fleet, Scaling="deadline", ProcessingSeconds="5", Fallback="true")
        for fleet in FLEETS
    }
    [of_group, of_service] = [month_of_policy(held[fleet]) for fleet in FLEETS]
    assert of_group == of_service == month_of_policy(stack_of["asg"])
    metrics = round(of_group / prices.ALARM_METRIC)
    label = f"Its fallback's alarm (metrics: {metrics}), mode `active`, by default for asg alone"
    yield label, [month_of_policy(stack_of[fleet]) for fleet in FLEETS]
    yield "GetQueueAttributes every minute", [prices.MINUTES * prices.SQS_PER_REQUEST] * 2
    ticks = prices.MINUTES * 60 / Deadline(promise_s=300, boot_s=180).tick_s
    yield "GetQueueAttributes every 10 s", [ticks * prices.SQS_PER_REQUEST] * 2
    state = ticks * (prices.DYNAMODB_PER_WRITE_UNIT + prices.DYNAMODB_PER_READ_UNIT)
    yield "Its state in DynamoDB, read and written every 10 s, up to 1 KB", [state] * 2
    metrics = [hourly_queries(served[fleet]) for fleet in FLEETS]
    assert metrics[0] == metrics[1]
    yield (
        f"GetMetricData of processing times and waits: {metrics[0]} metrics every hour",
        [read_cost(count, 60) for count in metrics],
    )
    waiting = worker_metrics(*Outcome, with_wait=True) - worker_metrics(*Outcome)
    yield (
        "Custom metric MsgWaitDuration, which its workers publish by default",
        [waiting * prices.CUSTOM_METRIC] * 2,
    )


def test_what_a_workload_of_the_deadline_engine_costs() -> None:
    rows = list(deadline_rows())
    expected = [(label, *map(dollars, both)) for label, both in rows]
    together = [sum(both[column] for _, both in rows) for column in range(len(FLEETS))]
    expected.append(("**Together**", *(f"**{dollars(total)}**" for total in together)))
    assert_table("Per workload with `Scaling=deadline`", expected)


def test_what_a_workload_of_the_deadline_engine_costs_in_addition() -> None:
    rows = dict(deadline_rows())
    per_tick = rows["GetQueueAttributes every 10 s"][0] + next(
        both[0] for label, both in rows.items() if label.startswith("Its state")
    )
    second_unit = prices.MINUTES * 6 * prices.DYNAMODB_PER_WRITE_UNIT
    lambda_100_ms = prices.Minute(invocations=6, billed_s=0.6, memory_mb=512)
    expected = [
        (
            "`TickSeconds=5`: twice the reads, states and ticks; without the ticks",
            dollars(per_tick),
        ),
        (
            "While its state is larger: a second write unit, from a promise of about 15 minutes on",
            dollars(second_unit),
        ),
        (
            "Ticks of up to 60 workloads together: their messages, of up to 64 KiB",
            f"{dollars(messages_of_a_slice(1))} to {dollars(messages_of_a_slice(TICKS_A_MINUTE))}",
        ),
        (
            "Ticks of up to 60 workloads together: `deadline_tick`, for each 0.1 s that it takes",
            dollars(prices.month(lambda_100_ms)),
        ),
    ]
    assert_table("In addition with `Scaling=deadline`", expected)


TICKS_A_MINUTE = 6


def messages_of_a_slice(send_requests: int) -> float:
    """Dollars per month for the ticks of a slice, sent in so many requests a minute, received and deleted."""
    return prices.month(prices.Minute(sqs_requests=send_requests + 2 * TICKS_A_MINUTE))


@pytest.mark.parametrize(("promise_s", "units"), [(300, 1), (600, 1), (1800, 2)])
@pytest.mark.parametrize(("per_s", "most"), [(50, 1000), (5, 8)], ids=["bursts", "lasting overload"])
def test_how_many_write_units_a_state_takes(promise_s: float, units: int, per_s: float, most: int) -> None:
    state_bytes, _ = traffic(1, per_s=per_s, most=most, promise_s=promise_s)
    assert stub_aws.units(item_bytes(state_bytes), stub_aws.WRITE_UNIT_BYTES) == units


def worker_metrics(*outcomes: Outcome, with_wait: bool = False) -> int:
    """Custom metrics that a worker publishes for a minute with these outcomes."""
    interval = ReportInterval(
        began_at=0.0,
        length_s=60.0,
        durations_s={outcome: {1.0: 1} for outcome in outcomes},
        waits_s={1.0: 1},
        within_promise=0,
    )
    found = series(interval, {"AutoScalingGroupName": "transcription"}, with_wait=with_wait)
    return len({(each.name, *sorted(each.dimensions.items())) for each in found})


def gauge_metrics() -> int:
    """Custom metrics of the gauges of workers that consume one queue."""
    gauges = Gauges(
        buffered={Priority.MEDIUM: 1},
        buffer_use=0.1,
        pushed=1,
        popped=1,
        pollers=1,
        slots=1,
        busy=1,
        depths={"transcription": Depth(visible=1, in_flight=1)},
    )
    return len(list(gauge_series(gauges, {"AutoScalingGroupName": "transcription"})))


def test_what_a_fleet_of_workers_costs() -> None:
    minimum, maximum = worker_metrics(Outcome.SUCCESS), worker_metrics(*Outcome)
    waiting = worker_metrics(*Outcome, with_wait=True) - maximum
    put = prices.MINUTES * prices.PUT_METRIC_DATA
    min_price, max_price = minimum * prices.CUSTOM_METRIC, maximum * prices.CUSTOM_METRIC
    one = prices.CUSTOM_METRIC
    expected = [
        ("Custom metric MsgProcessingDuration of successes, which `retune_target` reads", dollars(one)),
        (
            f"The same with the dimension `Outcome`, for each of {len(Outcome)} outcomes once it occurs",
            f"{dollars(min_price - one)} to {dollars(max_price - one)}",
        ),
        ("**Together**", f"**{dollars(min_price)} to {dollars(max_price)}**"),
        ("Custom metric MsgWaitDuration (`--publish-wait`)", dollars(waiting * one)),
        (
            f"{gauge_metrics()} custom metrics of the buffer, the pools and one queue (`--publish-gauges`)",
            dollars(gauge_metrics() * one),
        ),
        (
            "PutMetricData, each process that works all the time (with `--publish-gauges` also idle)",
            dollars(put),
        ),
        (f"PutMetricData, {PROCESSES} of them", dollars(PROCESSES * put)),
        (
            f"PutMetricData, {PROCESSES} of them with `--report-s {LONG_REPORT_MINUTES * 60}`",
            dollars(PROCESSES * put / LONG_REPORT_MINUTES),
        ),
    ]
    assert_table("Per fleet of `sluice_worker`", expected)


def test_what_the_control_plane_costs() -> None:
    found = alarms(stacks.plane())
    larger = "[larger registries](decisions/0013-the-tick-fans-out-by-shards.md)"
    below = "[ticks below a minute](decisions/0026-ticks-below-a-minute-are-delayed-messages.md)"
    costs = [
        (f"{len(found)} alarms", sum(map(prices.month_of_alarm, found.values()))),
        (
            "PutMetricData every minute, for each 1000 data points: a workload has one or two",
            prices.MINUTES * prices.PUT_METRIC_DATA,
        ),
        (
            f"Lambda's polls of the queue for {larger}, {prices.LAMBDA_POLLERS} of 20 s at a time",
            prices.month_of_polls(),
        ),
        (
            f"Lambda's polls of the queue of {below}, {prices.LAMBDA_POLLERS} of 20 s at a time",
            prices.month_of_polls(),
        ),
    ]
    expected = [(label, dollars(cost)) for label, cost in costs]
    expected.append(("**Together**", f"**{dollars(sum(cost for _, cost in costs))}**"))
    assert_table("Per control plane", expected)


def test_what_the_events_of_decisions_cost() -> None:
    tick_s, repeat = deadline().tick_s, REPEAT_AFTER // MINUTE
    resized = prices.MINUTES * 60 / tick_s
    expected = [
        ("A million events: decisions that act, and findings", dollars(1e6 * prices.CUSTOM_EVENT)),
        (
            f"A workload that the deadline engine resized at every tick of {tick_s} s",
            dollars(resized * prices.CUSTOM_EVENT),
        ),
        (
            f"1000 findings that last the whole month, each sent every {repeat} minutes",
            dollars(1000 * prices.MINUTES / repeat * prices.CUSTOM_EVENT),
        ),
    ]
    assert_table("Events, with `EventBusArn`", expected)
    assert f"${prices.LOGS_INSIGHTS_PER_GB} a GB" in PAGE


@pytest.mark.parametrize("fleet", FLEETS)
def test_how_many_workloads_fit_the_alarm_quota(fleet: str) -> None:
    of_workload = len(alarms(stacks.workload(fleet))) + TRACKING_ALARMS
    of_plane = len(alarms(stacks.plane()))
    fit = (ALARM_QUOTA - of_plane) // of_workload
    expected = (
        f"{of_workload} alarms a workload, including target tracking's two, and {of_plane} of the control "
        f"plane: {fit} workloads"
    )
    assert expected in SCALE, f"docs/scale.md, its row of the quota of alarms: {expected}"


def test_what_the_downstream_guard_costs() -> None:
    more = len(alarms(stacks.plane(DownstreamGuard="true"))) - len(alarms(stacks.plane()))
    watched = {
        "A workload's `GuardFailedPercent`": {"failed_percent": 50},
        "A workload's `GuardDeadLettersPerMinute`": {
            "failed_percent": None,
            "dead_letters_per_minute": 1,
            "dead_letter_queue": "dead",
        },
    }
    expected = [(f"Its {more} alarms", dollars(more * prices.ALARM_METRIC))]
    for label, settings in watched.items():
        account = FakeAccount()
        account.add_workload(asg(guard=guard_settings(**settings)))
        guard_downstream(account.clock(), account.ports, account.report, account.remaining_s)
        read = len(metrics_read(account))
        cost = prices.month(prices.Minute(metrics_read=read, read_units=1))
        metrics = "1 metric" if read == 1 else f"{read} metrics"
        expected.append((f"{label}: GetMetricData of {metrics} every minute", dollars(cost)))
    assert_table("Downstream guard, with `DownstreamGuard=true`", expected)
