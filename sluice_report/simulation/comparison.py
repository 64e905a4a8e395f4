"""Several runs beside each other: what each costs, and the share of messages that starts within the promise.

The frontier is the set of runs that no other run beats in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run in the comparison."""

    name: str
    attainment: float
    cost: float
    """Times the lower bound; instance-hours where a run has none."""
    on_frontier: bool


def entries(names: Sequence[str], results: Sequence[Mapping[str, object]]) -> tuple[Entry, ...]:
    """Every run that had a message, in the order given."""
    measured = [
        (name, float(str(result["attainment"])), _cost(result, results))
        for name, result in zip(names, results, strict=True)
        if result["attainment"] is not None
    ]
    return tuple(
        Entry(
            name=name,
            attainment=attained,
            cost=cost,
            on_frontier=not any(
                other >= attained and price <= cost and (other, price) != (attained, cost)
                for _, other, price in measured
            ),
        )
        for name, attained, cost in measured
    )


def in_ratios(results: Sequence[Mapping[str, object]]) -> bool:
    """Whether costs are told as times the bound: every run has one."""
    return all(result.get("cost_ratio") is not None for result in results)


def _cost(result: Mapping[str, object], results: Sequence[Mapping[str, object]]) -> float:
    return float(str(result["cost_ratio" if in_ratios(results) else "instance_hours"]))
