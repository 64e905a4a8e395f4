"""How `sluice cost` is printed: a bill item by item, or a line for each workload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sluice.core.model import Unknown
from sluice_operator.core.account_bill import BillItem, Sum, WorkloadBill, together
from sluice_operator.core.account_usage import Window
from sluice_operator.core.prices import HOURS_A_MONTH, Prices
from sluice_operator.core.ways_out import with_way_out
from sluice_operator.cost.account import Costs
from sluice_report.quantities import number

WITH_REASONS, WITH_PRICES, WITH_PARTS = 115, 75, 75
"""The narrowest terminals that have these columns."""
BAR, BAR_CELLS = "█", 12
UNKNOWN = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """What was read, and the bills of it."""

    costs: Costs
    stack: str
    prices: Prices
    own_prices: bool
    """Whether the prices are the user's own file."""
    plane: Sequence[BillItem] | None
    workloads: Sequence[WorkloadBill]

    @property
    def lacks(self) -> bool:
        """Whether an item could not be read; an unknown price of a fleet is no failed read."""
        return bool(together(self.plane or ()).unknown) or any(each.lacks for each in self.workloads)


def shown(presented: Presented, width: int, *, one: bool) -> Group:
    """The control plane item by item, one workload item by item, or a line for each."""
    if one:
        return _spaced([*_one(presented.workloads[0], width), *_footer(presented, presented.workloads)])
    assert presented.plane is not None
    if presented.workloads:
        return _spaced([*_overview(presented, width), *_footer(presented, presented.workloads)])
    title = f"Control plane {presented.stack}, a month of {HOURS_A_MONTH} hours"
    return _spaced([Text(title, style="bold"), _table(presented.plane, width), *_footer(presented, [])])


def _spaced(parts: Sequence[RenderableType]) -> Group:
    return Group(*parts)


def _one(bill: WorkloadBill, width: int) -> Iterator[RenderableType]:
    yield Text(f"{bill.name}, a month of {HOURS_A_MONTH} hours", style="bold")
    if bill.stack:
        yield _table([*bill.stack, *bill.workers], width)
    yield _fleet_line(bill)
    total = bill.total
    yield Text(f"{bill.name}, with its fleet: {_sum(total)}.", style="bold")


def _fleet_line(bill: WorkloadBill) -> Text:
    fleet, price = bill.fleet, bill.price
    if isinstance(fleet, Unknown):
        return Text(f"Fleet: unknown: {with_way_out(fleet.reason, 'cost')}.")
    hours = (
        f"{_amount(fleet.instance_hours)} instance-hours in {_amount(fleet.known_h)} of the "
        f"{_amount(fleet.window_h)} hours"
    )
    gap = "" if not bill.missing_h else "; nothing is assumed of the others"
    if isinstance(price, Unknown):
        return Text(f"Fleet: {hours}{gap}; without dollars: {with_way_out(price.reason, 'cost')}.")
    return Text(
        f"Fleet: {_usd(bill.fleet_usd)} for {hours}{gap}, at ${price.usd_per_hour:.5g}: {price.label}."
    )


def _table(items: Sequence[BillItem], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_footer=True)
    total = together(items)
    table.add_column("item", footer="together", overflow="fold")
    table.add_column("quantity", justify="right", no_wrap=True)
    if width >= WITH_PRICES:
        table.add_column("each", justify="right", no_wrap=True)
    table.add_column("$ a month", footer=_short_sum(total), justify="right", no_wrap=True)
    if width >= WITH_PRICES:
        table.add_column("how", no_wrap=True)
    if width >= WITH_REASONS:
        table.add_column("", style="dim", overflow="fold")
    for item in items:
        cells = [item.what, _quantity(item)]
        if width >= WITH_PRICES:
            cells.append(_each(item.usd_each))
        cells.append(_usd(item.usd))
        if width >= WITH_PRICES:
            cells.append(item.basis.value)
        if width >= WITH_REASONS:
            cells.append(item.because)
        table.add_row(*cells)
    return table


def _overview(presented: Presented, width: int) -> Iterator[RenderableType]:
    assert presented.plane is not None
    plane = together(presented.plane)
    sums = [each.total for each in presented.workloads]
    most = max([plane.usd, *(each.usd for each in sums)])
    total = Sum(
        usd=plane.usd + sum(each.usd for each in sums),
        unknown=plane.unknown + sum(each.unknown for each in sums),
        missing_h=sum(each.missing_h for each in sums),
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_footer=True)
    table.add_column("", footer="together", overflow="fold")
    if width >= WITH_PARTS:
        table.add_column("stack", justify="right", no_wrap=True)
        table.add_column("workers", justify="right", no_wrap=True)
    table.add_column("fleet", justify="right", no_wrap=True)
    table.add_column("together", footer=_short_sum(total), justify="right", no_wrap=True)
    if width >= WITH_PARTS:
        table.add_column("", no_wrap=True)

    def row(name: str, stack: str, workers: str, fleet: str, of: Sum) -> None:
        if width < WITH_PARTS:
            table.add_row(name, fleet, _short_sum(of))
        else:
            bar = BAR * round(BAR_CELLS * of.usd / most) if most else ""
            table.add_row(name, stack, workers, fleet, _short_sum(of), bar)

    yield Text("Dollars a month; of a fleet, those of the last 30 days", style="bold")
    row("control plane", _short_sum(plane), "", "", plane)
    for bill, of in zip(presented.workloads, sums, strict=True):
        stack, workers = together(bill.stack), together(bill.workers)
        row(bill.name, _short_sum(stack), _short_sum(workers), _fleet_cell(bill), of)
    yield table


