"""The pauses in the engine's table: an attribute of the workload's item, replaced on condition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sluice.aws.engine_states import KEPT_FOR
from sluice.aws.errors import aws_errors, refused_by_condition
from sluice.core.guard import Guard, decoded
from sluice.core.model import Unknown
from sluice.core.pause import Pause, encoded
from sluice.core.switch_record import decoded as decoded_switch
from sluice.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A workload's pause in its stored form, and the hold of the downstream guard; None for none."""

    pause: str | None
    guard: Guard | None


class PauseStore:
    """Reads and replaces the pause of a workload; nothing else of its item changes."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client, self._table = client, table

    def read(self, workload: str) -> Stored:
        """What is stored now, by a consistent read."""
        with aws_errors(f"GetItem of {workload} in {self._table}"):
            item = self._client().get_item(
                TableName=self._table, Key={"workload": {"S": workload}}, ConsistentRead=True
            )
            found = item.get("Item", {})
        pause, guard = found.get("pause"), found.get("guard")
        return Stored(
            pause=None if pause is None else str(pause.get("S")),
            guard=None if guard is None else decoded(guard.get("S")),
        )

    def replace(self, workload: str, read: str | None, pause: Pause | None, now: datetime) -> str | None:
        """Store the pause, or remove it, if what was read is still there.

        Returns None then, and else what is there. An item with a pause without end is kept without end.
        Raises ConfigError for a pause during a switch between two colors, which holds the same fields.
        """
        values: dict[str, Any] = {}
        condition = "attribute_not_exists(pause)"
        if read is not None:
            condition, values = "pause = :read", {":read": {"S": read}}
        names: dict[str, Any] = {}
        if pause is not None:
            values[":pause"] = {"S": encoded(pause)}
            condition = f"{condition} AND attribute_not_exists(#switch)"
            names = {"ExpressionAttributeNames": {"#switch": "switch"}}
        if pause is not None and pause.until is None:
            update = "SET pause = :pause REMOVE expires"
        else:
            last = max(now, pause.until) if pause is not None and pause.until else now
            values[":expires"] = {"N": str(round((last + KEPT_FOR).timestamp()))}
            update = "SET expires = :expires" + (", pause = :pause" if pause else " REMOVE pause")
        with aws_errors(f"UpdateItem of {workload} in {self._table}"), refused_by_condition() as refused:
            self._client().update_item(
                TableName=self._table,
                Key={"workload": {"S": workload}},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **names,
            )
        present = refused()
        if present is None:
            return None
        if pause is not None and "switch" in present:
            switch = decoded_switch(present["switch"].get("S"))
            told = switch.reason if isinstance(switch, Unknown) else switch
            raise ConfigError(
                f"{workload} is in {told}, which holds its scaling itself: wait for its end, or stop that "
                "execution, which undoes it; then give the command again"
            )
        stored = present.get("pause", {}).get("S")
        # If the answer to the first attempt was lost, that attempt's own write refuses the next one.
        is_own = stored == (encoded(pause) if pause else None)
        return None if is_own else str(stored or "")
