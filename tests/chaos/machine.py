"""The hypothesis state machine: it chooses how the workloads start, and every move.

One run of it, from the initial state to the final check, is one interleaving. hypothesis shrinks a failure to
the few moves that cause it.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Rule, RuleBasedStateMachine, initialize, rule

from tests.chaos.event_storm import EventStorm
from tests.chaos.moves import MOVES, InitialState, Move, beginning, make_move


@st.composite
def beginnings(draw: st.DrawFn) -> InitialState:
    return beginning(lambda options: draw(st.sampled_from(options)))


def offers(name: str) -> Rule:
    """A rule that makes any of the moves of this name."""

    def run_interleaving(self: _Chaos, move: Move) -> None:
        assert self.storm is not None
        storm, self.storm = self.storm, None  # after a violation, the end is not checked
        make_move(storm, move)
        self.storm = storm

    run_interleaving.__name__ = name
    return rule(move=st.sampled_from(MOVES[name]))(run_interleaving)


class _Chaos(RuleBasedStateMachine):
    storm: EventStorm | None = None

    @initialize(start=beginnings())
    def workloads_are_registered(self, start: InitialState) -> None:
        self.storm = start.storm()

    def teardown(self) -> None:
        if self.storm is not None:
            self.storm.end_and_check()


Chaos = type("Chaos", (_Chaos,), {name: offers(name) for name in MOVES})
"""Ticks, alarms, messages, instances, operators and faults in any order, and inside one another."""
