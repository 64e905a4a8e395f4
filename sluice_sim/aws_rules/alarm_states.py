"""The state of an alarm over time: what its evaluations changed, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sluice_sim.aws_rules.alarms import Alarm, State

UNCHECKED = "Unchecked: Initial alarm creation"
"""StateReason of an alarm that was not evaluated since it was created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmChange:
    """A state change of one alarm, with the evaluation range that led to it (newest last)."""

    alarm: Alarm
    state: State
    previous: State
    reason: str
    previous_reason: str
    points: tuple[float | None, ...]
    at: float


@dataclass(slots=True, kw_only=True)
class AlarmStatus:
    """An alarm and its state; `created_at` is in epoch seconds."""

    alarm: Alarm
    created_at: float
    actions_enabled: bool = True
    change: AlarmChange | None = None
    """The latest change; None for an alarm that is still in its first state."""

    @property
    def state(self) -> State:
        """The current state; a new alarm has too little data."""
        return self.change.state if self.change else State.INSUFFICIENT_DATA

    @property
    def reason(self) -> str:
        """The StateReason."""
        return self.change.reason if self.change else UNCHECKED

    @property
    def since(self) -> float:
        """When the current state began (epoch seconds)."""
        return self.change.at if self.change else self.created_at

    @property
    def triggers(self) -> bool:
        """Whether it is in ALARM and may act."""
        return self.state is State.ALARM and self.actions_enabled

    def evaluate(self, points: Sequence[float | None], now: float) -> AlarmChange | None:
        """Take the state that follows from the evaluation range; the change, if it is one."""
        before = self.state
        state = self.alarm.next_state(points, before)
        if state is before:
            return None
        self.change = AlarmChange(
            alarm=self.alarm,
            state=state,
            previous=before,
            reason=self.alarm.reason_text(points, state),
            previous_reason=self.reason,
            points=tuple(points),
            at=now,
        )
        return self.change
