"""The pause beside the engine's state, in DynamoDB: what each writer leaves of the other's."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sluice.aws.engine_states import DynamoDbEngineStates
from sluice.core.deadline.learning import Learned
from sluice.core.model import Color
from sluice.core.pause import BOTH, IN, OUT, Pause, decoded, encoded
from sluice.core.switch_record import Step, Switch
from sluice.errors import ConfigError
from sluice.ports import StateWrite, StoredState
from sluice_operator.aws.pause_store import PauseStore
from tests.sluice.aws import account
from tests.support.builders import NOW, engine_state, plenty

NOW_S = NOW.timestamp()
WEEK_S = 7 * 86_400


def pause(by="alice", directions=BOTH, for_=timedelta(hours=2)):
    return Pause(directions=directions, by=by, at=NOW, until=for_ and NOW + for_, before={"Enabled": True})


@pytest.fixture
def table():
    with account.account(), account.threads() as pool:
        name, client = account.create_state_table(), account.client("dynamodb")
        yield Table(client, name, DynamoDbEngineStates(lambda: client, pool, name))


class Table:
    def __init__(self, client, name, states):
        self.client, self.name, self.states = client, name, states
        self.store = PauseStore(lambda: client, name)

    def set(self, one, read=None):
        return self.store.replace("a", read, one, NOW)

    def stored(self) -> StoredState:
        return self.states.read(["a"], plenty)["a"]

    def tick(self, at_s=NOW_S, *, replaces=None):
        written = self.states.write({"a": StateWrite(state=engine_state(at_s), replaces=replaces)}, plenty)
        return written["a"]

    def expires(self):
        [item] = self.client.scan(TableName=self.name)["Items"]
        return int(item["expires"]["N"]) if "expires" in item else None

    def damage(self, attribute, value):
        self.client.update_item(
            TableName=self.name,
            Key={"workload": {"S": "a"}},
            UpdateExpression="SET #damaged = :damaged",
            ExpressionAttributeNames={"#damaged": attribute},
            ExpressionAttributeValues={":damaged": value},
        )


def test_a_pause_is_read_back_by_the_functions_and_by_the_next_operator(table):
    assert table.set(pause()) is None
    assert table.stored().pause == pause()
    assert decoded(table.store.read("a").pause) == pause()


def test_of_two_operators_that_have_read_the_same_the_second_is_told_of_the_first(table):
    assert table.set(pause("alice")) is None
    assert decoded(table.set(pause("bob"))).by == "alice"
    read = table.store.read("a").pause
    assert table.set(pause("alice", OUT), read) is None
    assert decoded(table.set(pause("bob"), read)).directions == OUT
    assert table.set(None, encoded(pause("alice", OUT))) is None
    assert table.set(pause("bob"), read) == ""


def test_a_write_whose_answer_was_lost_counts_when_its_second_attempt_is_refused(table):
    assert table.set(pause()) is None
    assert table.set(pause()) is None


def test_a_tick_that_has_read_no_pause_is_refused_by_one_that_was_set_meanwhile(table):
    table.tick()
    read = table.stored()
    table.set(pause())
    assert table.tick(NOW_S + 10, replaces=read) is False
    assert table.tick(NOW_S + 10) is False
    assert table.tick(NOW_S + 10, replaces=table.stored()) is True


def test_ticks_and_what_is_learned_leave_the_pause(table):
    table.set(pause())
    assert table.tick(replaces=table.stored())
    table.states.learn("a", Learned(at_s=NOW_S, margin_s=5.0))
    assert table.tick(NOW_S + 10, replaces=table.stored())
    assert (table.stored().pause, table.stored().learned.margin_s) == (pause(), 5.0)


def test_a_damaged_state_does_not_lose_the_pause(table):
    table.tick()
    table.set(pause())
    table.damage("state", {"B": b"?"})
    found = table.stored()
    assert (found.problem is None, found.pause) == (False, pause())
    assert table.tick(NOW_S + 10, replaces=found)
    assert (table.stored().problem, table.stored().pause) == (None, pause())


def test_a_damaged_pause_holds_both_directions_and_does_not_damage_the_state(table):
    table.tick()
    table.damage("pause", {"S": "{"})
    found = table.stored()
    assert (found.problem, found.pause.directions) == (None, BOTH)
    assert table.tick(NOW_S + 10, replaces=found)
    assert table.stored().pause.directions == BOTH


class TestTimeToLive:
    def test_it_does_not_end_a_pause_without_end(self, table):
        table.tick()
        table.set(pause(for_=None))
        assert table.expires() is None
        table.tick(NOW_S + 10, replaces=table.stored())
        table.states.learn("a", Learned(at_s=NOW_S, margin_s=5.0))
        assert table.expires() is None

    def test_it_does_not_end_a_long_pause_before_its_end(self, table):
        days = timedelta(days=30)
        table.set(pause(for_=days))
        table.tick(NOW_S + 10, replaces=table.stored())
        assert table.expires() == NOW_S + days.total_seconds() + WEEK_S

    def test_it_counts_again_once_the_workload_is_resumed(self, table):
        table.set(pause(directions=IN, for_=None))
        table.set(None, table.store.read("a").pause)
        assert table.expires() == NOW_S + WEEK_S
        assert table.stored() == StoredState(tick_s=0, state=None)


def test_no_pause_is_set_during_a_switch_which_holds_the_same_fields(table):
    switch = Switch(
        to=Color.GREEN, by="bob", execution="arn:one", since=NOW, step=Step.DRAIN, was={}, waits_since=NOW
    )
    table.states.put_switch("a", None, switch)
    with pytest.raises(
        ConfigError, match=r"a is in a switch to green by bob .*; then give the command again"
    ):
        table.set(pause())
    assert table.stored().pause is None
    table.damage("switch", {"S": "{"})
    with pytest.raises(ConfigError, match="what is stored of a switch cannot be read"):
        table.set(pause())


def test_a_pause_from_before_can_be_ended_during_a_switch(table):
    table.set(pause())
    switch = Switch(to=Color.GREEN, by="bob", execution="arn:one", since=NOW, step=Step.BEGIN, was={})
    table.states.put_switch("a", None, switch)
    assert table.set(None, table.store.read("a").pause) is None
    assert table.stored().pause is None
