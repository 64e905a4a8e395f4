import json
import math
import threading
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sluice.aws.engine_states import DynamoDbEngineStates
from sluice.core.deadline.encoding import VERSION, encoded, encoded_learned
from sluice.core.deadline.learning import Learned
from sluice.core.deadline.plan import Processing
from sluice.core.deadline.state import EngineState
from sluice.core.model import Unknown
from sluice.core.pause import BOTH, Pause
from sluice.errors import SluiceError
from sluice.ports import StateWrite, StoredState
from sluice_operator.aws.pause_store import PauseStore
from tests.sluice.aws import account
from tests.sluice.aws.stubs import ANY, Call, refusal, stubbed, unchecked
from tests.support.builders import NOW, engine_state, guard, plenty

NOON_S = NOW.timestamp()
TICK = str(round(NOON_S * 10))
LEARNED = Learned(
    at_s=NOON_S, margin_s=12.5, messages=700.0, processing=Processing(mean_s=4.5, variation=0.5)
)


def states(client: Any, pool: ThreadPoolExecutor) -> DynamoDbEngineStates:
    return DynamoDbEngineStates(lambda: client, pool, "states")


def write(
    port: DynamoDbEngineStates, name: str, state: EngineState, *, replaces: StoredState | None = None
) -> bool | Unknown:
    return port.write({name: StateWrite(state=state, replaces=replaces)}, plenty)[name]


def item(name: str, remembered: EngineState | None = None, **changes: Any) -> dict[str, Any]:
    """The item of a workload; a change to None leaves the attribute out."""
    stored_state = remembered or engine_state(NOON_S, visible=3)
    tick = str(round(stored_state.tick_s * 10))
    attributes = {
        "workload": {"S": name},
        "tick": {"N": tick},
        "state": {"B": encoded(stored_state)},
    } | changes
    return {key: value for key, value in attributes.items() if value is not None}


def get(names: list[str], *items: Mapping[str, Any], unprocessed: tuple[str, ...] = ()) -> Call:
    request = {"states": {"Keys": [{"workload": {"S": name}} for name in names], "ConsistentRead": True}}
    left = {"states": {"Keys": [{"workload": {"S": name}} for name in unprocessed]}} if unprocessed else {}
    answer = {"Responses": {"states": list(items)}, "UnprocessedKeys": left}
    return ("batch_get_item", {"RequestItems": request}, answer)


def read_one(stored: Mapping[str, Any], pool: ThreadPoolExecutor) -> StoredState:
    with stubbed("dynamodb", get(["a"], stored)) as client:
        found = states(client, pool).read(["a"], plenty)["a"]
    assert isinstance(found, StoredState)
    return found


@pytest.fixture
def table() -> Iterator[Any]:
    """A client of DynamoDB with the table of states."""
    with account.account():
        account.create_state_table()
        yield account.client("dynamodb")


class TestReading:
    def test_a_hundred_and_one_workloads_are_two_calls(self, pool: ThreadPoolExecutor) -> None:
        names = [f"w{index:03}" for index in range(101)]
        calls = [get(names[:100], *(item(name) for name in names[:100])), get(names[100:])]
        with ThreadPoolExecutor(1) as one, stubbed("dynamodb", *calls) as client:
            found = states(client, one).read(names, plenty)
        assert len(found) == 101
        assert found["w099"] == StoredState(tick_s=NOON_S, state=engine_state(NOON_S, visible=3))
        assert found["w100"] is None

    def test_keys_that_are_left_unprocessed_are_asked_for_again(self, pool: ThreadPoolExecutor) -> None:
        calls = [get(["a", "b"], item("a"), unprocessed=("b",)), get(["b"], item("b"))]
        with stubbed("dynamodb", *calls) as client:
            found = states(client, pool).read(["a", "b"], plenty)
        assert found == dict.fromkeys(
            ("a", "b"), StoredState(tick_s=NOON_S, state=engine_state(NOON_S, visible=3))
        )

    def test_a_key_that_is_never_processed_is_unknown_alone(self, pool: ThreadPoolExecutor) -> None:
        calls = [
            get(["a", "b"], item("a"), unprocessed=("b",)),
            *[get(["b"], unprocessed=("b",))] * 2,
        ]
        with stubbed("dynamodb", *calls) as client:
            found = states(client, pool).read(["a", "b"], plenty)
        assert isinstance(found["a"], StoredState)
        assert isinstance(found["b"], Unknown)
        assert "DynamoDB left it unprocessed 3 times" in found["b"].reason

    @pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ThrottlingException"])
    def test_a_throttled_read_is_unknown(self, pool: ThreadPoolExecutor, code: str) -> None:
        request = get(["a"])[1]
        with stubbed("dynamodb", ("batch_get_item", request, refusal(code, "slower"))) as client:
            found = states(client, pool).read(["a"], plenty)["a"]
        assert found == Unknown(reason=f"BatchGetItem of 1 states from states: AWS answered {code}: slower")

    @pytest.mark.parametrize(
        "answer", [{}, {"Responses": {}}, {"Responses": {"states": 3}}, {"Responses": {"states": [{}]}}]
    )
    def test_a_malformed_answer_is_unknown_and_never_nothing(
        self, pool: ThreadPoolExecutor, answer: Mapping[str, Any]
    ) -> None:
        """Nothing would be a memory that begins anew."""
        with unchecked("dynamodb", BatchGetItem=answer) as client:
            found = states(client, pool).read(["a"], plenty)["a"]
        assert isinstance(found, Unknown)
        assert "AWS's answer cannot be read" in found.reason


