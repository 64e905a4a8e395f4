"""What a deployed control plane and its workloads cost a month, item by item.

Pure. List prices without free tiers, taxes, storage and traffic. An item whose quantity could not be read is
Unknown with the reason, never $0, and a sum says how many such items it lacks. The same functions make the
tables of docs/costs.md, from the templates.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sluice.core.model import DynamicTarget, StaticTarget, Unknown, Workload
from sluice_operator.core.account_usage import (
    HOUR_S,
    MINUTES_A_MONTH,
    Amounts,
    FleetHours,
    FunctionUsage,
    PlaneUsage,
    Window,
    WorkloadUsage,
)
from sluice_operator.core.monthly_cost import FleetPrice
from sluice_operator.core.prices import HOURS_A_MONTH, Item, Prices, alarm_periods_s

POINTS_A_PUT = 1000
"""Data points of a PutMetricData, at most."""
SHARDED_ABOVE, SHARD_WORKLOADS = 1000, 250
"""Above so many workloads a tick is served by shards, each of which publishes by itself."""
ARRIVALS_PER_HOUR = 12
PROCESSING_PER_HOUR = 2
RETUNED_PER_HOUR = 2
LEARNED_PER_HOUR = 6
NATIVE_PER_HOUR = 12
GUARD_FAILED_PER_HOUR, GUARD_DEAD_LETTERS_PER_HOUR = 3 * 60, 60
"""Metrics that GetMetricData reads; tests/operator/core/test_account_bill.py counts what the code reads."""


class Basis(StrEnum):
    """Where an item's quantity comes from."""

    DEPLOYED = "deployed"
    """What exists now: it is billed as long as it exists."""
    MEASURED = "measured"
    """CloudWatch's values of the window, scaled to a month."""
    COMPUTED = "computed"
    """By the schedules and the workload's settings, where AWS publishes no count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BillItem:
    """One line of the bill."""

    what: str
    quantity: float | Unknown
    """A month."""
    unit: str
    usd_each: float
    """Dollars for one unit."""
    basis: Basis
    because: str = ""
    """How the quantity comes about."""

    @property
    def usd(self) -> float | Unknown:
        """Dollars a month."""
        return self.quantity if isinstance(self.quantity, Unknown) else self.quantity * self.usd_each


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Dollars of what is known, and what they lack."""

    usd: float
    unknown: int = 0
    """Items that are unknown."""
    missing_h: float = 0.0
    """Hours of fleets whose size is not known."""

    @property
    def lacking(self) -> int:
        """Items that are unknown in whole, and the missing hours as one more."""
        return self.unknown + bool(self.missing_h)


def together(items: Iterable[BillItem]) -> Sum:
    """The sum of the items that are known."""
    amounts = [item.usd for item in items]
    known = [amount for amount in amounts if not isinstance(amount, Unknown)]
    return Sum(usd=math.fsum(known), unknown=len(amounts) - len(known))


# ---- The bill


def plane_bill(used: PlaneUsage, prices: Prices) -> list[BillItem]:
    """Every item of the control plane itself."""
    return [
        *_alarms(used.alarms, prices, deleted=used.deleted_alarms),
        *_dashboards(used.dashboards, prices),
        *_functions(used, prices),
        _measured(
            "logs",
            used.logged_bytes,
            "GB",
            used.window,
            prices.of(Item.LOGS_GB),
            1e-9,
            "log groups, ingested",
        ),
        _metrics("custom metrics", used.metric_hours, used.window, prices, "of its own health"),
        BillItem(
            what="PutMetricData",
            quantity=puts_a_minute(used.workloads, used.points_a_minute) * MINUTES_A_MONTH,
            unit="requests",
            usd_each=prices.of(Item.PUT_METRIC_DATA),
            basis=Basis.COMPUTED,
            because=f"every minute, {used.points_a_minute:,} data points of {used.workloads:,} workloads",
        ),
        _schedules(used.schedules, prices),
        _measured(
            "SQS",
            used.queue_requests,
            "requests",
            used.window,
            prices.of(Item.SQS_REQUEST),
            1,
            "queues, at most: messages of a batch count singly",
        ),
        *_table(used, prices),
        BillItem(
            what="SSM parameters",
            quantity=float(used.workloads),
            unit="standard",
            usd_each=0.0,
            basis=Basis.DEPLOYED,
            because="the workloads' documents; AWS bills nothing for standard parameters",
        ),
        *_events(used, prices),
    ]


