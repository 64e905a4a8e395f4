"""What the surge function answers to `sluice surge`."""

from __future__ import annotations

from typing import Any

from sluice.core.surge import Surge
from sluice.ports import Outcome
from sluice.report import fields, sentence
from sluice.usecases.surge import Surged


def answer(done: Surged) -> dict[str, Any]:
    """What JSON can hold of it; `refusal` is why nothing was done, None if something was."""
    return {
        "workload": done.decision.workload,
        "outcome": done.outcome.value,
        "message": sentence(done.decision, done.outcome),
        "refusal": done.refusal.why if done.refusal else _why_observed(done),
        "surge": _surge(done.surge),
        "replaced": _surge(done.replaced),
        "decision": fields(done.decision, done.outcome),
    }


def _why_observed(done: Surged) -> str | None:
    if done.outcome is not Outcome.OBSERVED:
        return None
    return (
        f"the Mode of {done.decision.workload} is observe, so nothing was changed; it would be "
        f"{done.decision.desired}: update its stack with Mode=active"
    )


def _surge(one: Surge | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "instances": one.instances,
        "until": one.until.isoformat(),
        "by": one.by,
        "minimum_before": one.minimum_before,
    }