class TestDamage:
    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"state": None}, "'state'"),
            ({"state": {"S": "text"}}, "'B'"),
            ({"state": {"B": b"not a state"}}, "incorrect header"),
            ({"state": {"B": encoded(engine_state(NOON_S))[:-9]}}, "truncated"),
            ({"state": {"B": encoded(engine_state(NOON_S - 10))}}, "its item is of the tick"),
        ],
    )
    def test_a_damaged_state_keeps_its_tick_and_says_what_is_wrong(
        self, pool: ThreadPoolExecutor, changes: Mapping[str, Any], problem: str
    ) -> None:
        found = read_one(item("a", **changes), pool)
        assert (found.tick_s, found.state) == (NOON_S, None)
        assert problem in str(found.problem)

    @pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
    def test_a_state_of_another_version_is_not_used(self, pool: ThreadPoolExecutor, version: int) -> None:
        fields = json.loads(zlib.decompress(encoded(engine_state(NOON_S)))) | {"v": version}
        found = read_one(item("a", state={"B": zlib.compress(json.dumps(fields).encode())}), pool)
        assert found.state is None
        assert f"version {version}, and this release reads {VERSION}" in str(found.problem)

    @pytest.mark.parametrize("tick", [None, {"S": "noon"}, {"N": "12.5"}])
    def test_a_damaged_tick_blocks_neither_the_other_workloads_nor_the_next_write(
        self, pool: ThreadPoolExecutor, tick: Mapping[str, str] | None
    ) -> None:
        with account.account():
            account.create_state_table()
            dynamodb, port = account.client("dynamodb"), states(account.client("dynamodb"), pool)
            dynamodb.put_item(TableName="states", Item=item("a", tick=tick))
            write(port, "b", engine_state(NOON_S))
            found = port.read(["a", "b"], plenty)
            assert found["b"] == StoredState(tick_s=NOON_S, state=engine_state(NOON_S))
            assert isinstance(found["a"], StoredState)
            assert found["a"].state is None
            assert write(port, "a", engine_state(NOON_S + 10), replaces=found["a"])
            written = StoredState(tick_s=NOON_S + 10, state=engine_state(NOON_S + 10))
            assert port.read(["a"], plenty) == {"a": written}


