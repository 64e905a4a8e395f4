"""What the switch function answers to its state machine."""

from __future__ import annotations

from typing import Any

from sluice.usecases.switch import StepDone


def answer(done: StepDone) -> dict[str, Any]:
    """What JSON can hold of it; `outcome` is what the state machine's choices read."""
    return {
        "workload": done.workload,
        "to": None if done.to is None else done.to.value,
        "outcome": done.outcome.value,
        "wait_s": done.wait_s,
        "detail": done.detail,
    }
