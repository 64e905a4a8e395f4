"""Several runs beside each other: what each costs, and the share of messages that starts within the promise.

The frontier is the set of runs that no other run beats in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One run in the comparison."""

    name: str
    attainment: float
    cost: float
    """A multiple of the lower bound; instance-hours if any run has no bound."""
    on_frontier: bool


def compare(names: Sequence[str], results: Sequence[Mapping[str, object]]) -> tuple[ComparedRun, ...]:
    """Every run that received a message, in the given order."""
    measured = [
        (name, float(str(result["attainment"])), _cost(result, results))
        for name, result in zip(names, results, strict=True)
        if result["attainment"] is not None
    ]
    return tuple(
        ComparedRun(
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


def uses_cost_ratios(results: Sequence[Mapping[str, object]]) -> bool:
    """Whether costs are multiples of the lower bound: only if every run has one."""
    return all(result.get("cost_ratio") is not None for result in results)


def _cost(result: Mapping[str, object], results: Sequence[Mapping[str, object]]) -> float:
    return float(str(result["cost_ratio" if uses_cost_ratios(results) else "instance_hours"]))