class TestWriting:
    def test_an_item_expires_a_week_after_its_tick(self, pool: ThreadPoolExecutor) -> None:
        with account.account():
            account.create_state_table()
            dynamodb = account.client("dynamodb")
            assert write(states(dynamodb, pool), "a", engine_state(NOON_S))
            [stored] = dynamodb.scan(TableName="states")["Items"]
        assert stored.pop("write_id")
        assert stored == item("a", engine_state(NOON_S), expires={"N": str(round(NOON_S + 7 * 86_400))})

    def test_a_write_names_the_tick_that_it_replaces(self, pool: ThreadPoolExecutor) -> None:
        sent: list[Any] = []
        before = StoredState(tick_s=NOON_S, state=engine_state(NOON_S))
        client = SimpleNamespace(update_item=lambda **parameters: sent.append(parameters))
        assert write(states(client, pool), "a", engine_state(NOON_S + 10), replaces=before)
        [request] = sent
        assert request["ConditionExpression"] == (
            "(#tick = :replaced) AND attribute_not_exists(pause) AND attribute_not_exists(guard)"
        )
        assert request["ExpressionAttributeValues"][":replaced"] == {"N": TICK}

    def test_a_condition_that_does_not_hold_is_an_outcome_and_no_failure(
        self, pool: ThreadPoolExecutor
    ) -> None:
        with refusing("ConditionalCheckFailedException", "The conditional request failed") as client:
            assert write(states(client, pool), "a", engine_state(NOON_S)) is False

    def test_a_write_whose_answer_was_lost_counts_when_its_second_attempt_is_refused(
        self, pool: ThreadPoolExecutor
    ) -> None:
        """Otherwise no invocation would act: each would take the state for another one's."""
        with account.account():
            account.create_state_table()
            client, sent = account.client("dynamodb"), list[Any]()
            update = client.update_item

            def twice(**parameters: Any) -> Any:
                sent.append(update(**parameters))
                return update(**parameters)

            port = states(SimpleNamespace(update_item=twice), pool)
            assert write(port, "a", engine_state(NOON_S))
            assert len(sent) == 1
            assert not write(states(client, pool), "a", engine_state(NOON_S))

    @pytest.mark.parametrize("code", ["ThrottlingException", "ResourceNotFoundException"])
    def test_a_refused_write_is_unknown_and_names_the_workload(
        self, pool: ThreadPoolExecutor, code: str
    ) -> None:
        with refusing(code, "no") as client:
            found = write(states(client, pool), "a", engine_state(NOON_S))
        assert found == Unknown(reason=f"UpdateItem of a in states: AWS answered {code}: no")

    def test_the_states_of_a_slice_are_written_concurrently(self) -> None:
        """One after the other, sixty would take a second of a tick."""
        together = threading.Barrier(3, timeout=10)
        client = SimpleNamespace(update_item=lambda **_: together.wait())
        writes = {name: StateWrite(state=engine_state(NOON_S), replaces=None) for name in "abc"}
        with account.threads() as threads:
            assert states(client, threads).write(writes, plenty) == dict.fromkeys("abc", True)

    def test_a_write_that_takes_too_long_is_unknown_for_its_workload_alone(self) -> None:
        hang = threading.Event()

        def update(**parameters: Any) -> None:
            if parameters["Key"]["workload"] == {"S": "a"}:
                hang.wait(10)

        writes = {name: StateWrite(state=engine_state(NOON_S), replaces=None) for name in "ab"}
        with account.threads() as threads:
            found = states(SimpleNamespace(update_item=update), threads).write(writes, lambda: 0.2)
            hang.set()
        late = Unknown(reason="UpdateItem of a in states: not read before the deadline")
        assert found == {"a": late, "b": True}


