"""What `sluice switch` prints: the plan, the steps as they come, and the end; docs/schemas has the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sluice.core.model import Color
from sluice_operator.core.switching import WAY, Execution, Plan, Progress, StepSeen, end
from sluice_operator.switches import Found

WIDTH = max(len(step) for step in WAY) + 1


def plan(of: Plan) -> str:
    """What would be done, step by step."""
    if of.refusal is not None:
        return f"{of.workload}: a switch to {of.to} would be refused: {of.refusal}"
    if of.to is of.active:
        return f"{of.workload}: {of.to} is active already; nothing would be done"
    steps = [f"  {each.step.value:<{WIDTH}} {each.detail}" for each in of.steps]
    return "\n".join(
        [f"{of.workload}: {of.active} is active; a switch to {of.to} would", *steps, "Nothing was changed."]
    )


def plan_json(of: Plan) -> Mapping[str, Any]:
    """The same as an object."""
    outcome = "refused" if of.refusal else "nothing_to_do" if of.to is of.active else "planned"
    return _object(
        of.workload,
        of.to,
        outcome=outcome,
        message=plan(of).splitlines()[0].removeprefix(f"{of.workload}: "),
        well=not of.refusal,
        steps=[_step(each.step.value, each.detail) for each in of.steps],
    )


def lines(seen: Progress) -> list[str]:
    """A line for each step that has ended; one that is repeated has ended once the next one begins."""
    return [_line(each) for each in seen.steps[:-1]]


def _line(each: StepSeen) -> str:
    failed = "failed: " if each.failed else ""
    return f"{_time(each.began_at)} {each.step:<{WIDTH}} {failed}{each.detail}".rstrip()


def now(begun: Found, seen: Progress) -> tuple[str, float]:
    """The step in progress, and the share of the steps that lie behind."""
    if seen.now is None:
        return f"{begun.workload}: starting", 0.0
    said = f": {seen.now.detail}" if seen.now.detail else ""
    return f"{seen.now.step}{said}", seen.done / len(WAY)


def ended(begun: Found, stands: Execution, seen: Progress) -> Mapping[str, Any]:
    """How the switch ended."""
    how = end(begun.workload, stands, seen)
    return _object(
        begun.workload,
        begun.to,
        outcome=how.outcome,
        message=how.message,
        well=how.well,
        execution=stands.arn,
        steps=[_seen(each) for each in seen.steps],
    )


def active_already(workload: str, color: Color) -> Mapping[str, Any]:
    """A switch that has nothing to do."""
    message = f"{color} is active already; nothing was changed"
    return _object(workload, color, outcome="nothing_to_do", message=message, well=True)


def aborted(found: Found) -> Mapping[str, Any]:
    """A switch that was stopped."""
    message = (
        "the switch is stopped, and the control plane puts back what it has changed: "
        f"`sluice switch {found.workload} --follow` shows it"
    )
    return _object(
        found.workload, found.to, outcome="aborted", message=message, well=True, execution=found.execution
    )


def left(begun: Found) -> str:
    """What is told at Ctrl-C."""
    name = begun.workload
    return (
        f"{name}: the switch goes on without this command; `sluice switch {name} --follow` follows it, "
        f"`sluice switch {name} --abort` stops and undoes it"
    )


def _object(
    workload: str,
    to: Color | None,
    *,
    outcome: str,
    message: str,
    well: bool,
    execution: str | None = None,
    steps: list[Mapping[str, Any]] | None = None,
) -> Mapping[str, Any]:
    return {
        "workload": workload,
        "to": None if to is None else to.value,
        "outcome": outcome,
        "well": well,
        "message": message,
        "execution": execution,
        "steps": steps or [],
    }


def _seen(each: StepSeen) -> Mapping[str, Any]:
    return _step(each.step, each.detail, each.began_at, each.ended_at, failed=each.failed)


def _step(
    step: str,
    detail: str,
    began: datetime | None = None,
    ended_at: datetime | None = None,
    *,
    failed: bool = False,
) -> Mapping[str, Any]:
    return {
        "step": step,
        "began": None if began is None else began.astimezone(UTC).isoformat(),
        "ended": None if ended_at is None else ended_at.astimezone(UTC).isoformat(),
        "failed": failed,
        "detail": detail,
    }


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M:%S}"
