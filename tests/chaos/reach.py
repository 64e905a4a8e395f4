"""What each share of the interleavings must reach at least once, so that passing means something."""

from __future__ import annotations

import collections

from sluice.core.model import Kind, Limit, Reason, Trigger
from sluice.ports import Counter, Outcome
from tests.chaos.colors import COLORS_REACH
from tests.chaos.event_storm import (
    COLD,
    COUNTED,
    HANDED_BACK,
    LATE_SHUTDOWN,
    NONE_ARRIVE,
    NOT_RENEWED,
    TAKEN_OVER,
    TOO_SOON,
    UNCOUNTED,
    WARM,
)
from tests.chaos.fallback import RAISED
from tests.chaos.faults import STEPS
from tests.chaos.moves import MOVES
from tests.chaos.steps import Step

# The report of a real invocation counts its failure and sends its events, only the load generator sends
# messages, and three workloads need no shards.
NEVER_REACHED_HERE = {
    Counter.INVOCATION_FAILED,
    Counter.EVENTS_NOT_SENT,
    Counter.MESSAGES_SENT,
    Counter.SHARDS_SENT,
    Counter.SHARD_FAILED,
    Counter.GUARD_ENGAGED,
    Counter.GUARD_RELEASED,
}
# No workload here has a downstream guard: its minutes, races and overlaps with a pause are tested in
# tests/sluice/usecases/test_guard_downstream.py, and it is played in tests/scenarios/test_guard.py.
GUARD_REASONS = {
    Reason.GUARDED,
    Reason.DOWNSTREAM_FAILS,
    Reason.DOWNSTREAM_RECOVERED,
    Reason.DOWNSTREAM_WELL,
    Reason.GUARD_OVER,
    Reason.GUARD_SPENT,
}
TRIGGERS = {
    Kind.BOOTSTRAP: (Trigger.TICK, Trigger.ALARM),
    Kind.SHUTDOWN: (Trigger.TICK, Trigger.ALARM),
    Kind.RETUNE: (Trigger.SCHEDULE, Trigger.STACK),
    Kind.SCALE: (Trigger.TICK,),
    Kind.LEARN: (Trigger.SCHEDULE,),
    Kind.SURGE: (Trigger.OPERATOR, Trigger.ALARM),
}


def not_reached(reached: collections.Counter[str]) -> list[str]:
    """Every kind of decision, reason, limit, counter and step that did not occur."""
    reasons = {what.rpartition(": ")[2] for what in reached}
    actions = [f"{kind} acted by {trigger}" for kind, triggers in TRIGGERS.items() for trigger in triggers]
    outcomes = [f"{kind} {outcome}" for kind in TRIGGERS for outcome in Outcome if kind is not Kind.LEARN]
    outcomes += [
        f"{Kind.LEARN} {Outcome.ACTED}",
        f"{Kind.LEARN} {Outcome.HELD}",
        f"{Kind.CAP} {Outcome.OBSERVED}",
    ]
    logged = {what.partition(":")[0] for what in reached}
    return [
        *(reason.name for reason in Reason if reason not in GUARD_REASONS and reason.name not in reasons),
        *(action for action in actions if action not in reached),
        *(outcome for outcome in outcomes if outcome not in logged),
        *(
            limit.name
            for limit in Limit
            if limit is not Limit.GUARD and f"limit: {limit.name}" not in reached
        ),
        *(
            counter
            for counter in Counter
            if counter not in NEVER_REACHED_HERE and f"noted: {counter}" not in reached
        ),
        *(what for what in COLORS_REACH if not reached[what]),
        *(step for step in STEPS if f"step: {step}" not in reached),
        *(step for step in _delivered() if f"step: {step}" not in reached),
        *(
            what
            for what in (
                "inside a handler",
                "invocations that failed",
                TOO_SOON,
                LATE_SHUTDOWN,
                *(COUNTED, UNCOUNTED, NONE_ARRIVE, NOT_RENEWED),
                *RAISED.values(),
                *(TAKEN_OVER, COLD, WARM, HANDED_BACK),
            )
            if not reached[what]
        ),
    ]


def _delivered() -> set[str]:
    steps = {
        part.what for moves in MOVES.values() for move in moves for part in move if isinstance(part, Step)
    }
    return steps - STEPS.keys()
