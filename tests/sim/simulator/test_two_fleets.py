"""Two fleets on one queue: whoever receives works, whoever is told to stop finishes what it has."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_sim.simulator.color_ports import LEARNS_WITHIN_S
from sluice_sim.simulator.fleet import ScaleIn, SimulatedFleet
from sluice_worker.runtime.draining_color import READ_INTERVAL_S
from tests.sim.simulator.fleets import START_S, at, beside, simulated_fleet


def two(arrivals_s: list[float], service_s: float, **given: object) -> tuple[SimulatedFleet, SimulatedFleet]:
    first = simulated_fleet(arrivals_s, service_s, **given)  # type: ignore[arg-type]
    return first, beside(first)


def at_once() -> float:
    return 0.0


def test_both_fleets_take_messages_and_each_counts_its_own() -> None:
    first, second = two([1.0, 1.0, 1.0], 10)
    first.set_desired(1)
    second.set_desired(2)
    at(first, 5)
    assert (first.size().busy, second.size().busy) == (1, 2)
    assert first.queue.counts().in_flight == 3
    at(first, 20)
    assert (first.size().busy, second.size().busy, first.queue.processed) == (0, 0, 3)


def test_a_fleet_that_is_told_to_stop_finishes_and_takes_nothing_more() -> None:
    first, second = two([1.0, 20.0, 21.0], 10)
    first.set_desired(1)
    at(first, 5)
    first.set_receiving(False, at_once)
    at(first, 15)
    assert first.queue.processed == 1
    at(first, 30)
    assert (first.size().busy, first.queue.counts().visible) == (0, 2)
    second.set_desired(2)
    at(first, 35)
    assert (first.size().busy, second.size().busy) == (0, 2)
    first.set_receiving(True, at_once)
    second.set_desired(0)
    at(first, 60)
    assert first.queue.processed == 3


def test_an_instance_that_finishes_what_it_has_is_ending_until_it_is_gone() -> None:
    first, _ = two([1.0], 10)
    first.set_desired(2)
    at(first, 5)
    first.set_desired(0)
    assert (first.size().running, first.size().ending) == (0, 1)
    at(first, 12)
    assert (first.size().ending, first.queue.processed) == (0, 1)


def test_the_workers_stop_within_their_interval_each_at_its_own_moment() -> None:
    arrivals = [0.5 * place for place in range(200)]
    first, _ = two(arrivals, 1, maximum=5)
    first.set_desired(5)
    at(first, 20)
    moments = iter([1.0, 3.0, 5.0, 7.0, 9.5])
    first.set_receiving(False, lambda: next(moments))
    at(first, 24.9)
    assert first.size().busy > 0
    at(first, 31)
    assert first.size().busy == 0
    assert at(first, 60).queue.counts().visible > 0


def test_an_instance_that_starts_while_its_fleet_is_told_to_stop_takes_nothing() -> None:
    first, _ = two([1.0], 10, boot_s=30.0)
    first.set_desired(1)
    at(first, 5)
    first.set_receiving(False, at_once)
    first.set_desired(2)
    at(first, 60)
    assert (first.size().running, first.size().busy) == (2, 0)
    first.set_receiving(True, at_once)
    at(first, 75)
    assert first.queue.processed == 1


def test_the_simulated_workers_read_the_color_as_often_as_the_deployed_ones() -> None:
    assert LEARNS_WITHIN_S == READ_INTERVAL_S


COMMANDS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["size", "stop receiving", "receive"]),
        st.integers(0, 4),
        st.floats(0.5, 40),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=80, deadline=None)
@given(
    gaps=st.lists(st.floats(0, 20), min_size=1, max_size=60),
    service_s=st.sampled_from([1.0, 7.0, 60.0]),
    commands=COMMANDS,
    groups=st.none() | st.integers(1, 6),
    concurrency=st.integers(1, 3),
    scale_in=st.sampled_from(ScaleIn),
    boot_s=st.sampled_from([0.0, 5.0, 50.0]),
)
def test_whatever_the_fleets_are_told(gaps, service_s, commands, groups, concurrency, scale_in, boot_s):
    arrivals = np.cumsum(gaps).tolist()
    members = None if groups is None else [place % groups for place in range(len(arrivals))]
    workers = {"concurrency": concurrency, "scale_in": scale_in, "boot_s": boot_s}
    fleets = two(arrivals, service_s, groups=members, maximum=5, **workers)
    queue, now, told_since = fleets[0].queue, 0.0, [0.0, 0.0]
    for place, what, size, after_s in commands:
        fleet = fleets[place]
        if what == "size":
            fleet.set_desired(size)
        else:
            was = fleet.receives
            fleet.set_receiving(what == "receive", at_once)
            if fleet.receives is not was:
                told_since[place] = now
        queue.clock.run_until(START_S + now)  # what is due now, such as that the workers learn
        now += after_s
        at(fleets[0], now)
        for other, each in enumerate(fleets):
            told_for_s = now - told_since[other]
            if not each.receives and told_for_s > service_s:
                assert each.size().busy == 0, "it works on what it received long ago"
        counts = queue.counts()
        assert counts.visible + counts.in_flight + queue.processed + queue.dead_letters == queue.arrived
        assert queue.lost() == 0
    for fleet in fleets:
        fleet.set_desired(0)
        fleet.set_receiving(True, at_once)
    at(fleets[0], now + 1)
    fleets[0].set_desired(2)
    at(fleets[0], now + 10_000 + service_s * len(arrivals))
    assert queue.processed + queue.dead_letters == len(arrivals), "nothing is stuck"
    started_s, following = queue.messages.started_s, queue.messages.next_in_group
    for message, after in enumerate(following.tolist()):
        if after >= 0 and queue.messages.receives[message] == 1:
            assert started_s[after] >= started_s[message] + service_s - 1e-6
