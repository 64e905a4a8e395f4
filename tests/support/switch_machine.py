"""Where the state machine of a switch goes after a step, as template.yaml has it, with fewer attempts."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.errors import TransientError

ATTEMPTS = 3
ENDED, FAILED, STAYS, ROLLED_BACK = "ended", "failed", "color stays", "rolled back"
"""How an execution ends: well, without its end, with both colors up, or with nothing changed."""
ENDS = (ENDED, FAILED, STAYS, ROLLED_BACK)
UNDOES = ("roll_back", "finish", "restore")
AFTER_THE_FLIP = ("drain", "retire", "finish")
RESTORED_AFTER_S = 60
"""A restore waits for so long at first."""
NEXT_OF: Mapping[str, str] = {
    "begin": "freeze",
    "freeze": "raise",
    "raise": "ready",
    "ready": "flip",
    "flip": "drain",
    "drain": "retire",
    "retire": "finish",
}


def after_failure(step: str, failure: Exception, attempts: int) -> tuple[str, int]:
    """The step that comes after a failure, and how many attempts of it there were."""
    is_retried = step in UNDOES or isinstance(failure, TransientError)
    if is_retried and attempts + 1 < ATTEMPTS:
        return step, attempts + 1
    if step in UNDOES:
        return FAILED, 0
    return ("finish" if step in AFTER_THE_FLIP else "roll_back"), 0


def after(step: str, outcome: str) -> str:
    """The step that comes after an answer, the same one if it is to wait."""
    if outcome == "wait":
        return step
    if outcome == "nothing_to_do":
        return ENDED
    if step in UNDOES:
        ends = {"roll_back": ROLLED_BACK}
        return STAYS if outcome == "timed_out" else ends.get(step, ENDED)
    if outcome == "timed_out":
        return "roll_back" if step == "ready" else "finish"
    if outcome == "flip_only":
        return "flip" if step == "begin" else "finish"
    return NEXT_OF[step]
