"""A switch between two colors as an operator sees it: what it would do, how far it is, and how it ended."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sluice.core.model import Backlog, Capacity, Color, Observation, Workload
from sluice.core.switch import needed, only_flips
from sluice.core.switch_record import Step

MAX_NAME = 80
"""Characters of an execution's name (documented)."""
HOOK = "hook"
STATES = {
    "Begin": Step.BEGIN,
    "Freeze": Step.FREEZE,
    "Raise": Step.RAISE,
    "Ready": Step.READY,
    "Hook": HOOK,
    "Flip": Step.FLIP,
    "Drain": Step.DRAIN,
    "Retire": Step.RETIRE,
    "Finish": Step.FINISH,
    "RollBack": Step.ROLL_BACK,
    "Restore": Step.RESTORE,
}
"""State of SwitchStateMachine in template.yaml -> the step that it asks for."""
WAY = (Step.BEGIN, Step.FREEZE, Step.RAISE, Step.READY, Step.FLIP, Step.DRAIN, Step.RETIRE, Step.FINISH)
"""The steps of a switch that goes well."""
RUNNING, SUCCEEDED, STOPPED = "RUNNING", "SUCCEEDED", ("ABORTED", "TIMED_OUT")
NOTHING_TO_DO = "nothing_to_do"
_OWN_ERRORS = ("RolledBack", "ColorStays", "NotFinished")
"""The errors of the definition's own Fail states, whose causes are sentences."""


class Kind(StrEnum):
    """What an event of an execution's history says of a step."""

    BEGAN = "began"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One event of an execution's history, by the state machine's state."""

    id: int
    at: datetime
    kind: Kind
    state: str
    """Empty for a failure, which is that of the state that began last."""
    detail: str = ""
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """An execution as Step Functions describes it."""

    arn: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    asked: Any
    """Its input: workload, to, by."""
    error: str | None = None
    cause: str | None = None

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self.status == RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeen:
    """One step so far."""

    step: str
    began_at: datetime
    ended_at: datetime | None = None
    detail: str = ""
    """What it has said last."""
    outcome: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The steps of a switch so far, in the order in which they began."""

    steps: tuple[StepSeen, ...] = ()
    newest_id: int = 0

    @property
    def now(self) -> StepSeen | None:
        """The step that began last; None before the first."""
        return self.steps[-1] if self.steps else None

    @property
    def done(self) -> int:
        """How many steps of a switch that goes well lie behind."""
        place = [WAY.index(Step(each.step)) for each in self.steps if each.step in WAY]
        return max(place, default=0)


