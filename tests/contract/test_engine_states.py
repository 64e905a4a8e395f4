"""The contract of `ports.EngineStates`, for every implementation."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from sluice.aws.engine_states import DynamoDbEngineStates
from sluice.core.deadline.learning import Learned
from sluice.core.deadline.plan import Processing
from sluice.core.deadline.state import Arrivals, BootSamples, EngineState, Groups, Launch, Safety
from sluice.core.model import Unknown
from sluice.ports import NO_TICK_S, EngineStates, StateWrite, StoredState
from sluice_sim.simulator.ports import SimulatedStates
from tests.sluice.aws import account
from tests.support.builders import NOW, engine_state, guard, plenty
from tests.support.fakes import FakeStates

NOON_S = NOW.timestamp()
LEARNED = Learned(
    at_s=NOON_S - 30, margin_s=12.5, messages=700.0, processing=Processing(mean_s=4.5, variation=0.5)
)
AN_HOUR_LATER = Learned(at_s=NOON_S + 3570, margin_s=-5.0)


@dataclass
class Subject:
    port: EngineStates

    def write(self, name: str, state: EngineState, *, replaces: StoredState | None = None) -> bool:
        written = self.port.write({name: StateWrite(state=state, replaces=replaces)}, plenty)[name]
        assert isinstance(written, bool)
        return written

    def read(self, name: str) -> StoredState | None:
        found = self.port.read([name], plenty)[name]
        assert not isinstance(found, Unknown)
        return found


@pytest.fixture(params=["fake", "dynamodb", "simulated"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        yield Subject(FakeStates())
        return
    if request.param == "simulated":
        yield Subject(SimulatedStates())
        return
    with account.account(), account.threads() as pool:
        table, dynamodb = account.create_state_table(), account.client("dynamodb")
        yield Subject(DynamoDbEngineStates(lambda: dynamodb, pool, table))


def at(tick: int = 0, visible: int = 0) -> EngineState:
    """What the tick of this number leaves behind; ticks are ten seconds apart."""
    return engine_state(NOON_S + 10 * tick, visible=visible)


def everything() -> EngineState:
    """A state with a value in every field."""
    return replace(
        at(visible=7),
        deficit=-2.5,
        recent=(Arrivals(until_s=NOON_S, elapsed_s=10, messages=4.5),),
        waiting=(
            Arrivals(until_s=NOON_S - 10, elapsed_s=20, messages=3),
            Arrivals(until_s=NOON_S, elapsed_s=10, messages=4),
        ),
        safety=Safety(seconds=7200, newest_s=NOON_S - 20, loaded=(0, 12.5), idle=(3,)),
        launches=(Launch(at_s=NOON_S - 30, instances=2),),
        ready=(BootSamples(boot_s=170, weight=1),),
        ready_since_s=NOON_S - 5,
        boots=(BootSamples(boot_s=160, weight=2), BootSamples(boot_s=180, weight=3)),
        groups=Groups(in_flight=3, was_idle=True, limited_until_s=NOON_S + 60),
        surplus_since_s=NOON_S - 40,
        out_of_reach_logged_s=NOON_S - 1800,
    )


def test_nothing_is_stored_of_a_workload_that_was_never_served(subject: Subject) -> None:
    assert subject.port.read(["a", "b"], plenty) == {"a": None, "b": None}


def test_what_was_written_is_read_back(subject: Subject) -> None:
    assert subject.write("a", everything())
    assert subject.read("a") == StoredState(tick_s=NOON_S, state=everything())


def test_each_workload_has_a_state_of_its_own(subject: Subject) -> None:
    for place, name in enumerate(("a", "b")):
        assert subject.write(name, at(place))
    assert subject.port.read(["b", "a", "c"], plenty) == {
        "a": StoredState(tick_s=NOON_S, state=at(0)),
        "b": StoredState(tick_s=NOON_S + 10, state=at(1)),
        "c": None,
    }


def test_the_next_tick_replaces_what_it_read(subject: Subject) -> None:
    subject.write("a", at(0))
    assert subject.write("a", at(1, visible=5), replaces=subject.read("a"))
    assert subject.read("a") == StoredState(tick_s=NOON_S + 10, state=at(1, visible=5))


@pytest.mark.parametrize("tick", [1, 2])
def test_of_two_writes_that_replace_the_same_state_the_first_one_counts(subject: Subject, tick: int) -> None:
    subject.write("a", at(0))
    read = subject.read("a")
    assert subject.write("a", at(1, visible=5), replaces=read)
    assert not subject.write("a", at(tick, visible=9), replaces=read)
    assert subject.read("a") == StoredState(tick_s=NOON_S + 10, state=at(1, visible=5))


@pytest.mark.parametrize(("tick", "written"), [(0, False), (1, False), (2, True)])
def test_a_write_that_replaces_nothing_counts_only_over_an_older_tick(
    subject: Subject, tick: int, written: bool
) -> None:
    subject.write("a", at(1, visible=5))
    assert subject.write("a", at(tick, visible=9)) is written
    newest = at(tick, visible=9) if written else at(1, visible=5)
    assert subject.read("a") == StoredState(tick_s=newest.tick_s, state=newest)


def test_a_write_that_replaces_a_state_which_is_gone_does_not_count(subject: Subject) -> None:
    assert not subject.write("a", at(1), replaces=StoredState(tick_s=NOON_S, state=at(0)))
    assert subject.read("a") is None


def test_more_workloads_than_one_call_reads_are_all_read(subject: Subject) -> None:
    names = [f"w{index:03}" for index in range(101)]
    for name in names[::50]:
        subject.write(name, at())
    found = subject.port.read(names, plenty)
    assert [name for name, stored in found.items() if stored is not None] == ["w000", "w050", "w100"]
    assert len(found) == 101


def test_states_that_are_written_together_are_each_stored_on_their_own_condition(subject: Subject) -> None:
    subject.write("a", at(0))
    subject.write("b", at(0))
    old = subject.read("a")
    subject.write("a", at(1, visible=5), replaces=old)
    writes = {
        "a": StateWrite(state=at(1, visible=9), replaces=old),
        "b": StateWrite(state=at(1), replaces=subject.read("b")),
        "c": StateWrite(state=at(1), replaces=None),
    }
    assert subject.port.write(writes, plenty) == {"a": False, "b": True, "c": True}
    stored = subject.port.read(["a", "b", "c"], plenty)
    assert stored == {
        name: StoredState(tick_s=NOON_S + 10, state=at(1, visible=5 if name == "a" else 0)) for name in "abc"
    }


@pytest.mark.parametrize("learned", [LEARNED, AN_HOUR_LATER], ids=["measured", "nothing measured"])
def test_what_was_learned_is_read_back_before_any_tick_was_served(subject: Subject, learned: Learned) -> None:
    subject.port.learn("a", learned)
    assert subject.read("a") == StoredState(tick_s=0, state=None, learned=learned)
    assert subject.read("b") is None


def test_the_first_tick_may_come_after_something_was_learned(subject: Subject) -> None:
    subject.port.learn("a", LEARNED)
    assert subject.write("a", at(0), replaces=subject.read("a"))
    assert subject.read("a") == StoredState(tick_s=NOON_S, state=at(0), learned=LEARNED)


def test_of_two_first_ticks_that_read_what_was_learned_alone_the_older_one_does_not_count(
    subject: Subject,
) -> None:
    subject.port.learn("a", LEARNED)
    read = subject.read("a")
    assert subject.write("a", at(1), replaces=read)
    assert not subject.write("a", at(0), replaces=read)
    assert not subject.write("a", at(1, visible=9), replaces=read)
    assert subject.read("a") == StoredState(tick_s=NOON_S + 10, state=at(1), learned=LEARNED)


def test_what_was_learned_survives_ticks_and_writes_that_lose_the_race(subject: Subject) -> None:
    subject.write("a", at(0))
    subject.port.learn("a", LEARNED)
    read = subject.read("a")
    assert subject.write("a", at(1), replaces=read)
    assert not subject.write("a", at(1, visible=9), replaces=read)
    assert subject.write("a", at(2))
    assert subject.read("a") == StoredState(tick_s=NOON_S + 20, state=at(2), learned=LEARNED)


def test_a_tick_that_read_before_something_was_learned_is_stored_beside_it(subject: Subject) -> None:
    subject.write("a", at(0))
    read = subject.read("a")
    subject.port.learn("a", LEARNED)
    assert subject.write("a", at(1), replaces=read)
    assert subject.read("a") == StoredState(tick_s=NOON_S + 10, state=at(1), learned=LEARNED)


def test_what_is_learned_replaces_what_was_learned_and_leaves_the_state(subject: Subject) -> None:
    subject.write("a", at(0))
    subject.port.learn("a", LEARNED)
    subject.port.learn("a", AN_HOUR_LATER)
    assert subject.read("a") == StoredState(tick_s=NOON_S, state=at(0), learned=AN_HOUR_LATER)


def test_a_write_over_a_damaged_item_forgets_what_was_learned(subject: Subject) -> None:
    subject.write("a", at(0))
    subject.port.learn("a", LEARNED)
    damaged = StoredState(tick_s=NOON_S, state=None, problem="damaged")
    assert subject.write("a", at(1), replaces=damaged)
    assert subject.read("a") == StoredState(tick_s=NOON_S + 10, state=at(1))


def test_no_workloads_are_no_states(subject: Subject) -> None:
    assert subject.port.read([], plenty) == {}
    assert subject.port.write({}, plenty) == {}


HOLD = guard()


def test_a_hold_of_the_guard_is_read_back_beside_what_the_engine_remembers(subject: Subject) -> None:
    subject.write("a", at(0))
    assert subject.port.put_guard("a", None, HOLD)
    assert subject.read("a") == StoredState(tick_s=NOON_S, state=at(0), guard=HOLD)
    assert subject.port.put_guard("b", None, HOLD)
    assert subject.read("b") == StoredState(tick_s=NO_TICK_S, state=None, guard=HOLD)


def test_a_hold_is_replaced_and_removed_by_who_has_read_it(subject: Subject) -> None:
    later = guard(calm_minutes=1)
    assert subject.port.put_guard("a", None, HOLD)
    assert subject.port.put_guard("a", HOLD, later)
    assert not subject.port.put_guard("a", HOLD, guard(calm_minutes=2))
    assert not subject.port.put_guard("a", None, guard(calm_minutes=2))
    found = subject.read("a")
    assert found is not None
    assert found.guard == later
    assert subject.port.put_guard("a", later, None)
    found = subject.read("a")
    assert found is None or found.guard is None


def test_a_repeated_write_of_a_hold_counts(subject: Subject) -> None:
    assert subject.port.put_guard("a", None, HOLD)
    assert subject.port.put_guard("a", None, HOLD)


def test_a_tick_that_has_read_no_hold_stores_no_state_against_one(subject: Subject) -> None:
    subject.write("a", at(0))
    read = subject.read("a")
    assert subject.port.put_guard("a", None, HOLD)
    assert not subject.write("a", at(1), replaces=read)
    assert subject.write("a", at(1), replaces=subject.read("a"))
    assert subject.read("a") == StoredState(tick_s=NOON_S + 10, state=at(1), guard=HOLD)
