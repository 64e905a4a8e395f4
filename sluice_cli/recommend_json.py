"""`sluice recommend --json` (docs/schemas/recommend.json)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sluice_cli.recommend_tables import Presented, monthly
from sluice_operator.core.monthly_cost import FleetPrice
from sluice_operator.core.prices import Prices
from sluice_sim.study.candidates import present_value
from sluice_sim.study.judging import Figures, Range
from sluice_sim.study.recommendation import Recommendation
from sluice_sim.study.reproduction import Reproduction


def document(presented: Presented) -> dict[str, Any]:
    """The whole advice; what is unknown is null."""
    advice = presented.advice
    return {
        "workload": presented.workload,
        "days": len(advice.whole.days),
        "messages": presented.past.trace.total,
        "promise_s": advice.whole.promise_s,
        "promise_percent": 100 * advice.keep_share,
        "price": None if presented.fleet is None else _price(presented.fleet, presented.prices),
        "notes": list(presented.past.notes),
        "reproduction": None if advice.reproduction is None else _reproduction(advice.reproduction),
        "refused": advice.refused,
        "recommendation": (
            None if advice.recommendation is None else _recommendation(presented, advice.recommendation)
        ),
    }


def _price(fleet: FleetPrice, prices: Prices | None) -> dict[str, Any]:
    return {
        "of": fleet.label,
        "usd_per_hour": fleet.usd_per_hour,
        "list_prices": (
            None if prices is None else {"region": prices.region, "as_of": prices.as_of.isoformat()}
        ),
    }


def _reproduction(found: Reproduction) -> dict[str, Any]:
    return asdict(found) | {
        "hours_error": found.hours_error,
        "share_error_points": found.share_error_points,
    }


def _recommendation(presented: Presented, found: Recommendation) -> dict[str, Any]:
    present = presented.advice.present
    return {
        "tried": found.tried,
        "tuned_days": found.tuned_days,
        "probe_days": found.probe_days,
        "judged_days": found.judged_days,
        "changes": [
            {"setting": name, "present": present_value(present, name) or None, "recommended": text or None}
            for name, text in found.changes.items()
        ],
        "present": _figures(found.present, presented),
        "recommended": _figures(found.recommended, presented),
        "saving": found.saving,
        "saving_above_threshold": presented.saves,
        "promise_broken_now": presented.breaks,
    }


def _figures(figures: Figures, presented: Presented) -> dict[str, Any]:
    fleet, hours = presented.fleet, figures.instance_hours
    return {
        "instance_hours_a_day": _range(hours),
        "dollars_a_month": None if fleet is None else _range(monthly(hours, fleet)),
        "share_in_time": None if figures.share is None else _range(figures.share),
        "promise_kept": figures.attainment >= presented.advice.keep_share,
        "peak_instances": figures.peak_instances,
    }


def _range(value: Range) -> dict[str, float]:
    return {"mean": value.mean, "min": value.min, "max": value.max}
