"""Counts the capacity units that DynamoDB bills, which moto does not: one for each item of Sluice's calls.

An item of up to 1 KB takes a unit to write, one of up to 4 KB a unit to read consistently (documented).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.responses import DynamoHandler

READ, WRITTEN = "ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"


class TableUnits:
    """Units of each table since they were last taken."""

    def __init__(self) -> None:
        self._units: Counter[tuple[str, str]] = Counter()
        """(metric, table) -> units."""

    def take(self) -> Counter[tuple[str, str]]:
        """The units since the last call, which resets them; DynamoDB publishes no zeros."""
        taken, self._units = self._units, Counter()
        return taken

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Count within the context."""
        update, read = DynamoDBBackend.update_item, DynamoHandler.batch_get_item

        def updated(backend: DynamoDBBackend, table_name: str, *more: Any, **named: Any) -> Any:
            self._units[WRITTEN, table_name] += 1
            return update(backend, table_name, *more, **named)

        def batch_read(handler: DynamoHandler) -> Any:
            for table, wanted in handler.body["RequestItems"].items():
                self._units[READ, table] += len(wanted["Keys"])
            return read(handler)

        with (
            mock.patch.object(DynamoDBBackend, "update_item", updated),
            mock.patch.object(DynamoHandler, "batch_get_item", batch_read),
        ):
            yield
