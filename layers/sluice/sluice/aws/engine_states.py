"""The DynamoDB table of what the deadline engine remembers: one item per workload, replaced at every tick.

An item has the workload's name (`workload`, the key), the moment of the tick that wrote it (`tick`, in
tenths of a second since the epoch), the encoded state (`state`), an id of the write (`write_id`), and when
DynamoDB may delete it (`expires`, in seconds since the epoch). `retune_target` adds what it has learned
(`learned`), an operator a pause (`pause`), the downstream guard its hold (`guard`), and a switch between two
colors its record (`switch`), which is its lock; a pause without end keeps its item without end. An item that
cannot be read counts as damaged: the next write replaces all of it but the pause, the guard and the switch.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

from sluice.aws.concurrent_reads import batches, fan_out, per_item
from sluice.aws.errors import aws_errors, refused_by_condition
from sluice.aws.responses import field, list_field, optional_list_field
from sluice.core.deadline.encoding import decoded, decoded_learned, encoded, encoded_learned
from sluice.core.deadline.learning import Learned
from sluice.core.guard import Guard
from sluice.core.guard import decoded as decoded_guard
from sluice.core.guard import encoded as encoded_guard
from sluice.core.model import Unknown
from sluice.core.pause import decoded as decoded_pause
from sluice.core.switch_record import Switch
from sluice.core.switch_record import decoded as decoded_switch
from sluice.core.switch_record import encoded as encoded_switch
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
NOT_PAUSED = "attribute_not_exists(pause)"
"""A tick that has read no pause acts on none: one that was set meanwhile refuses its write."""
NOT_GUARDED = "attribute_not_exists(guard)"
"""As for a pause."""
REPLACE = "SET #tick = :tick, #state = :state, write_id = :write_id"
EXPIRE = ", expires = :expires"
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
        request: dict[str, Any] = {
            "TableName": self._table,
            "Key": {"workload": {"S": workload}},
            "ExpressionAttributeNames": {"#learned": "learned"},
        }
        learn, value = "SET #learned = :learned", {":learned": {"B": encoded_learned(learned)}}
        expires = {":expires": {"N": _expires_s(learned.at_s)}}
        with aws_errors(self._writing(workload)):
            with refused_by_condition() as refused:
                self._client().update_item(
                    UpdateExpression=learn + EXPIRE,
                    ExpressionAttributeValues=value | expires,
                    ConditionExpression=NOT_PAUSED,
                    **request,
                )
            if refused() is not None:  # the pause says how long its item is kept
                self._client().update_item(UpdateExpression=learn, ExpressionAttributeValues=value, **request)

    def put_guard(self, workload: str, replaces: Guard | None, guard: Guard | None) -> bool:
        """UpdateItem on condition that what was read is still there; nothing else of the item changes."""
        return self._replace(
            workload,
            "guard",
            None if replaces is None else replaces.text,
            None if guard is None else encoded_guard(guard),
            kept_until_s=None if guard is None else max(guard.until, guard.seen_at).timestamp(),
        )

    def put_switch(self, workload: str, replaces: Switch | None, switch: Switch | None) -> bool:
        """As `put_guard`."""
        return self._replace(
            workload,
            "switch",
            None if replaces is None else encoded_switch(replaces),
            None if switch is None else encoded_switch(switch),
            kept_until_s=None if switch is None else (switch.waits_since or switch.since).timestamp(),
        )

    def _replace(
        self, workload: str, name: str, replaced: str | None, value: str | None, *, kept_until_s: float | None
    ) -> bool:
        """Store the text in place of the one that was read, None for none; returns whether it is stored."""
        names = {"#held": name}
        values: dict[str, Any] = {} if value is None else {":held": {"S": value}}
        condition = "attribute_not_exists(#held)"
        update = "REMOVE #held" if value is None else "SET #held = :held"
        if replaced is not None:
            condition, values = "#held = :read", values | {":read": {"S": replaced}}
        request: dict[str, Any] = {
            "TableName": self._table,
            "Key": {"workload": {"S": workload}},
            "ExpressionAttributeNames": names,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        expires = {} if kept_until_s is None else {":expires": {"N": _expires_s(kept_until_s)}}
        with aws_errors(self._writing(workload)):
            with refused_by_condition() as refused:
                self._client().update_item(
                    UpdateExpression=update + (EXPIRE if expires else ""),
                    ExpressionAttributeValues=values | expires,
                    ConditionExpression=f"{condition} AND {NOT_PAUSED}",
                    **request,
                )
            if "pause" in (refused() or {}):  # the pause says how long its item is kept
                with refused_by_condition() as refused:
                    self._client().update_item(
                        UpdateExpression=update,
                        ConditionExpression=condition,
                        **request,
                        **({"ExpressionAttributeValues": values} if values else {}),
                    )
        present = refused()
        if present is None:
            return True
        # If the answer to the first attempt was lost, that attempt's own write refuses the next one.
        stored: str | None = present.get(name, {}).get("S")
        return stored == value

    def _update(self, client: Any, workload: str, write: StateWrite) -> bool:
        state, replaces = write.state, write.replaces
        damaged = replaces is not None and replaces.problem is not None
        tick = _tenths(state.tick_s)
        values: dict[str, Any] = {":number": {"S": "N"}}
        conditions = [f"({NOTHING_NEWER})"]
        if replaces is not None and replaces.tick_s != NO_TICK_S:
            conditions, values = [f"({SAME_TICK})"], {":replaced": {"N": _tenths(replaces.tick_s)}}
        pause = replaces.pause if replaces else None
        if pause is None:
            conditions.append(NOT_PAUSED)
        if replaces is None or replaces.guard is None:
            conditions.append(NOT_GUARDED)
        is_endless = pause is not None and pause.until is None
        removed = [*(["expires"] if is_endless else []), *(["#learned"] if damaged else [])]
        write_id = {"B": uuid.uuid4().bytes}
        values |= {
            ":tick": {"N": tick},
            ":state": {"B": encoded(state)},
            ":write_id": write_id,
        }
        expression = REPLACE
        if not is_endless:
            last_s = max(state.tick_s, pause.until.timestamp() if pause and pause.until else 0.0)
            expression, values = expression + EXPIRE, values | {":expires": {"N": _expires_s(last_s)}}
        if removed:
            expression += f" REMOVE {', '.join(removed)}"
        with aws_errors(self._writing(workload)), refused_by_condition() as refused:
            client.update_item(
                TableName=self._table,
                Key={"workload": {"S": workload}},
                UpdateExpression=expression,
                ConditionExpression=" AND ".join(conditions),
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
    pause = decoded_pause(item["pause"].get("S")) if "pause" in item else None
    guard = decoded_guard(item["guard"].get("S")) if "guard" in item else None
    switch = decoded_switch(item["switch"].get("S")) if "switch" in item else None
    held = partial(StoredState, pause=pause, guard=guard, switch=switch)
    try:
        if "learned" in item:
            learned = decoded_learned(item["learned"]["B"])
        if "tick" not in item and "state" not in item:
            return held(tick_s=tick_s, state=None, learned=learned)
        tick_s = int(item["tick"]["N"]) / TENTHS
        state = decoded(item["state"]["B"])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as wrong:
        return held(tick_s=tick_s, state=None, problem=f"damaged ({wrong})")
    if _tenths(state.tick_s) != _tenths(tick_s):
        problem = f"damaged (its item is of the tick {tick_s:.1f}, its content of {state.tick_s:.1f})"
        return held(tick_s=tick_s, state=None, problem=problem)
    return held(tick_s=tick_s, state=state, learned=learned)


def _expires_s(moment_s: float) -> str:
    """When DynamoDB may delete an item whose last moment this is."""
    return str(round(moment_s + KEPT_FOR.total_seconds()))


def _tenths(moment_s: float) -> str:
    return str(round(moment_s * TENTHS))
