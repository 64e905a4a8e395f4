"""The record of a switch between two colors in a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sluice.core.model import Color
from sluice.core.switch_record import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken:
    """One invocation of a step, in seconds of the run."""

    at_s: float
    step: Step
    outcome: str
    """What the state machine is told, or the name of the error."""
    detail: str
    wait_s: int
    """How long the state machine waits after it."""


@dataclass(slots=True, kw_only=True)
class PlayedSwitch:
    """A switch, from the start of its execution until nothing is left to do."""

    began_s: float
    to: Color | None = None
    """None for one that was refused."""
    steps: list[StepTaken] = field(default_factory=list)
    ended_s: float | None = None
    """When its execution ended."""
    restored_s: float | None = None
    """When that was done, too, which puts back what it has left."""
    status: str = "RUNNING"
    cause: str = ""

    def durations_s(self) -> Iterator[tuple[Step, float]]:
        """The steps in their order, and how long each took with its waits, until the next one began.

        The last one lasts until nothing is left to do; of an execution that hangs, it has lasted for no time.
        """
        end_s = self.steps[-1].at_s if self.restored_s is None else self.restored_s
        firsts = [
            one
            for place, one in enumerate(self.steps)
            if place == 0 or self.steps[place - 1].step is not one.step
        ]
        for one, following in zip(firsts, [*firsts[1:], None], strict=True):
            yield one.step, (end_s if following is None else following.at_s) - one.at_s