def progress(before: Progress, events: Iterable[Happened]) -> Progress:
    """How far a switch is with these further events; a step that is repeated stays one step."""
    steps, newest = list(before.steps), before.newest_id
    for event in events:
        newest = event.id
        if event.kind is Kind.FAILED:
            if steps:
                steps[-1] = replace(steps[-1], detail=event.detail, failed=True)
            continue
        step = STATES.get(event.state)
        if step is None:
            continue
        if event.kind is Kind.BEGAN:
            if not steps or steps[-1].step != step:
                steps.append(StepSeen(step=str(step), began_at=event.at))
        elif steps and steps[-1].step == step:
            steps[-1] = replace(
                steps[-1],
                ended_at=event.at,
                detail=event.detail or steps[-1].detail,
                outcome=event.outcome,
                failed=steps[-1].failed and not event.outcome,
            )
    return Progress(steps=tuple(steps), newest_id=newest)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a switch ended: whether the color is switched, and a sentence."""

    well: bool
    outcome: str
    message: str


def end(workload: str, execution: Execution, seen: Progress) -> End:
    """How this execution, which has ended, ended."""
    last = seen.now
    if execution.status == SUCCEEDED:
        detail = last.detail if last is not None else "it has ended"
        if last is not None and last.outcome == NOTHING_TO_DO:
            return End(well=True, outcome=NOTHING_TO_DO, message=f"{detail}; nothing was changed")
        return End(well=True, outcome="switched", message=detail)
    if execution.status in STOPPED:
        how = "was stopped" if execution.status == "ABORTED" else "took longer than all its waits"
        why = f" ({execution.cause})" if execution.cause else ""
        message = (
            f"the switch {how}{why}; the control plane puts back what it has changed: "
            f"`sluice switch {workload} --follow` shows it"
        )
        return End(well=False, outcome=execution.status.lower(), message=message)
    return _failed(workload, execution, seen)


def _failed(workload: str, execution: Execution, seen: Progress) -> End:
    """A refusal, a switch that was undone, or one that left something."""
    wrong = next((each for each in seen.steps if each.failed), None)
    why = _why(execution)
    if execution.error == "ColorStays":
        last = seen.now
        said = f"{last.detail}: " if last is not None and last.detail else ""
        return End(well=False, outcome="color_stays", message=f"{said}{why}")
    if execution.error == "NotFinished":
        why = f"{wrong.detail}; {why}" if wrong is not None and wrong.detail else why
        message = f"{why} `sluice switch {workload} --follow` shows it"
        return End(well=False, outcome="not_finished", message=message)
    undone = next((each for each in seen.steps if each.step == Step.ROLL_BACK), None)
    if undone is not None and undone.outcome == NOTHING_TO_DO:
        return End(well=False, outcome="refused", message=f"{why}; nothing was changed")
    late = next((each for each in seen.steps if each.outcome == "timed_out"), None)
    if execution.error == "RolledBack":
        said = f"{late.detail}; " if late is not None else ""
        return End(well=False, outcome="rolled_back", message=f"{said}{why}")
    at = f"{wrong.step} failed: " if wrong is not None else ""
    return End(well=False, outcome="rolled_back", message=f"{at}{why}; everything is as it was before")


def _why(execution: Execution) -> str:
    cause = execution.cause or execution.error or "it does not say why"
    if execution.error in _OWN_ERRORS:
        return cause.rstrip(".")
    try:
        told = json.loads(cause)
    except ValueError:
        return cause.rstrip(".")
    return str(told.get("errorMessage") or cause) if isinstance(told, dict) else cause


# --- what a switch would do -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What one step would do."""

    step: Step
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a switch would do now, or why it is refused, or that there is nothing to do."""

    workload: str
    active: Color
    to: Color
    refusal: str | None = None
    steps: Sequence[Planned] = field(default=())


def planned(workload: Workload, observation: Observation, target: float) -> list[Planned]:
    """What each step of a switch to the idle color would do; `why_not_begun` says nothing against it."""
    idle, active = workload.idle, workload.color
    old, new, backlog = observation.capacity, observation.idle, observation.backlog
    assert idle is not None
    assert active is not None
    assert isinstance(old, Capacity)
    assert isinstance(new, Capacity)
    assert isinstance(backlog, Backlog)
    to = idle.color
    if only_flips(old, backlog):
        return [
            Planned(
                step=Step.BEGIN, detail="nothing runs and no message is in the queue: only the color flips"
            ),
            Planned(step=Step.FLIP, detail=f"make {to} the active color, with the target of {active}"),
            Planned(step=Step.FINISH, detail="remove the record of the switch"),
        ]
    instances = needed(workload, observation, target)
    has_running = f"{active} has {old.desired}, {backlog.total:,} messages at {target:g} per instance"
    raised = (
        f"raise {to}, {idle.fleet}, from {new.desired} to {instances} instances ({has_running})"
        if instances > new.desired
        else f"leave {to}, {idle.fleet}, at {new.desired} instances ({has_running})"
    )
    return [
        Planned(step=Step.BEGIN, detail="store who switches, and what both colors have, to put it back"),
        Planned(
            step=Step.FREEZE, detail="suspend AWS's own scaling of both colors; scale-in of both is held"
        ),
        Planned(step=Step.RAISE, detail=raised),
        Planned(step=Step.READY, detail=f"wait until {instances} instances of {to} run and take messages"),
        Planned(step=Step.FLIP, detail=f"make {to} the active color, with the target of {active}"),
        Planned(step=Step.DRAIN, detail=f"have {active} receive no more, and wait until none of it is busy"),
        Planned(step=Step.RETIRE, detail=f"lower {active}, {workload.fleet}, from {old.desired} to 0"),
        Planned(step=Step.FINISH, detail="resume AWS's own scaling, and remove the record of the switch"),
    ]


# --- the name of an execution -----------------------------------------------------------------------------


def execution_name(workload: str, to: Color | None, now: datetime, unique: str) -> str:
    """A name that is readable, sorts by time within a workload, and is unique: AWS keeps it for 90 days."""
    end_ = f"-{to or 'other'}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{unique}"
    return workload[: MAX_NAME - len(end_)] + end_


def is_of(workload: str, name: str) -> bool:
    """Whether an execution of this name was started for this workload."""
    found = re.fullmatch(r"(.+)-(?:blue|green|other)-\d{8}T\d{6}Z-[0-9a-f]+", name)
    return (
        found is not None
        and workload[: len(found[1])] == found[1]
        and (len(found[1]) == len(workload) or len(name) == MAX_NAME)
    )