def workload_bill(used: WorkloadUsage, prices: Prices) -> list[BillItem]:
    """Every item of a workload's stack, and what the control plane uses for it alone."""
    workload = used.workload
    read = metrics_read_per_hour(workload)
    return [
        *_alarms(used.alarms, prices),
        *_dashboards(used.dashboards, prices),
        _metrics(
            "custom metrics", used.metric_hours, used.window, prices, "of its backlog, by the control plane"
        ),
        BillItem(
            what="GetMetricData",
            quantity=float(sum(read.values()) * HOURS_A_MONTH),
            unit="metrics",
            usd_each=prices.of(Item.METRIC_READ),
            basis=Basis.COMPUTED,
            because=_and_at_times(
                ", ".join(f"{what}: {count} an hour" for what, count in read.items())
                or "none by its settings",
                workload,
            ),
        ),
        BillItem(
            what="GetQueueAttributes",
            quantity=queue_reads_a_month(workload),
            unit="requests",
            usd_each=prices.of(Item.SQS_FIFO_REQUEST if workload.is_fifo else Item.SQS_REQUEST),
            basis=Basis.COMPUTED,
            because=f"every minute, and every {workload.deadline.tick_s:g} s"
            if workload.deadline
            else "every minute",
        ),
    ]


def workers_bill(used: WorkloadUsage, prices: Prices) -> list[BillItem]:
    """What the metrics of a workload's workers cost."""
    publish = used.worker_metric_hours
    fleet = used.fleet
    scaled = fleet if isinstance(fleet, Unknown) else fleet.per_month
    if isinstance(publish, Unknown):
        scaled = publish
    elif not publish:
        scaled = 0.0
    return [
        _metrics("workers' metrics", publish, used.window, prices, "of processing times, waits and gauges"),
        BillItem(
            what="workers' PutMetricData",
            quantity=scaled if isinstance(scaled, Unknown) else scaled * 60,
            unit="requests",
            usd_each=prices.of(Item.PUT_METRIC_DATA),
            basis=Basis.COMPUTED,
            because="at most: one a minute of each instance, as in the hours that are known; none with "
            "--metrics emf",
        ),
    ]


def puts_a_minute(workloads: int, points: int) -> int:
    """Requests of PutMetricData that publish so many data points a minute."""
    if not points:
        return 0
    shards = math.ceil(workloads / SHARD_WORKLOADS) if workloads > SHARDED_ABOVE else 1
    return max(shards, math.ceil(points / POINTS_A_PUT))


def metrics_read_per_hour(workload: Workload) -> dict[str, int]:
    """Metrics that the control plane reads for a workload whatever happens, by what they are for."""
    read = {}
    if workload.deadline is not None:
        read["learning"] = LEARNED_PER_HOUR
    if workload.publishes_effective:
        read["arrivals"] = ARRIVALS_PER_HOUR
        given = workload.tracking.processing_s is not None and isinstance(workload.target, StaticTarget)
        if not given:
            read["processing time"] = PROCESSING_PER_HOUR
    if isinstance(workload.target, DynamicTarget) and workload.deadline is None:
        read["retuning"] = RETUNED_PER_HOUR
    if workload.tracks_native_metrics:
        read["AWS's own metrics, while instances run"] = NATIVE_PER_HOUR
    guard = workload.guard
    if guard is not None and guard.failed_percent is not None:
        read["guard's failures"] = GUARD_FAILED_PER_HOUR
    if guard is not None and guard.dead_letters_per_minute is not None:
        read["guard's dead letters"] = GUARD_DEAD_LETTERS_PER_HOUR
    return read


def queue_reads_a_month(workload: Workload) -> float:
    """Requests of GetQueueAttributes."""
    ticks = HOURS_A_MONTH * HOUR_S / workload.deadline.tick_s if workload.deadline else 0.0
    return MINUTES_A_MONTH + ticks


def _and_at_times(read: str, workload: Workload) -> str:
    more = ["1 a minute while it is empty above its minimum"]
    if workload.is_fifo:
        more.append("3 every 5 minutes while messages wait and several instances run")
    return f"{read}; not counted: {', '.join(more)}"


