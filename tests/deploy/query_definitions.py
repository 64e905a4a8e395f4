"""Saved queries of Logs Insights, which moto lacks: put, listed and deleted. Other tests run them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.logs.responses import LogsResponse

from sluice_sim.embedded.operations import Parameters, answered


class QueryDefinitions:
    """The account's saved queries."""

    def __init__(self) -> None:
        self._by_id: dict[str, Parameters] = {}

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, they can be put, listed and deleted."""
        with answered(
            LogsResponse,
            put_query_definition=self._put,
            describe_query_definitions=self._describe,
            delete_query_definition=self._delete,
        ):
            yield

    def _put(self, asked: Parameters) -> object:
        query_id = asked.get("queryDefinitionId") or str(uuid.uuid4())
        self._by_id[query_id] = {**asked, "queryDefinitionId": query_id}
        return {"queryDefinitionId": query_id}

    def _describe(self, _: Parameters) -> object:
        return {"queryDefinitions": list(self._by_id.values())}

    def _delete(self, asked: Parameters) -> dict[str, Any]:
        del self._by_id[asked["queryDefinitionId"]]
        return {"success": True}
