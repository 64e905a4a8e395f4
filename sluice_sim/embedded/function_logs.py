"""The functions' log groups, and Logs Insights over them.

A line becomes an event of its function's log group when the log is first read. moto's own queries know only
`fields`, `sort` and `limit`. Lines in the embedded metric format are left out.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from moto.logs.exceptions import InvalidParameterException, LogsClientError, ResourceNotFoundException
from moto.logs.models import LogEvent as MotoEvent
from moto.logs.models import LogGroup, LogsBackend, logs_backends
from moto.logs.responses import LogsResponse

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.aws_rules.logs_insights import MAX_RESULTS, LogEvent, Query, QueryError
from sluice_sim.embedded.functions import Lambda
from sluice_sim.embedded.operations import Parameters, answered

MAX_GROUPS = 50
"""Log groups that one query reads (documented)."""
BEFORE_CREATION = (
    "Query's end date and time is either before the log groups creation time or exceeds the log groups log "
    "retention settings"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One log line of a function, with its virtual time (epoch seconds)."""

    at: float
    function: str
    record: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class _Execution:
    """A query that was started; it runs until its results were asked for once."""

    rows: list[dict[str, str]]
    scanned: int
    status: str = "Running"


class FunctionLogs:
    """CloudWatch Logs of the embedded account."""

    def __init__(self, lines: Sequence[LogLine], functions: Lambda) -> None:
        self._lines, self._functions = lines, functions
        self._put = 0
        """How many of the lines are in their log groups."""
        self._putting = threading.Lock()
        """An operator's queries may run at once."""
        self._queries: dict[str, _Execution] = {}

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, log groups have the functions' lines, and queries are answered here."""
        backend = LogsBackend

        def after_put(read: Any) -> Any:
            def read_all(own: LogsBackend, *args: Any, **named: Any) -> Any:
                self.put_lines()
                return read(own, *args, **named)

            return read_all

        with (
            mock.patch.object(backend, "get_log_events", after_put(backend.get_log_events)),
            mock.patch.object(backend, "filter_log_events", after_put(backend.filter_log_events)),
            mock.patch.object(backend, "describe_log_streams", after_put(backend.describe_log_streams)),
            answered(
                LogsResponse,
                start_query=self._start,
                get_query_results=self._results,
                stop_query=self._stop,
            ),
        ):
            yield

    def create_group(self, name: str, retention_days: int | None = None) -> LogGroup:
        """Create a log group unless it exists, with its retention."""
        groups = _groups()
        if name not in groups:
            logs_backends[ACCOUNT_ID][REGION].create_log_group(name, {})
        if retention_days:
            groups[name].retention_in_days = retention_days
        return groups[name]

    def put_lines(self) -> None:
        """Put the lines that are new since the previous call into their functions' log groups."""
        with self._putting:
            self._put_lines()

    def _put_lines(self) -> None:
        new, self._put = self._lines[self._put :], len(self._lines)
        for line in new:
            function = self._functions.find(line.function)
            if function is None:  # the action of an alarm that names no function
                continue
            group = self.create_group(function.log_group)
            name = f"{datetime.fromtimestamp(line.at, UTC):%Y/%m/%d}/{function.name}[$LATEST]"
            if name not in group.streams:
                group.create_log_stream(name)
            at_ms = int(line.at * 1000)
            message = json.dumps(line.record, separators=(",", ":"))
            group.streams[name].events.append(MotoEvent(at_ms, {"timestamp": at_ms, "message": message}))

    def _start(self, asked: Parameters) -> object:
        names = asked.get("logGroupNames") or [
            identifier.split(":log-group:")[-1] for identifier in asked.get("logGroupIdentifiers", [])
        ]
        names += [asked["logGroupName"]] if "logGroupName" in asked else []
        start, end = float(asked["startTime"]), float(asked["endTime"])
        if not 1 <= len(names) <= MAX_GROUPS:
            raise InvalidParameterException(f"{len(names)} log groups; a query reads 1 to {MAX_GROUPS}")
        if start > end:
            raise InvalidParameterException("End time should not be less than start time")
        try:
            query = Query.parse(asked["queryString"])
        except QueryError as malformed:
            raise LogsClientError("MalformedQueryException", str(malformed)) from malformed
        self.put_lines()
        known = [_groups()[name] for name in names if name in _groups()]
        if any(end < group.creation_time.replace(tzinfo=UTC).timestamp() for group in known):
            raise LogsClientError("MalformedQueryException", BEFORE_CREATION)
        events = [event for name in names for event in _events(name, start, end)]
        query_id = str(uuid.uuid4())
        rows = query.run(events, int(asked.get("limit", MAX_RESULTS)))
        self._queries[query_id] = _Execution(rows=rows, scanned=len(events))
        return {"queryId": query_id}

    def _results(self, asked: Parameters) -> object:
        execution = self._query(asked)
        status, rows = execution.status, execution.rows if execution.status == "Complete" else []
        if status == "Running":
            execution.status = "Complete"
        return {
            "queryLanguage": "CWLI",
            "status": status,
            "statistics": {"recordsMatched": len(rows), "recordsScanned": execution.scanned},
            "results": [[{"field": name, "value": value} for name, value in row.items()] for row in rows],
        }

    def _stop(self, asked: Parameters) -> object:
        execution = self._query(asked)
        if execution.status != "Running":
            raise InvalidParameterException("Provided query ID is not running")
        execution.status = "Cancelled"
        return {"success": True}

    def _query(self, asked: Parameters) -> _Execution:
        if asked["queryId"] not in self._queries:
            raise ResourceNotFoundException("The specified query does not exist.")
        return self._queries[asked["queryId"]]


def _groups() -> dict[str, LogGroup]:
    groups: dict[str, LogGroup] = logs_backends[ACCOUNT_ID][REGION].groups
    return groups


def _events(group_name: str, start_s: float, end_s: float) -> Iterator[LogEvent]:
    """The events of a group from start to end, both included."""
    if group_name not in _groups():
        raise ResourceNotFoundException(
            f"Log group '{group_name}' does not exist for account ID '{ACCOUNT_ID}'"
        )
    for stream in _groups()[group_name].streams.values():
        for event in stream.events:
            if start_s <= event.timestamp / 1000 <= end_s:
                yield LogEvent(
                    at=event.timestamp / 1000,
                    message=event.message,
                    group=f"{ACCOUNT_ID}:{group_name}",
                    stream=stream.log_stream_name,
                    pointer=str(event.event_id),
                )
