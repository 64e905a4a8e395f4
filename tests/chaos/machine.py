"""The hypothesis state machine: it chooses how the workloads start, and every move.

One run of it, from the beginning to the quiet end, is one interleaving. A failure is shrunk to the few moves
that bring it about.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Rule, RuleBasedStateMachine, initialize, rule

from tests.chaos.event_storm import EventStorm
from tests.chaos.moves import MOVES, InitialState, Move, beginning, make


@st.composite
def beginnings(draw: st.DrawFn) -> InitialState:
    return beginning(lambda options: draw(st.sampled_from(options)))


def offers(name: str) -> Rule:
    """A rule that makes any of the moves of this name."""

    def play(self: _Chaos, move: Move) -> None:
        assert self.storm is not None
        storm, self.storm = self.storm, None  # a storm that broke a promise has no quiet end
        make(storm, move)
        self.storm = storm

    play.__name__ = name
    return rule(move=st.sampled_from(MOVES[name]))(play)


class _Chaos(RuleBasedStateMachine):
    storm: EventStorm | None = None

    @initialize(start=beginnings())
    def workloads_are_registered(self, start: InitialState) -> None:
        self.storm = start.storm()

    def teardown(self) -> None:
        if self.storm is not None:
            self.storm.end_quietly()


Chaos = type("Chaos", (_Chaos,), {name: offers(name) for name in MOVES})
"""Ticks, alarms, messages, instances, hands and troubles in any order, and inside one another."""
