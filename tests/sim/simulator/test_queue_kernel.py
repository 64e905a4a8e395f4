"""Compares the compiled event loop with a slow reference simulation and with queueing theory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_sim.simulator import queue_kernel
from sluice_sim.simulator.fleet import (
    ScaleIn,
    SimulatedFleet,
)
from tests.sim.simulator.fleets import (
    at,
    simulated_fleet,
    started,
)

Command = tuple[float, int]
"""(second, desired count)."""


@dataclass(eq=False)
class ReferenceInstance:
    number: int
    launched_s: float
    ready_s: float
    stopping: bool = False


@dataclass(eq=False)
class Slot:
    """One slot; `message` is None while it idles or boots."""

    instance: ReferenceInstance
    free_s: float
    message: int | None = None
    booting: bool = True


@dataclass
class ReferenceSimulation:
    """The same simulation without any data structure: it searches everything at every step."""

    arrival_s: Sequence[float]
    service_s: Sequence[float]
    boots_s: Sequence[float]
    groups: Sequence[int] | None
    concurrency: int
    kills: bool
    timeout_s: float
    max_receives: int
    delay_s: float
    slots: list[Slot] = field(default_factory=list)
    instances: list[ReferenceInstance] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.arrival_s)
        self.visible_s: list[float] = [arrival + self.delay_s for arrival in self.arrival_s]
        self.state = ["waiting"] * count
        self.receives = [0] * count
        self.start_s: list[float | None] = [None] * count

    def run(self, commands: Sequence[Command], until_s: float) -> None:
        now = 0.0
        todo = sorted(commands)
        while True:
            next_receive_s, message = self._next_receive(now)
            next_end_s = min(
                (p.free_s for p in self.slots if p.booting or p.message is not None), default=math.inf
            )
            next_command_s = todo[0][0] if todo else math.inf
            now = min(next_receive_s, next_end_s, next_command_s)
            if now >= until_s:
                return
            if now == next_command_s:
                self._set_desired(now, todo.pop(0)[1])
            elif now == next_end_s:
                self._end(now)
            else:
                self._receive(now, message)

    def _next_receive(self, now: float) -> tuple[float, int]:
        if not any(p.message is None and not p.booting for p in self.slots):
            return math.inf, -1
        waiting = [
            (self.visible_s[one], one)
            for one, state in enumerate(self.state)
            if state == "waiting" and not self._blocked(one)
        ]
        visible, message = min(waiting, default=(math.inf, -1))
        return max(now, visible), message

    def _blocked(self, message: int) -> bool:
        if self.groups is None:
            return False
        earlier = [one for one in range(message) if self.groups[one] == self.groups[message]]
        return any(self.state[one] not in ("done", "dead") for one in earlier)

    def _receive(self, now: float, message: int) -> None:
        if self.receives[message] >= self.max_receives:
            self._remove(message, "dead", now)
            return
        idle = [slot for slot in self.slots if slot.message is None and not slot.booting]
        slot = min(idle, key=lambda one: one.free_s)
        slot.message, slot.free_s = message, now + self.service_s[message]
        self.state[message], self.start_s[message] = "busy", now
        self.receives[message] += 1

    def _end(self, now: float) -> None:
        ending = [p for p in self.slots if p.free_s == now and (p.booting or p.message is not None)]
        slot = ending[0]
        if slot.message is not None:
            self._remove(slot.message, "done", now)
        slot.message, slot.booting = None, False
        if slot.instance.stopping:
            self.slots.remove(slot)

    def _remove(self, message: int, state: str, now: float) -> None:
        self.state[message] = state
        if self.groups is not None:
            later = [
                one for one in range(message + 1, len(self.state)) if self.groups[one] == self.groups[message]
            ]
            if later:
                self.visible_s[later[0]] = max(self.visible_s[later[0]], now)

    def _set_desired(self, now: float, desired: int) -> None:
        staying = [instance for instance in self.instances if not instance.stopping]
        for _ in range(desired - len(staying)):
            number = len(self.instances)
            instance = ReferenceInstance(number, now, now + self.boots_s[number])
            self.instances.append(instance)
            self.slots += [Slot(instance, instance.ready_s) for _ in range(self.concurrency)]
        booting = sorted((m for m in staying if m.ready_s > now), key=lambda m: (-m.launched_s, m.number))
        running = [m for m in staying if m.ready_s <= now]
        for instance in (booting + running)[: max(0, len(staying) - desired)]:
            self._stop(instance, now)

    def _stop(self, instance: ReferenceInstance, now: float) -> None:
        instance.stopping = True
        for slot in [one for one in self.slots if one.instance is instance]:
            if slot.message is None or self.kills:
                self.slots.remove(slot)
            if slot.message is not None and self.kills:
                self._return(slot.message, now)

    def _return(self, message: int, now: float) -> None:
        started_s = self.start_s[message]
        assert started_s is not None
        visible_s = started_s
        while visible_s <= now:
            visible_s += self.timeout_s
        self.state[message], self.visible_s[message] = "waiting", visible_s


seconds = st.floats(0.01, 300.0, allow_subnormal=False).map(lambda one: round(one, 3))


@settings(max_examples=200)
@given(data=st.data(), concurrency=st.integers(1, 3), kills=st.booleans(), grouped=st.booleans())
def test_every_message_starts_when_the_reference_simulation_starts_it(
    data: st.DataObject, concurrency: int, kills: bool, grouped: bool
) -> None:
    # Irrational offsets keep events apart: at the same time the two may serve in a different order.
    apart = 1e-6 * math.sqrt(2)
    arrivals = sorted(data.draw(st.lists(seconds, min_size=1, max_size=25)))
    arrivals = [one + number * apart for number, one in enumerate(arrivals)]
    services = [one / 4 + 0.3 * apart for one in data.draw(st.lists(seconds, min_size=25, max_size=25))]
    groups = data.draw(st.lists(st.integers(0, 3), min_size=25, max_size=25)) if grouped else None
    boots = [one / 3 + (7 + number) * apart for number, one in enumerate(data.draw(boot_times))]
    commands = data.draw(st.lists(st.tuples(seconds, st.integers(0, 4)), min_size=1, max_size=6))
    commands = [
        (at_s + 0.11 * apart * (1 + number), desired) for number, (at_s, desired) in enumerate(commands)
    ]
    conditions = {
        "concurrency": concurrency,
        "visibility_timeout_s": data.draw(st.sampled_from([7.0, 40.0])),
        "max_receives": data.draw(st.sampled_from([1, 2, 3])),
        "delay_s": data.draw(st.sampled_from([0.0, 11.0])),
    }
    count = len(arrivals)
    reference = ReferenceSimulation(
        arrivals,
        services[:count],
        boots,
        groups[:count] if groups else None,
        concurrency,
        kills,
        conditions["visibility_timeout_s"],
        conditions["max_receives"],
        conditions["delay_s"],
    )
    subject = simulated_fleet(
        arrivals,
        services[:count],
        boot_s=boots,
        groups=groups[:count] if groups else None,
        scale_in=ScaleIn.KILL if kills else ScaleIn.DRAIN,
        **conditions,
    )
    for at_s, desired in sorted(commands):
        at(subject, at_s).set_desired(desired)
    at(subject, 600.0)
    reference.run(commands, 600.0)
    assert started(subject) == [
        None if one is None else pytest.approx(one, abs=2e-6) for one in reference.start_s
    ]
    assert subject.queue.messages.receives.tolist() == reference.receives
    names = {"done": queue_kernel.PROCESSED, "dead": queue_kernel.DEAD_LETTER}
    assert subject.queue.messages.state.tolist() == [
        names.get(state, queue_kernel.WAITING) for state in reference.state
    ]


boot_times = st.lists(seconds, min_size=24, max_size=24)


@settings(max_examples=100)
@given(
    data=st.data(),
    scale_in=st.sampled_from(list(ScaleIn)),
    concurrency=st.integers(1, 4),
    interruptions=st.sampled_from([0.0, 30.0]),
    refusals=st.sampled_from([0.0, 0.4]),
    delay_s=st.sampled_from([0.0, 20.0]),
    grouped=st.booleans(),
)
def test_every_message_is_in_exactly_one_place_whatever_happens(
    data: st.DataObject,
    scale_in: ScaleIn,
    concurrency: int,
    interruptions: float,
    refusals: float,
    delay_s: float,
    grouped: bool,
) -> None:
    seed = data.draw(st.integers(0, 2**20))
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 300))
    arrivals = np.sort(random.uniform(0, 1800, count))
    subject = simulated_fleet(
        arrivals.tolist(),
        random.exponential(random.choice([5.0, 200.0]), count).tolist(),
        boot_s=float(random.choice([0.0, 45.0])),
        groups=random.integers(0, 9, count).tolist() if grouped else None,
        seed=seed,
        concurrency=concurrency,
        scale_in=scale_in,
        interruptions_per_instance_hour=interruptions,
        refusal_ratio=refusals,
        delay_s=delay_s,
        visibility_timeout_s=60.0,
        max_receives=int(random.choice([1, 3, 100])),
    )
    for _ in range(data.draw(st.integers(1, 40))):
        now = subject.now_s + float(random.uniform(0, 120))
        at(subject, now).set_desired(int(random.integers(0, 8)))
        _conserved(subject)
    at(subject, subject.now_s + 1800.0).set_desired(5)
    _conserved(subject)


def _conserved(subject: SimulatedFleet) -> None:
    snapshot = subject.snapshot()
    assert min(snapshot.visible, snapshot.in_flight, snapshot.delayed) >= 0
    arrived = int((subject.queue.messages.arrival_s <= snapshot.now_s).sum())
    assert snapshot.backlog + subject.queue.processed + subject.queue.dead_letters == arrived
    assert subject.queue.lost() == 0
    messages, kernel = subject.queue.messages, subject.queue.kernel
    busy = int(kernel.counts[queue_kernel.BUSY])
    ended = subject.queue.processed + subject.queue.redelivered + busy
    assert int(messages.receives.sum()) == ended
    assert (messages.state == queue_kernel.PROCESSED).sum() == subject.queue.processed
    assert (messages.state == queue_kernel.DEAD_LETTER).sum() == subject.queue.dead_letters
    in_slots = kernel.message[kernel.message != queue_kernel.NO_MESSAGE]
    assert in_slots.size == np.unique(in_slots).size == busy == kernel.busy[: len(subject.instances)].sum()
    assert (messages.started_s[messages.state == queue_kernel.PROCESSED] >= 0).all()
    running = [one.number for one in subject.instances if one.ready_s <= snapshot.now_s < one.stopped_s]
    assert snapshot.running == len(running)
    assert snapshot.idle == int((kernel.busy[running] == 0).sum())
    booting = [
        one.launched_s for one in subject.instances if snapshot.now_s < min(one.ready_s, one.stopped_s)
    ]
    assert list(snapshot.launched_s) == booting


@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (4, 0.8), (20, 0.9)])
def test_the_mean_wait_of_random_arrivals_is_what_erlang_says(servers: int, load: float) -> None:
    random = np.random.default_rng(5)
    count, service_s = 400_000, 10.0
    arrivals = np.cumsum(random.exponential(service_s / (servers * load), count))
    subject = simulated_fleet(
        arrivals.tolist(), random.exponential(service_s, count).tolist(), maximum=servers
    )
    subject.set_desired(servers)
    at(subject, float(arrivals[-1]) + 10_000.0)
    waits = subject.queue.messages.started_s - arrivals
    offered = servers * load
    blocked = 1.0
    for number in range(1, servers + 1):  # Erlang B by its recursion
        blocked = offered * blocked / (number + offered * blocked)
    waiting = blocked / (1 - load * (1 - blocked))
    assert waits.mean() == pytest.approx(waiting * service_s / (servers - offered), rel=0.05)
    assert (waits > 0).mean() == pytest.approx(waiting, rel=0.03)


def test_as_many_wait_on_average_as_arrivals_times_their_wait() -> None:
    """Little's law, from snapshots only."""
    random = np.random.default_rng(6)
    arrivals = np.sort(random.uniform(0, 40_000, 8000))
    subject = simulated_fleet(arrivals.tolist(), random.exponential(9.0, 8000).tolist(), maximum=2)
    subject.set_desired(2)
    snapshots = [at(subject, float(second)).snapshot() for second in range(0, 40_000, 5)]
    waits = subject.queue.messages.started_s - arrivals
    assert np.mean([snapshot.visible for snapshot in snapshots]) == pytest.approx(
        8000 / 40_000 * np.nanmean(waits), rel=0.02
    )
