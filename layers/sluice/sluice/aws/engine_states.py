"""The DynamoDB table of what the deadline engine remembers: one item per workload, replaced at every tick.

An item has the workload's name (`workload`, the key), the moment of the tick that wrote it (`tick`, in
tenths of a second since the epoch), the encoded state (`state`), an id of the write (`write_id`), and when
DynamoDB may delete it (`expires`, in seconds since the epoch). `retune_target` adds what it has learned
(`learned`). An item that cannot be read counts as damaged: the next write replaces all of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from sluice.aws.concurrent_reads import batches, fan_out, per_item
from sluice.aws.errors import aws_errors, refused_by_condition
from sluice.aws.responses import field, list_field, optional_list_field
from sluice.core.deadline.encoding import decoded, decoded_learned, encoded, encoded_learned
from sluice.core.deadline.learning import Learned
from sluice.core.model import Unknown
from sluice.ports import NO_TICK_S, RemainingS, StateWrite, StoredState

KEYS_PER_CALL = 100
MAX_CALLS_PER_BATCH = 3
"""DynamoDB may leave keys unprocessed, above 16 MB or under load; they are asked for again."""
KEPT_FOR = timedelta(days=7)
"""A workload that is not served for this long begins anew."""
TENTHS = 10
# `attribute_type` is false for an attribute that is missing, so a damaged tick never blocks a write.
NOTHING_NEWER = "NOT attribute_type(#tick, :number) OR #tick < :tick"
SAME_TICK = "#tick = :replaced"
REPLACE = "SET #tick = :tick, #state = :state, write_id = :write_id, expires = :expires"
FORGET = " REMOVE #learned"
NAMES = {"#tick": "tick", "#state": "state"}


class DynamoDbEngineStates:
    """Implements `ports.EngineStates`."""

    def __init__(self, client: Callable[[], Any], pool: ThreadPoolExecutor, table: str) -> None:
        self._client, self._pool, self._table = client, pool, table

    def read(
        self, workloads: Collection[str], remaining_s: RemainingS
    ) -> Mapping[str, StoredState | Unknown | None]:
        """BatchGetItem with consistent reads, a hundred workloads a call."""
        batched = fan_out(
            self._pool, self._batch, batches(workloads, KEYS_PER_CALL), self._reading, remaining_s
        )
        return per_item(batched)

    def write(
        self, writes: Mapping[str, StateWrite], remaining_s: RemainingS
    ) -> Mapping[str, bool | Unknown]:
        """UpdateItem of each, concurrently, on condition that no other invocation has written meanwhile."""
        client = self._client()

        def update(workload: str) -> bool:
            return self._update(client, workload, writes[workload])

        return fan_out(self._pool, update, writes, self._writing, remaining_s)

    def learn(self, workload: str, learned: Learned) -> None:
        """UpdateItem: nothing of the state changes, whichever tick writes it meanwhile."""
        with aws_errors(self._writing(workload)):
            self._client().update_item(
                TableName=self._table,
                Key={"workload": {"S": workload}},
                UpdateExpression="SET #learned = :learned, expires = :expires",
                ExpressionAttributeNames={"#learned": "learned"},
                ExpressionAttributeValues={
                    ":learned": {"B": encoded_learned(learned)},
                    ":expires": {"N": str(round(learned.at_s + KEPT_FOR.total_seconds()))},
                },
            )

    def _update(self, client: Any, workload: str, write: StateWrite) -> bool:
        state, replaces = write.state, write.replaces
        tick = _tenths(state.tick_s)
        values: dict[str, Any] = {":number": {"S": "N"}}
        condition = NOTHING_NEWER
        if replaces is not None and replaces.tick_s != NO_TICK_S:
            condition, values = SAME_TICK, {":replaced": {"N": _tenths(replaces.tick_s)}}
        write_id = {"B": uuid.uuid4().bytes}
        values |= {
            ":tick": {"N": tick},
            ":state": {"B": encoded(state)},
            ":write_id": write_id,
            ":expires": {"N": str(round(state.tick_s + KEPT_FOR.total_seconds()))},
        }
        damaged = replaces is not None and replaces.problem is not None
        with aws_errors(self._writing(workload)), refused_by_condition() as refused:
            client.update_item(
                TableName=self._table,
                Key={"workload": {"S": workload}},
                UpdateExpression=REPLACE + FORGET if damaged else REPLACE,
                ConditionExpression=condition,
                ExpressionAttributeNames=NAMES | ({"#learned": "learned"} if damaged else {}),
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        # If the answer to the first attempt was lost, that attempt's item refuses the next one.
        present = refused()
        return present is None or present.get("write_id") == write_id

    def _batch(self, names: tuple[str, ...]) -> Mapping[str, StoredState | Unknown | None]:
        client = self._client()
        found: dict[str, StoredState | Unknown | None] = dict.fromkeys(names)
        wanted = [{"workload": {"S": name}} for name in names]
        with aws_errors(self._reading(names)):
            for _ in range(MAX_CALLS_PER_BATCH):
                response = client.batch_get_item(
                    RequestItems={self._table: {"Keys": wanted, "ConsistentRead": True}}
                )
                unprocessed = response.get("UnprocessedKeys", {}).get(self._table)
                items = optional_list_field if unprocessed else list_field
                for item in items(field(response, "Responses"), self._table):
                    found[field(field(item, "workload"), "S")] = _stored(item)
                if not unprocessed:
                    return found
                wanted = list_field(unprocessed, "Keys")
            reason = f"{self._reading(names)}: DynamoDB left it unprocessed {MAX_CALLS_PER_BATCH} times"
            return found | {field(field(key, "workload"), "S"): Unknown(reason=reason) for key in wanted}

    def _writing(self, workload: str) -> str:
        return f"UpdateItem of {workload} in {self._table}"

    def _reading(self, names: tuple[str, ...]) -> str:
        return f"BatchGetItem of {len(names)} states from {self._table}"


def _stored(item: Mapping[str, Any]) -> StoredState:
    tick_s, learned = NO_TICK_S, None
    try:
        if "learned" in item:
            learned = decoded_learned(item["learned"]["B"])
        if learned is not None and "tick" not in item and "state" not in item:
            return StoredState(tick_s=tick_s, state=None, learned=learned)
        tick_s = int(item["tick"]["N"]) / TENTHS
        state = decoded(item["state"]["B"])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as wrong:
        return StoredState(tick_s=tick_s, state=None, problem=f"damaged ({wrong})")
    if _tenths(state.tick_s) != _tenths(tick_s):
        problem = f"damaged (its item is of the tick {tick_s:.1f}, its content of {state.tick_s:.1f})"
        return StoredState(tick_s=tick_s, state=None, problem=problem)
    return StoredState(tick_s=tick_s, state=state, learned=learned)


def _tenths(moment_s: float) -> str:
    return str(round(moment_s * TENTHS))
