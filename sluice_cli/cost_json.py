"""`sluice cost --json`; docs/schemas/cost.json describes it.

A value that could not be read is an object with the reason: {"unknown": "..."}.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sluice.core.model import Unknown
from sluice_cli.cost_tables import Presented
from sluice_operator.core.account_bill import BillItem, WorkloadBill, together
from sluice_operator.core.account_usage import Window
from sluice_operator.core.prices import HOURS_A_MONTH


def document(presented: Presented) -> dict[str, Any]:
    """The whole answer."""
    costs = presented.costs
    return {
        "at": _moment(costs.at),
        "stack": presented.stack,
        "region": costs.region,
        "hours_a_month": HOURS_A_MONTH,
        "window": _window(costs.window),
        "prices": {
            "region": presented.prices.region,
            "as_of": presented.prices.as_of.isoformat(),
            "own": presented.own_prices,
        },
        "control_plane": None if presented.plane is None else _items(presented.plane),
        "account_calls": {name: _value(calls) for name, calls in costs.account_calls.items()},
        "workloads": [_workload(each) for each in presented.workloads],
    }


def _workload(bill: WorkloadBill) -> dict[str, Any]:
    total = bill.total
    return {
        "name": bill.name,
        "stack": _items(bill.stack),
        "workers_metrics": _items(bill.workers),
        "fleet": _fleet(bill),
        "usd": total.usd,
        "unknown_items": total.lacking,
        "missing_fleet_hours": total.missing_h,
        "notes": list(bill.notes),
    }


def _fleet(bill: WorkloadBill) -> dict[str, Any]:
    fleet, price = bill.fleet, bill.price
    if isinstance(fleet, Unknown):
        return _unknown(fleet)
    return {
        "instance_hours": fleet.instance_hours,
        "known_hours": fleet.known_h,
        "window_hours": fleet.window_h,
        "price": _unknown(price)
        if isinstance(price, Unknown)
        else {"label": price.label, "usd_per_hour": price.usd_per_hour},
        "usd": _value(bill.fleet_usd),
    }


def _items(items: Sequence[BillItem]) -> dict[str, Any]:
    found = together(items)
    return {
        "items": [
            {
                "what": item.what,
                "quantity": _value(item.quantity),
                "unit": item.unit,
                "usd_each": item.usd_each,
                "usd_a_month": _value(item.usd),
                "basis": item.basis.value,
                "because": item.because,
            }
            for item in items
        ],
        "usd_a_month": found.usd,
        "unknown_items": found.unknown,
    }


def _window(window: Window) -> dict[str, Any]:
    return {"start": _moment(window.start), "end": _moment(window.end), "hours": window.hours}


def _value(value: float | Unknown) -> Any:
    return _unknown(value) if isinstance(value, Unknown) else value


def _unknown(value: Unknown) -> dict[str, str]:
    return {"unknown": value.reason}


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