class TestLearned:
    def test_what_was_learned_is_an_attribute_beside_the_state_and_keeps_the_item_for_a_week(
        self, table: Any, pool: ThreadPoolExecutor
    ) -> None:
        states(table, pool).learn("a", LEARNED)
        [stored] = table.scan(TableName="states")["Items"]
        assert stored == {
            "workload": {"S": "a"},
            "learned": {"B": encoded_learned(LEARNED)},
            "expires": {"N": str(round(NOON_S + 7 * 86_400))},
        }

    def test_an_item_with_what_was_learned_alone_is_not_damaged(self, pool: ThreadPoolExecutor) -> None:
        found = read_one(learned_item(tick=None, state=None), pool)
        assert found == StoredState(tick_s=0, state=None, learned=LEARNED)

    def test_what_was_learned_survives_a_ticks_write(self, table: Any, pool: ThreadPoolExecutor) -> None:
        port = states(table, pool)
        port.learn("a", LEARNED)
        assert write(port, "a", engine_state(NOON_S), replaces=port.read(["a"], plenty)["a"])  # type: ignore[arg-type]
        stored = StoredState(tick_s=NOON_S, state=engine_state(NOON_S), learned=LEARNED)
        assert port.read(["a"], plenty) == {"a": stored}

    @pytest.mark.parametrize(
        ("learned", "problem"),
        [
            ({"S": "text"}, "'B'"),
            ({"B": b"short"}, "25 bytes"),
            ({"B": b"\x02" + encoded_learned(LEARNED)[1:]}, "version 2, and this release reads 1"),
            ({"B": encoded_learned(replace(LEARNED, margin_s=math.nan))}, "a margin of nan s"),
            ({"B": encoded_learned(replace(LEARNED, at_s=-1.0))}, "a margin of 12.5 s"),
            (
                {"B": encoded_learned(replace(LEARNED, processing=Processing(mean_s=-1.0)))},
                "a processing time of -1.0 s",
            ),
        ],
    )
    @pytest.mark.parametrize("alone", [True, False], ids=["alone", "beside a state"])
    def test_if_it_is_damaged_the_item_is_and_the_next_write_removes_it(
        self,
        table: Any,
        pool: ThreadPoolExecutor,
        learned: Mapping[str, Any],
        problem: str,
        alone: bool,
    ) -> None:
        missing = {"tick": None, "state": None} if alone else {}
        table.put_item(TableName="states", Item=learned_item(learned=learned, **missing))
        port = states(table, pool)
        found = port.read(["a"], plenty)["a"]
        assert isinstance(found, StoredState)
        assert (found.state, found.learned) == (None, None)
        assert problem in str(found.problem)
        assert write(port, "a", engine_state(NOON_S + 10), replaces=found)
        written = StoredState(tick_s=NOON_S + 10, state=engine_state(NOON_S + 10))
        assert port.read(["a"], plenty) == {"a": written}

    @pytest.mark.parametrize("code", ["ThrottlingException", "ResourceNotFoundException"])
    def test_a_refusal_names_the_workload(self, pool: ThreadPoolExecutor, code: str) -> None:
        request = dict.fromkeys(
            (
                "TableName",
                "Key",
                "UpdateExpression",
                "ConditionExpression",
                "ExpressionAttributeNames",
                "ExpressionAttributeValues",
            ),
            ANY,
        )
        with (
            stubbed("dynamodb", ("update_item", request, refusal(code, "no"))) as client,
            pytest.raises(SluiceError, match=f"UpdateItem of a in states: AWS answered {code}: no"),
        ):
            states(client, pool).learn("a", LEARNED)


class TestGuard:
    def test_a_hold_keeps_its_item_for_a_week_after_its_end(
        self, table: Any, pool: ThreadPoolExecutor
    ) -> None:
        assert states(table, pool).put_guard("a", None, guard())
        [stored] = table.scan(TableName="states")["Items"]
        assert stored == {
            "workload": {"S": "a"},
            "guard": {"S": guard().text},
            "expires": {"N": str(round(NOON_S + 3600 + 7 * 86_400))},
        }

    def test_a_paused_workloads_item_is_kept_as_the_pause_says(
        self, table: Any, pool: ThreadPoolExecutor
    ) -> None:
        pause = Pause(directions=BOTH, by="alice", at=NOW)
        PauseStore(lambda: table, "states").replace("a", None, pause, NOW)
        port = states(table, pool)
        assert port.put_guard("a", None, guard())
        [stored] = table.scan(TableName="states")["Items"]
        assert "expires" not in stored
        [found] = port.read(["a"], plenty).values()
        assert found == StoredState(tick_s=0, state=None, pause=pause, guard=guard())
        assert not port.put_guard("a", None, guard(calm_minutes=1))
        assert port.put_guard("a", guard(), None)
        [stored] = table.scan(TableName="states")["Items"]
        assert stored.keys() == {"workload", "pause"}

    def test_a_hold_that_cannot_be_read_is_replaced(self, table: Any, pool: ThreadPoolExecutor) -> None:
        table.put_item(TableName="states", Item={"workload": {"S": "a"}, "guard": {"S": "{}"}})
        port = states(table, pool)
        [found] = port.read(["a"], plenty).values()
        assert isinstance(found, StoredState)
        assert found.guard is not None
        assert found.guard_in_force(NOW) is None
        assert port.put_guard("a", found.guard, guard())


def learned_item(**changes: Any) -> dict[str, Any]:
    """The item of the workload a with a state and what was learned."""
    return item("a", **({"learned": {"B": encoded_learned(LEARNED)}} | changes))


def refusing(code: str, message: str) -> Any:
    """A client whose next UpdateItem is refused."""
    request = {
        "TableName": "states",
        "Key": ANY,
        "UpdateExpression": ANY,
        "ConditionExpression": ANY,
        "ExpressionAttributeNames": ANY,
        "ExpressionAttributeValues": ANY,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    return stubbed("dynamodb", ("update_item", request, refusal(code, message)))
