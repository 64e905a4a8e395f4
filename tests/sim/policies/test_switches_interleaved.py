"""Switches between two colors at random moments of random loads, with time-outs and aborts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_sim.simulator.context import ScalingContext
from sluice_sim.switching import Switches
from tests.sim.policies.switches import HOLDS, MINUTE_S, WORKLOADS, Played, at, load_of, play

pytestmark = pytest.mark.slow

BURSTS = st.lists(
    st.tuples(st.integers(1, 110), st.integers(1, 30), st.integers(0, 50)), min_size=1, max_size=8
)
"""(minute, messages, second) of each."""


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(list(WORKLOADS)),
    policy=st.sampled_from(["sluice", "deadline"]),
    bursts=BURSTS,
    service_s=st.sampled_from([5.0, 40.0, 170.0, 1000.0]),
    boot_s=st.sampled_from([20.0, 65.0, 2000.0]),
    minimum=st.integers(0, 2),
    switch_minutes=st.lists(st.integers(5, 110), min_size=1, max_size=3, unique=True).map(sorted),
    second=st.floats(0, 59.9),
    aborts_s=st.lists(st.integers(0, 900), max_size=2),
    groups=st.integers(1, 12),
    seed=st.integers(0, 100),
)
def test_whatever_happens_meanwhile(
    kind, policy, bursts, service_s, boot_s, minimum, switch_minutes, second, aborts_s, groups, seed
):
    arrivals_s = [
        minute * MINUTE_S + at_s + 0.01 * place for minute, count, at_s in bursts for place in range(count)
    ]

    def then(context: ScalingContext, switches: Switches) -> None:
        for minute in switch_minutes[1:]:
            at(context, minute * MINUTE_S + second, switches.begin)
        for after_s in aborts_s:
            begins_s = switch_minutes[0] * MINUTE_S + second
            at(context, begins_s + after_s, lambda: switches.abort(switches.executions[-1]))

    played: Played = play(
        kind,
        policy,
        load_of(arrivals_s, service_s, groups=groups if kind == "fifo" else None),
        switch_minutes[0] * MINUTE_S + second,
        boot_s=boot_s,
        seed=seed,
        minimum=minimum,
        then=then,
    )
    for holds in HOLDS:
        holds(played)
