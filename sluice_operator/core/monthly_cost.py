"""What a plan costs a month, item by item, and what Lambda functions in place of a fleet would.

List prices, without free tiers, taxes, storage and traffic. The alarms are those of the templates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluice_operator.core.demand import Demand
from sluice_operator.core.engine_choice import Scaling
from sluice_operator.core.planning import Plan
from sluice_operator.core.prices import HOURS_A_MONTH, Item, Prices, month_of_alarm, month_of_policy

MONTH_S = HOURS_A_MONTH * 3600.0
REQUESTS_A_MESSAGE = 3
"""Sent, received and deleted one by one; in tens a tenth."""
POLLS_PER_S = 1 / 20
"""Long polls of a worker's process that finds nothing."""
PLANE_GB = 0.5
PUBLISH_S, TICK_S = 0.075, 0.06
"""Billed for an invocation of publish_backlog and deadline_tick with one workload (benchmarks/bill.py)."""
PLANE_POLLS_PER_S = 2 * 5 / 20
"""Lambda's five long polls at each of the control plane's two queues."""
WORKER_METRICS = 2
"""MsgProcessingDuration, alone and by outcome."""
LEARNED_METRICS_PER_HOUR = 6
LAMBDA_MAX_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An item of the bill: dollars a month, and how they come about."""

    item: str
    usd: float
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPrice:
    """What an instance or a task costs."""

    label: str
    usd_per_hour: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacks:
    """What the templates create that is billed by the month: properties of alarms and policies."""

    workload_alarms: Sequence[Mapping[str, Any]]
    policies: Sequence[Mapping[str, Any]]
    plane_alarms: Sequence[Mapping[str, Any]]
    is_fifo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaCost:
    """Functions that consume the queue in place of a fleet."""

    usd: float
    gb_seconds: float
    """A month."""
    because: str
    impossible: str | None
    """Why Lambda cannot do it; None if it can."""


def per_month(
    plan: Plan, demand: Demand, stacks: Stacks, prices: Prices, fleet: FleetPrice | None
) -> list[Line]:
    """Every item, the fleet first; without a price of the fleet it is left out."""
    return [
        *_fleet(plan, fleet),
        *_queue(plan, demand, stacks, prices),
        *_workers_metrics(plan, prices),
        *_workload(plan, stacks, prices),
        *_plane(plan, stacks, prices),
    ]


def instances_month(instances: float, usd_per_hour: float, hours: float = HOURS_A_MONTH) -> float:
    """Dollars for so many instances that run all the time."""
    return instances * usd_per_hour * hours


def drain_cost(demand: Demand, fleet: FleetPrice) -> float:
    """Dollars, once, for the instance-hours that the present backlog takes."""
    instance_s = demand.backlog * demand.processing_s / demand.concurrency
    return instance_s / 3600 * fleet.usd_per_hour


def on_lambda(demand: Demand, memory_gb: float, prices: Prices) -> LambdaCost:
    """The same messages by functions on arm64, one message an invocation, without their idle polls."""
    messages = demand.arrivals.per_s * MONTH_S
    gb_seconds = lambda_gb_s(messages, demand.processing_s, memory_gb)
    usd = gb_seconds * prices.of(Item.LAMBDA_ARM64_GB_S) + messages * prices.of(Item.LAMBDA_REQUEST)
    longest_s = demand.assumed_longest_s
    return LambdaCost(
        usd=usd,
        gb_seconds=gb_seconds,
        because=f"{gb_seconds:,.0f} GB-s on arm64, {messages:,.0f} invocations of {memory_gb:g} GB",
        impossible=None
        if longest_s <= LAMBDA_MAX_S
        else f"a message takes up to {longest_s:,.0f} s, and a function ends after {LAMBDA_MAX_S:.0f} s",
    )


def lambda_gb_s(messages: float, processing_s: float, memory_gb: float) -> float:
    """What Lambda bills by: memory x time."""
    return messages * processing_s * memory_gb


def _fleet(plan: Plan, fleet: FleetPrice | None) -> Iterator[Line]:
    if fleet is None:
        return
    yield Line(
        item="fleet",
        usd=instances_month(plan.mean_instances, fleet.usd_per_hour),
        because=f"{fleet.label}: {plan.mean_instances:.3g} on average x {HOURS_A_MONTH} h x "
        f"${fleet.usd_per_hour:.5g}",
    )


def _queue(plan: Plan, demand: Demand, stacks: Stacks, prices: Prices) -> Iterator[Line]:
    messages = demand.arrivals.per_s * MONTH_S
    polls = plan.mean_instances * POLLS_PER_S * MONTH_S
    requests = REQUESTS_A_MESSAGE * messages + polls
    kind = Item.SQS_FIFO_REQUEST if stacks.is_fifo else Item.SQS_REQUEST
    yield Line(
        item="SQS requests",
        usd=requests * prices.of(kind),
        because=f"{messages:,.0f} messages sent, received, deleted one by one (in tens a tenth), and polls",
    )


def _workers_metrics(plan: Plan, prices: Prices) -> Iterator[Line]:
    waits = 1 if plan.scaling is Scaling.DEADLINE else 0
    puts = plan.mean_instances * MONTH_S / 60
    yield Line(
        item="metrics of the workers",
        usd=(WORKER_METRICS + waits) * prices.of(Item.CUSTOM_METRIC_MONTH)
        + puts * prices.of(Item.PUT_METRIC_DATA),
        because=f"{WORKER_METRICS + waits} custom metrics, and a PutMetricData a minute of each instance",
    )


def _workload(plan: Plan, stacks: Stacks, prices: Prices) -> Iterator[Line]:
    tracked = 2 if plan.scaling is Scaling.TARGET_TRACKING else 1
    yield Line(
        item="metrics of the workload",
        usd=tracked * prices.of(Item.CUSTOM_METRIC_MONTH),
        because=f"{tracked} custom metric{'s' * (tracked > 1)} of the backlog per instance",
    )
    alarms = sum(month_of_alarm(alarm, prices) for alarm in stacks.workload_alarms)
    tracking = sum(month_of_policy(policy, prices) for policy in stacks.policies)
    yield Line(
        item="alarms of the workload",
        usd=alarms + tracking,
        because=f"{len(stacks.workload_alarms)} alarms, and those of the scaling policy",
    )


def _plane(plan: Plan, stacks: Stacks, prices: Prices) -> Iterator[Line]:
    """The control plane, which all workloads of the account share, as for this workload alone."""
    minutes = MONTH_S / 60
    ticks = MONTH_S / 10 if plan.scaling is Scaling.DEADLINE else 0
    yield Line(
        item="control plane: Lambda",
        usd=minutes * _invocation(PUBLISH_S, prices) + ticks * _invocation(TICK_S, prices),
        because="an invocation a minute" + (", and one every 10 s" if ticks else ""),
    )
    polls = PLANE_POLLS_PER_S * MONTH_S + minutes + 4 * ticks
    yield Line(
        item="control plane: SQS",
        usd=polls * prices.of(Item.SQS_REQUEST),
        because="Lambda's polls, and reads of the queue",
    )
    reads = minutes / 5 + LEARNED_METRICS_PER_HOUR * HOURS_A_MONTH
    yield Line(
        item="control plane: CloudWatch",
        usd=sum(month_of_alarm(alarm, prices) for alarm in stacks.plane_alarms)
        + minutes * prices.of(Item.PUT_METRIC_DATA)
        + reads * prices.of(Item.METRIC_READ),
        because=f"{len(stacks.plane_alarms)} alarms, its metrics published and read",
    )
    if ticks:
        yield Line(
            item="control plane: DynamoDB",
            usd=ticks * (prices.of(Item.DYNAMODB_WRITE_UNIT) + prices.of(Item.DYNAMODB_READ_UNIT)),
            because="the engine's state, read and written every 10 s",
        )


def _invocation(billed_s: float, prices: Prices) -> float:
    return billed_s * PLANE_GB * prices.of(Item.LAMBDA_ARM64_GB_S) + prices.of(Item.LAMBDA_REQUEST)
