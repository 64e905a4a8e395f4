"""Duplicate, late, reordered and concurrent events end in the right state.

Concurrency is modelled by running other events inside the fake ports' calls, so that anything may happen
between a handler's look and its act. What every act must be true to is the acting handler's own last look:
AWS offers no compare-and-set on a desired count, so nothing more can be had; the last test shows the race
that remains.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.backlog import MINUTE
from sluice.core.model import Backlog, Bounds, Capacity, Fleet, Kind, Workload
from sluice.ports import RemainingS, Series, SeriesQuery
from sluice.publish import publish_backlog
from sluice.wake import on_bootstrap_alarm, on_shutdown_alarm
from tests.builders import alarm, ecs_workload, seconds, workload
from tests.fakes import Scene

Step = tuple[str, int]


@dataclass
class Look:
    """What one running handler saw last."""

    began: datetime | None = None
    proof: list[float | None] = field(default_factory=list)
    """The highest BacklogPerInstance of each idle minute before it began, None where there was none."""
    backlog: Backlog | None = None
    capacity: Capacity | None = None


@dataclass
class Storm:
    """One workload in a world where `meanwhile` happens inside every call."""

    served: Workload
    meanwhile: list[tuple[int, Step]]
    """(calls to let pass first, what then happens)."""
    scene: Scene = field(default_factory=Scene)
    running: list[Look] = field(default_factory=list)
    """The handlers that are running, the innermost last: it is the one that calls."""
    overwritten: int = 0
    """Bootstraps that lowered the fleet, as something else had raised it since their look."""

    def __post_init__(self) -> None:
        self.scene.serve(self.served, desired=self.served.bounds.min)
        if self.served.name == "queue-proc":  # no scalable target: UpdateService knows no bounds at all
            capacity = self.scene.fleets.holding[self.served.fleet]
            self.scene.fleets.holding[self.served.fleet] = replace(capacity, bounds=None)
        self._watch()
        self.scene.calls.between = self._let_something_happen

    @property
    def backlog(self) -> Backlog:
        return self.scene.queues.holding[self.served.queue_url]

    @property
    def desired(self) -> int:
        return self.scene.desired(self.served)

    def _let_something_happen(self) -> None:
        if not self.meanwhile or not self.running:
            return
        wait, step = self.meanwhile[0]
        if wait > 0:
            self.meanwhile[0] = (wait - 1, step)
            return
        self.meanwhile.pop(0)
        self.do(step)

    def _watch(self) -> None:
        read_queues, read_fleets = self.scene.queues.read, self.scene.fleets.read
        set_desired, one = self.scene.fleets.set_desired, self.scene.registry.one
        value_of = self.scene.metrics.value_of

        def registry_one(name: str) -> Workload:
            workload = one(name)
            self.running[-1].began = self.scene.clock()
            return workload

        def metrics_value_of(query: SeriesQuery, start: datetime, end: datetime) -> Series:
            look = self.running[-1]
            if look.began is not None:
                present = look.began.replace(second=0, microsecond=0)
                idle = [present - MINUTE * back for back in range(1, self.served.idle_minutes + 1)]
                published = value_of(query, min(idle), present)
                look.proof = [published.get(minute) for minute in idle]
            return value_of(query, start, end)

        def queues_read(urls: Collection[str], remaining_s: RemainingS) -> object:
            seen = read_queues(urls, remaining_s)
            reading = seen[self.served.queue_url]
            assert isinstance(reading, Backlog)
            self.running[-1].backlog = reading
            return seen

        def fleets_read(fleets: Collection[Fleet], remaining_s: RemainingS) -> object:
            seen = read_fleets(fleets, remaining_s)
            reading = seen[self.served.fleet]
            assert isinstance(reading, Capacity)
            self.running[-1].capacity = reading
            return seen

        def checked(fleet: Fleet, instances: int) -> None:
            self._check(instances)
            before = self.desired
            set_desired(fleet, instances)
            look = self.running[-1].capacity
            self.overwritten += look is not None and look.desired < instances < before

        self.scene.registry.one = registry_one
        self.scene.metrics.value_of = metrics_value_of
        self.scene.queues.read = queues_read
        self.scene.fleets.read = fleets_read
        self.scene.fleets.set_desired = checked

    def _check(self, instances: int) -> None:
        look, bounds = self.running[-1], self.served.bounds
        assert look.backlog is not None
        assert look.capacity is not None
        assert bounds.min <= instances <= bounds.max
        if instances > look.capacity.desired:
            assert look.capacity.desired == 0, "a bootstrap only wakes a fleet it saw asleep"
            assert look.backlog.visible > 0, "a bootstrap needs work that waits"
        else:
            assert instances < look.capacity.desired, "an act that changes nothing"
            empty = Backlog(visible=0, in_flight=0, delayed=0)
            assert look.backlog == empty, "a shutdown over a queue that held a message"
            assert instances == bounds.min, "a shutdown goes to the minimum"
            assert look.proof == [0.0] * self.served.idle_minutes, "a shutdown without its proof"

    @contextmanager
    def _handler(self) -> Iterator[None]:
        self.running.append(Look())
        yield
        self.running.pop()

    def do(self, step: Step) -> None:
        what, count = step
        happen: dict[str, Callable[[int], None]] = {
            "arrive": lambda n: self._move(visible=n),
            "arrive delayed": lambda n: self._move(delayed=n),
            "fall due": lambda n: self._shift("delayed", "visible", n),
            "receive": lambda n: self._shift("visible", "in_flight", n),
            "return": lambda n: self._shift("in_flight", "visible", n),
            "delete": lambda n: self._move(in_flight=-min(n, self.backlog.in_flight)),
            "boot": lambda _: self.scene.fleets.settle(),
            "track": self._target_tracking,
            "wait": lambda n: self.scene.clock.advance(seconds=10 * n),
            "tick": lambda late: self._tick(late_s=15 * late),
            "bootstrap alarm": lambda _: self._bootstrap_alarm(),
            "shutdown alarm": lambda _: self._shutdown_alarm(),
        }
        happen[what](count)

    def _move(self, *, visible: int = 0, in_flight: int = 0, delayed: int = 0) -> None:
        self.scene.queues.change(self.served.queue_url, visible=visible, in_flight=in_flight, delayed=delayed)

    def _shift(self, source: str, sink: str, count: int) -> None:
        moved = min(count, getattr(self.backlog, source))
        self._move(**{source: -moved, sink: moved})

    def _target_tracking(self, instances: int) -> None:
        """AWS's own scaling, which leaves a fleet of 0 alone and stays within bounds."""
        fleet, bounds = self.served.fleet, self.served.bounds
        if self.desired > 0:
            desired = min(max(instances, bounds.min, 1), bounds.max)
            self.scene.fleets.holding[fleet] = replace(self.scene.fleets.holding[fleet], desired=desired)

    def _tick(self, *, late_s: float = 0) -> None:
        scheduled = self.scene.clock() - seconds(late_s)
        with self._handler():
            publish_backlog(scheduled, self.scene.world, self.scene.ledger, self.scene.remaining_s)

    def _bootstrap_alarm(self) -> None:
        with self._handler():
            on_bootstrap_alarm(
                alarm("bootstrap", self.served.name),
                self.scene.world,
                self.scene.ledger,
                self.scene.remaining_s,
            )

    def _shutdown_alarm(self) -> None:
        with self._handler():
            on_shutdown_alarm(
                alarm("shutdown", self.served.name),
                self.scene.world,
                self.scene.ledger,
                self.scene.remaining_s,
            )

    def quiet_ticks(self, count: int) -> None:
        self.meanwhile.clear()
        for _ in range(count):
            self.scene.clock.advance(minutes=1)
            self.scene.fleets.settle()
            self._tick()

    def drain(self) -> None:
        self.scene.queues.holding[self.served.queue_url] = Backlog(visible=0, in_flight=0, delayed=0)


