"""Decisions as EventBridge events, for chat and ticket tools: which become one, what it holds, how often.

docs/schemas/event.json describes an event. What a listener could trip over changes the version in the
detail-type, so that no rule matches what its target does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sluice.core.model import (
    AnyDecision,
    AutoScalingGroup,
    Backlog,
    Capacity,
    Decision,
    Fleet,
    GuardDecision,
    Kind,
    Reason,
    TargetDecision,
    Unknown,
)
from sluice.ports import DecisionEvent, EventBus, Outcome, RemainingS

VERSION = 1
DECISION, FINDING = f"Sluice Decision v{VERSION}", f"Sluice Finding v{VERSION}"
ACTIONS = frozenset(
    {Kind.BOOTSTRAP, Kind.SHUTDOWN, Kind.SCALE, Kind.SURGE, Kind.RETUNE, Kind.GUARD, Kind.SWITCH}
)
"""The decisions that change a fleet, its policy or what holds it: each that has acted is an event."""
FINDINGS = frozenset(
    {Reason.BOUNDS_DISJOINT, Reason.NO_CAPACITY, Reason.PROMISE_OUT_OF_REACH, Reason.COLOR_STAYS}
)
"""The reasons that need a person: each is an event, once an hour as long as it lasts."""
REPEAT_AFTER = timedelta(minutes=59)
"""An hour, less the time by which one tick may start later than another."""
MAX_MESSAGE_CHARS = 1000
"""So that ten events, each of 6 KB at most, never reach the 256 KB that EventBridge takes in a call."""


def detail_type(decision: AnyDecision, outcome: Outcome) -> str | None:
    """Which kind of event the decision is; None for none."""
    if decision.reason in FINDINGS:
        return FINDING
    return DECISION if decision.kind in ACTIONS and outcome is Outcome.ACTED else None


def detail(decision: AnyDecision, fleet: Fleet, sentence: str) -> dict[str, Any]:
    """What the event holds; `sentence` is the decision as it is logged."""
    before, after = _numbers(decision)
    message = f"{decision.workload}: {sentence}"
    return {
        "version": VERSION,
        "workload": decision.workload,
        "fleet": _fleet(fleet),
        "decision": decision.kind.value,
        "reason": decision.reason.name.lower(),
        "trigger": decision.trigger.value,
        "before": before,
        "after": after,
        "message": message if len(message) <= MAX_MESSAGE_CHARS else f"{message[: MAX_MESSAGE_CHARS - 3]}...",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """How many events of an invocation are not on the bus, and the reason of the first."""

    events: int
    reason: Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A decision that becomes an event at the end of the invocation."""

    kind: str
    decision: AnyDecision
    fleet: Fleet
    sentence: str

    @property
    def finding(self) -> tuple[str, Reason] | None:
        return (self.decision.workload, self.decision.reason) if self.kind == FINDING else None

    def event(self) -> DecisionEvent:
        return DecisionEvent(detail_type=self.kind, detail=detail(self.decision, self.fleet, self.sentence))


@dataclass(slots=True, kw_only=True)
class DecisionEvents:
    """Keeps an invocation's decisions until its end, and which findings were sent as long as it lives."""

    bus: EventBus
    now: Callable[[], datetime]
    _kept: list[_Kept] = field(default_factory=list)
    _sent_at: dict[tuple[str, Reason], datetime] = field(default_factory=dict)
    """(workload, reason) of a finding -> when its event was sent."""

    def add(self, decision: AnyDecision, outcome: Outcome, fleet: Fleet, sentence: str) -> None:
        """Keep the decision if it is an event, and no finding that was sent within the hour."""
        kind = detail_type(decision, outcome)
        if kind is None:
            return
        kept = _Kept(kind=kind, decision=decision, fleet=fleet, sentence=sentence)
        if kept.finding is None or not self._is_known(kept.finding):
            self._kept.append(kept)

    def send(self, remaining_s: RemainingS) -> Unsent | None:
        """Put what was kept on the bus; a finding that is not on it is tried again when it is found again."""
        kept, self._kept = self._kept, []
        if not kept:
            return None
        unsent = self.bus.put([each.event() for each in kept], remaining_s)
        for place, each in enumerate(kept):
            if each.finding and place not in unsent:
                self._sent_at[each.finding] = self.now()
        return Unsent(events=len(unsent), reason=unsent[min(unsent)]) if unsent else None

    def _is_known(self, finding: tuple[str, Reason]) -> bool:
        sent_at = self._sent_at.get(finding)
        is_recent = sent_at is not None and self.now() - sent_at < REPEAT_AFTER
        return is_recent or any(finding == each.finding for each in self._kept)


def _fleet(fleet: Fleet) -> dict[str, str]:
    """As in the workload's document."""
    if isinstance(fleet, AutoScalingGroup):
        return {"type": "asg", "name": fleet.name}
    return {"type": "ecs", "cluster": fleet.cluster, "service": fleet.service}


def _numbers(decision: AnyDecision) -> tuple[dict[str, float], dict[str, float] | None]:
    """What was read before the decision, without what is unknown; what it asks for, None for nothing."""
    if isinstance(decision, Decision):
        backlog, capacity = decision.observation.backlog, decision.observation.capacity
        before: dict[str, float] = {}
        if isinstance(capacity, Capacity):
            before |= {"desired": capacity.desired, "running": capacity.running}
        if isinstance(backlog, Backlog):
            before |= asdict(backlog)
        return before, None if decision.desired is None else {"desired": decision.desired}
    if isinstance(decision, TargetDecision):
        known = {} if decision.current is None else {"target": decision.current}
        return known, None if decision.target is None else {"target": decision.target}
    if isinstance(decision, GuardDecision):
        signals = {
            "failed_percent": decision.failed_percent,
            "dead_letters_per_minute": decision.dead_letters_per_minute,
        }
        known = {name: value for name, value in signals.items() if value is not None}
        return known, None if decision.engages is None else {"may_scale_out": 0 if decision.engages else 1}
    raise TypeError(f"{decision.kind} of {decision.workload} changes nothing in AWS: it is no event")