def _fleet_cell(bill: WorkloadBill) -> str:
    if isinstance(bill.fleet, Unknown):
        return UNKNOWN
    usd = bill.fleet_usd
    known = f"{_amount(bill.fleet.instance_hours)} h" if isinstance(usd, Unknown) else _usd(usd)
    return f"{known} + {UNKNOWN}" if bill.missing_h else known


def _footer(presented: Presented, workloads: Sequence[WorkloadBill]) -> Iterator[Text]:
    for name, items in (
        ("control plane", presented.plane or ()),
        *((each.name, (*each.stack, *each.workers)) for each in workloads),
    ):
        reasons: dict[str, list[str]] = {}
        for item in items:
            if isinstance(item.quantity, Unknown):
                reasons.setdefault(item.quantity.reason, []).append(item.what)
        for reason, what in reasons.items():
            yield Text(f"? {name}: {', '.join(what)}: {with_way_out(reason, 'cost')}.")
    for each in workloads:
        if each.stack and len(workloads) > 1 and isinstance(each.fleet_usd, Unknown):
            yield Text(f"? {each.name}: fleet: {with_way_out(each.fleet_usd.reason, 'cost')}.")
        if each.missing_h and not isinstance(each.fleet, Unknown):
            yield Text(
                f"? {each.name}: fleet: CloudWatch has no size of it for {_amount(each.missing_h)} of the "
                f"{_amount(each.fleet.window_h)} hours."
            )
        yield from (Text(f"! {each.name}: {note}.") for note in each.notes)
    calls = presented.costs.account_calls
    counted = [
        f"{number(amount)} of {name}" for name, amount in calls.items() if not isinstance(amount, Unknown)
    ]
    if counted:
        yield Text(
            f"Calls of the whole account in the window, by AWS/Usage: {', '.join(counted)}.", style="dim"
        )
    yield Text(_measured(presented.costs.window), style="dim")
    yield Text(_priced(presented), style="dim")


def _measured(window: Window) -> str:
    brief = "" if window.hours >= 1 else " So short a time says little of a month: come back in a day."
    return (
        f"Measured from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC, "
        f"{_amount(window.hours)} hours, and scaled to {HOURS_A_MONTH}; fleets are not scaled.{brief}"
    )


def _priced(presented: Presented) -> str:
    prices, region = presented.prices, presented.costs.region
    elsewhere = (
        ""
        if prices.region == region
        else f"; the account is in {region}: `sluice plan --refresh-prices --region {region}`"
    )
    own = "your own table: " if presented.own_prices else ""
    return f"Prices: {own}{prices}, without free tiers{elsewhere}."


def _quantity(item: BillItem) -> str:
    if isinstance(item.quantity, Unknown):
        return UNKNOWN
    unit = item.unit.removesuffix("s") if item.quantity == 1 else item.unit
    return f"{_amount(item.quantity)} {unit}"


def _amount(quantity: float) -> str:
    return f"{quantity:,.0f}" if quantity >= 100 or quantity == int(quantity) else f"{quantity:.3g}"


def _each(usd: float) -> str:
    """A small price as that of a million."""
    return f"${usd * 1e6:.5g}/M" if 0 < usd < 0.001 else f"${usd:.5g}"


def _usd(usd: float | Unknown) -> str:
    if isinstance(usd, Unknown):
        return UNKNOWN
    return "<$0.01" if 0 < usd < 0.005 else f"${usd:,.2f}"


def _short_sum(found: Sum) -> str:
    """The sum, with a mark if it lacks something."""
    return f"${found.usd:,.2f}" + (f" + {UNKNOWN}" if found.lacking else "")


def _sum(found: Sum) -> str:
    if not found.lacking:
        return f"${found.usd:,.2f}"
    lacking = []
    if found.unknown:
        items = "1 item that is" if found.unknown == 1 else f"{found.unknown} items that are"
        lacking.append(f"{items} unknown")
    if found.missing_h:
        lacking.append(f"{_amount(found.missing_h)} hours of its fleet")
    return f"${found.usd:,.2f} + {UNKNOWN}, without {' and '.join(lacking)}"