def _alarms(
    alarms: Sequence[Mapping[str, Any]] | Unknown, prices: Prices, *, deleted: int = 0
) -> Iterator[BillItem]:
    """Those with a period below a minute apart, which are dearer; one of the two is always there."""
    if isinstance(alarms, Unknown):
        yield _alarm_item("alarms", alarms, Item.ALARM_METRIC_MONTH, prices, "")
        return
    periods_s = [alarm_periods_s(alarm) for alarm in alarms]
    fast = sum(period < 60 for own in periods_s for period in own)
    metrics = sum(map(len, periods_s)) - fast
    because = f"{len(alarms)} alarms, billed by the metrics in them"
    because += f"; {deleted} of its stack do not exist any more" if deleted else ""
    if metrics or not fast:
        yield _alarm_item("alarms", float(metrics), Item.ALARM_METRIC_MONTH, prices, because)
    if fast:
        item = Item.HIGH_RESOLUTION_ALARM_METRIC_MONTH
        because = "with a period below a minute"
        yield _alarm_item("high-resolution alarms", float(fast), item, prices, because)


def _alarm_item(what: str, metrics: float | Unknown, item: Item, prices: Prices, because: str) -> BillItem:
    return BillItem(
        what=what,
        quantity=metrics,
        unit="metrics",
        usd_each=prices.of(item),
        basis=Basis.DEPLOYED,
        because=because,
    )


def _dashboards(dashboards: int | Unknown, prices: Prices) -> Iterator[BillItem]:
    if dashboards == 0:
        return
    yield BillItem(
        what="dashboards",
        quantity=dashboards if isinstance(dashboards, Unknown) else float(dashboards),
        unit="dashboards",
        usd_each=prices.of(Item.DASHBOARD_MONTH),
        basis=Basis.DEPLOYED,
    )


def _functions(used: PlaneUsage, prices: Prices) -> Iterator[BillItem]:
    """GB-seconds of each function that ran or could not be read, and the requests of all."""
    functions = used.functions
    if isinstance(functions, Unknown):
        yield _compute("Lambda", functions, "arm64", prices, "")
        yield _requests(functions, prices, "")
        return
    idle = 0
    for function in functions:
        if function.invocations == 0:
            idle += 1
            continue
        gb_s = _gb_seconds(function)
        because = (
            f"{function.memory_mb} MB, {function.architecture}"
            if isinstance(gb_s, Unknown) or isinstance(function.invocations, Unknown)
            else f"{function.memory_mb} MB, {function.architecture}, "
            f"{_mean_ms(function):,.0f} ms on average, without its starts"
        )
        yield _compute(
            f"Lambda {function.name}", used.window.per_month(gb_s), function.architecture, prices, because
        )
    invocations = _summed(function.invocations for function in functions)
    because = (
        f"of {len(functions) - idle} functions; {idle} never ran"
        if idle
        else f"of {len(functions)} functions"
    )
    yield _requests(used.window.per_month(invocations), prices, because)


def _gb_seconds(function: FunctionUsage) -> float | Unknown:
    if isinstance(function.duration_ms, Unknown):
        return function.duration_ms
    if isinstance(function.memory_mb, Unknown):
        return function.memory_mb
    return function.duration_ms / 1000 * function.memory_mb / 1024


def _mean_ms(function: FunctionUsage) -> float:
    assert not isinstance(function.duration_ms, Unknown)
    assert not isinstance(function.invocations, Unknown)
    return function.duration_ms / function.invocations


def _compute(what: str, gb_s: float | Unknown, architecture: str, prices: Prices, because: str) -> BillItem:
    item = Item.LAMBDA_X86_64_GB_S if architecture == "x86_64" else Item.LAMBDA_ARM64_GB_S
    return BillItem(
        what=what,
        quantity=gb_s,
        unit="GB-s",
        usd_each=prices.of(item),
        basis=Basis.MEASURED,
        because=because,
    )


def _requests(invocations: float | Unknown, prices: Prices, because: str) -> BillItem:
    return BillItem(
        what="Lambda requests",
        quantity=invocations,
        unit="requests",
        usd_each=prices.of(Item.LAMBDA_REQUEST),
        basis=Basis.MEASURED,
        because=because,
    )


def _metrics(what: str, hours: Amounts | Unknown, window: Window, prices: Prices, because: str) -> BillItem:
    """A custom metric is billed for the hours in which it has values."""
    summed = hours if isinstance(hours, Unknown) else _summed(hours.values())
    months = summed if isinstance(summed, Unknown) else summed / window.clock_hours
    count = "" if isinstance(hours, Unknown) else f"{len(hours)} {because}; "
    return BillItem(
        what=what,
        quantity=months,
        unit="metric-months",
        usd_each=prices.of(Item.CUSTOM_METRIC_MONTH),
        basis=Basis.MEASURED,
        because=f"{count}billed by the hours with values",
    )