STEPS = st.tuples(
    st.sampled_from(
        [
            "arrive",
            "arrive delayed",
            "fall due",
            "receive",
            "return",
            "delete",
            "delete",
            "boot",
            "track",
            "wait",
            "tick",
            "tick",
            "bootstrap alarm",
            "shutdown alarm",
        ]
    ),
    st.integers(1, 8),
)
WORKLOADS = st.builds(
    lambda build, least, most, bootstrap, idle, counted: replace(
        build(),
        bounds=Bounds(min=least, max=most),
        bootstrap_instances=bootstrap,
        idle_minutes=idle,
        count_in_flight=counted,
    ),
    st.sampled_from([workload, ecs_workload]),
    st.sampled_from([0, 0, 0, 1, 2]),
    st.integers(3, 5),
    st.sampled_from([2, 3, None, None]),
    st.integers(1, 3),
    st.booleans(),
)
STORMS = st.builds(
    Storm, served=WORKLOADS, meanwhile=st.lists(st.tuples(st.integers(0, 6), STEPS), max_size=8)
)
# Most storms begin awake over an empty queue, or asleep over work: there the two decisions can be raced.
STARTS = st.sampled_from(
    [
        "asleep",
        "asleep over work",
        "awake, proven empty",
        "awake, one taken a moment ago",
        "awake, busy a moment ago",
        "awake, unproven",
    ]
)


def play(storm: Storm, start: str, steps: list[Step]) -> None:
    served, scene = storm.served, storm.scene
    if start.startswith("awake"):
        most = served.bounds.max
        scene.fleets.holding[served.fleet] = replace(
            scene.fleets.holding[served.fleet], desired=most, running=most
        )
        if start != "awake, unproven":
            scene.idle(served)
    if start == "awake, one taken a moment ago":
        storm.do(("arrive", 1))
        storm.do(("receive", 1))
    if start == "awake, busy a moment ago":
        scene.idle(served, minutes=1, value=2)
    if start == "asleep over work":
        storm.do(("arrive", 60))
    for step in steps:
        storm.do(step)
    assert storm.running == []
    assert storm.scene.ledger.failures == []
    assert storm.served.bounds.min <= storm.desired <= storm.served.bounds.max


@settings(max_examples=500)
@given(STORMS, STARTS, st.lists(STEPS, max_size=12))
def test_after_any_storm_work_that_waits_has_an_instance_within_two_quiet_ticks(
    storm: Storm, start: str, steps: list[Step]
) -> None:
    play(storm, start, steps)
    note(f"a bootstrap overwrote a higher count: {storm.overwritten > 0}")
    storm.quiet_ticks(2)
    assert storm.scene.ledger.failures == []
    if storm.backlog.visible > 0:
        assert storm.desired >= 1


@settings(max_examples=500)
@given(STORMS, STARTS, st.lists(STEPS, max_size=12))
def test_after_any_storm_an_empty_queue_sends_the_fleet_to_its_minimum(
    storm: Storm, start: str, steps: list[Step]
) -> None:
    play(storm, start, steps)
    storm.drain()
    storm.quiet_ticks(storm.served.idle_minutes + 2)
    assert storm.desired == storm.served.bounds.min


@given(STORMS, st.lists(STEPS, max_size=8))
def test_a_storm_while_the_publisher_is_silent_never_shuts_anything_down(
    storm: Storm, steps: list[Step]
) -> None:
    storm.meanwhile = [(wait, step) for wait, step in storm.meanwhile if step[0] != "tick"]
    play(storm, "awake, unproven", [step for step in steps if step[0] != "tick"])
    kinds = [decision.kind for decision, outcome in storm.scene.ledger.decisions if outcome == "acted"]
    assert Kind.SHUTDOWN not in kinds


@pytest.mark.parametrize(
    ("first", "second"), [("bootstrap alarm", "shutdown alarm"), ("shutdown alarm", "bootstrap alarm")]
)
@pytest.mark.parametrize("after", range(12))
def test_a_message_that_arrives_anywhere_between_two_alarms_has_an_instance_at_once(
    first: str, second: str, after: int
) -> None:
    for later in range(12 - after):
        storm = Storm(workload(), meanwhile=[(after, ("arrive", 1)), (later, (second, 1))])
        play(storm, "awake, proven empty", [(first, 1), (second, 1)])
        if storm.meanwhile:  # the message came after the last call: the next tick's business
            continue
        assert storm.backlog.visible == 1
        assert storm.desired >= 1, f"{second} ran {later} calls after the message"


def test_the_race_that_remains_a_bootstrap_may_undo_what_another_did_between_its_look_and_its_act() -> None:
    """SetDesiredCapacity and UpdateService take no "only if it is still 0": the later write wins.

    The loser is put right by target tracking, as the fleet is awake either way.
    """
    storm = Storm(workload(), meanwhile=[])
    woken_by_hand = False

    def an_operator_asks_for_four() -> None:
        nonlocal woken_by_hand
        if storm.scene.calls.named("fleets.read") and not woken_by_hand:
            woken_by_hand = True
            fleet = storm.served.fleet
            storm.scene.fleets.holding[fleet] = replace(storm.scene.fleets.holding[fleet], desired=4)

    storm.do(("arrive", 20))
    storm.scene.calls.between = an_operator_asks_for_four
    storm.do(("bootstrap alarm", 1))
    assert woken_by_hand
    assert storm.desired == 1
    assert storm.overwritten == 1