def _measured(
    what: str,
    amounts: Amounts | Unknown,
    unit: str,
    window: Window,
    usd_each: float,
    scale: float,
    because: str,
) -> BillItem:
    summed = amounts if isinstance(amounts, Unknown) else _summed(amounts.values())
    month = window.per_month(summed)
    return BillItem(
        what=what,
        quantity=month if isinstance(month, Unknown) else month * scale,
        unit=unit,
        usd_each=usd_each,
        basis=Basis.MEASURED,
        because="" if isinstance(amounts, Unknown) else f"{len(amounts)} {because}",
    )


def _schedules(schedules: Amounts | Unknown, prices: Prices) -> BillItem:
    return BillItem(
        what="schedules",
        quantity=schedules if isinstance(schedules, Unknown) else _summed(schedules.values()),
        unit="invocations",
        usd_each=prices.of(Item.SCHEDULER_INVOCATION),
        basis=Basis.COMPUTED,
        because="" if isinstance(schedules, Unknown) else f"{len(schedules)} schedules, by their expressions",
    )


def _table(used: PlaneUsage, prices: Prices) -> Iterator[BillItem]:
    for what, units, item in (
        ("DynamoDB reads", used.read_units, Item.DYNAMODB_READ_UNIT),
        ("DynamoDB writes", used.write_units, Item.DYNAMODB_WRITE_UNIT),
    ):
        yield BillItem(
            what=what,
            quantity=used.window.per_month(units),
            unit="units",
            usd_each=prices.of(item),
            basis=Basis.MEASURED,
            because="the table of states, pauses and holds",
        )


def _events(used: PlaneUsage, prices: Prices) -> Iterator[BillItem]:
    if used.sends_events is False:
        return
    reason = "AWS publishes no count of events by sender; decisions that act and findings are sent"
    yield BillItem(
        what="events",
        quantity=used.sends_events if isinstance(used.sends_events, Unknown) else Unknown(reason=reason),
        unit="events",
        usd_each=prices.of(Item.EVENT),
        basis=Basis.MEASURED,
    )


def _summed(amounts: Iterable[float | Unknown]) -> float | Unknown:
    """The sum; Unknown with every reason if one is unknown."""
    found = list(amounts)
    reasons = Counter(each.reason for each in found if isinstance(each, Unknown))
    if reasons:
        return Unknown(reason="; ".join(reasons))
    return math.fsum(each for each in found if not isinstance(each, Unknown))


# ---- One workload in all


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadBill:
    """One workload's bill."""

    name: str
    stack: Sequence[BillItem]
    workers: Sequence[BillItem]
    fleet: FleetHours | Unknown
    price: FleetPrice | Unknown
    """Of an instance; Unknown with the reason why no price is known."""
    price_unread: bool = False
    """Whether what the instances are could not be read; a type without a list price is no failed read."""
    notes: Sequence[str] = ()

    @property
    def fleet_usd(self) -> float | Unknown:
        """Dollars for the known instance-hours of the window."""
        if isinstance(self.fleet, Unknown):
            return self.fleet
        if isinstance(self.price, Unknown):
            return self.price
        return self.fleet.instance_hours * self.price.usd_per_hour

    @property
    def total(self) -> Sum:
        """All of it; a fleet without dollars counts as unknown, and hours without its size are missing."""
        known = together([*self.stack, *self.workers])
        usd = self.fleet_usd
        if isinstance(usd, Unknown):
            return Sum(usd=known.usd, unknown=known.unknown + 1, missing_h=self.missing_h)
        return Sum(usd=known.usd + usd, unknown=known.unknown, missing_h=self.missing_h)

    @property
    def missing_h(self) -> float:
        """Hours without the fleet's size; 0 for a few minutes, and for a fleet that is unknown in whole."""
        if isinstance(self.fleet, Unknown) or not self.fleet.has_gap:
            return 0.0
        return self.fleet.missing_h

    @property
    def lacks(self) -> bool:
        """Whether a read failed, or hours are missing; an unknown price of known instances is neither."""
        items = together([*self.stack, *self.workers])
        return bool(items.unknown or self.missing_h or self.price_unread) or isinstance(self.fleet, Unknown)
