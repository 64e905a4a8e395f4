"""What the functions have decided, from their logs: one Logs Insights query for all workloads."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, field, list_field
from sluice.core.model import Unknown
from sluice.errors import SluiceError, TransientError
from sluice.ports import RemainingS
from sluice_operator.core.readings import LoggedDecision

POLL_S = 0.5
ENDED_STATES = ("Complete", "Failed", "Cancelled", "Timeout", "Unknown")
ROWS = 10_000
"""The most that a query answers."""
NOTHING_KEPT = "exceeds the log groups log retention settings"
"""CloudWatch Logs refuses a time that ends before a log group's creation, or before all it keeps, so."""
LATEST = (
    'filter ispresent(decision) and outcome != "held" '
    "| stats latest(@timestamp) as at, latest(message) as said, latest(outcome) as ended by workload"
)
"""The newest decision of each workload that was more than a hold, which is logged every minute."""

FAILURES = (
    "filter ispresent(failure) and ispresent(workload) "
    "| stats count(*) as times, latest(message) as said by workload, failure"
)


class LoggedDecisions:
    """Reads the log groups of one control plane."""

    def __init__(
        self, client: Any, log_groups: Sequence[str], pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._client, self._log_groups, self._pause = client, log_groups, pause

    def latest(
        self, workloads: Collection[str], start: datetime, end: datetime, remaining_s: RemainingS
    ) -> Mapping[str, LoggedDecision | Unknown | None]:
        """Each workload's newest decision that was not a hold; None if it has made none since `start`."""
        if not workloads:
            return {}
        try:
            rows = self.query(LATEST, start, end, remaining_s)
            with aws_errors("GetQueryResults"):
                found = {field(row, "workload"): _decision(row) for row in rows}
        except SluiceError as failure:
            return dict.fromkeys(workloads, Unknown(reason=str(failure)))
        return {name: found.get(name) for name in workloads}

    def every_row(
        self, text: str, start: datetime, end: datetime, remaining_s: RemainingS
    ) -> list[dict[str, str]]:
        """All rows after start until end, oldest first, by as many queries as that takes.

        The query itself sorts them newest first. Raises SluiceError if a query fails or is late, or if one
        second has more rows than a query answers.
        """
        found: dict[str, dict[str, str]] = {}
        until = end
        while True:
            rows = self.query(text, start, until, remaining_s)
            with aws_errors("GetQueryResults"):
                found |= {field(row, "@ptr"): row for row in rows}
                if len(rows) < ROWS:
                    return [row for row in reversed(found.values()) if start < _logged_at(row) <= end]
                oldest = _logged_at(rows[-1])
            if _whole_s(oldest) >= _whole_s(until):
                raise TransientError(
                    f"the functions logged over {ROWS:,} lines about the workload in the second before "
                    f"{until:%Y-%m-%d %H:%M:%S}, which is more than a query answers"
                )
            until = oldest

    def newest_line(
        self, function: str, start: datetime, end: datetime, remaining_s: RemainingS
    ) -> datetime | None:
        """When the function logged last, Lambda's own lines included; None if it has not since `start`."""
        text = f"filter @log like /{function}$/ | stats latest(@timestamp) as at"
        rows = self.query(text, start, end, remaining_s)
        with aws_errors("GetQueryResults"):
            moments = [moment(row["at"]) for row in rows if row.get("at")]
        return max(moments, default=None)

    def failures(
        self, workloads: Collection[str], start: datetime, end: datetime, remaining_s: RemainingS
    ) -> Mapping[str, tuple[str, ...] | Unknown]:
        """What the functions could not do for each workload, by counter, each with its newest message."""
        try:
            rows = self.query(FAILURES, start, end, remaining_s)
            with aws_errors("GetQueryResults"):
                found: dict[str, tuple[str, ...]] = defaultdict(tuple)
                for row in rows:
                    times = int(float(field(row, "times")))
                    found[field(row, "workload")] += (
                        f"{field(row, 'failure')}, {times} times: {field(row, 'said')}",
                    )
        except SluiceError as failure:
            return dict.fromkeys(workloads, Unknown(reason=str(failure)))
        return {name: found.get(name, ()) for name in workloads}

    def query(
        self, text: str, start: datetime, end: datetime, remaining_s: RemainingS
    ) -> list[dict[str, str]]:
        """The rows of one query, each field by its name; raises SluiceError if it fails or is late.

        There are none of a time of which the log groups keep nothing.
        """
        client = self._client
        with aws_errors(f"StartQuery on {len(self._log_groups)} log groups of the control plane"):
            try:
                started = client.start_query(
                    logGroupNames=list(self._log_groups),
                    startTime=int(start.timestamp()),
                    endTime=_whole_s(end),
                    queryString=text,
                    limit=ROWS,
                )
            except ClientError as refused:
                if NOTHING_KEPT not in str(refused):
                    raise
                return []
            query_id = field(started, "queryId")
        while True:
            with aws_errors("GetQueryResults"):
                answer = client.get_query_results(queryId=query_id)
                state = field(answer, "status")
                if state == "Complete":
                    return [
                        {field(cell, "field"): field(cell, "value") for cell in row}
                        for row in list_field(answer, "results")
                    ]
            if state in ENDED_STATES:
                raise TransientError(f"the query of the functions' logs ended with status {state}")
            if remaining_s() <= POLL_S:
                raise TransientError("the query of the functions' logs did not end in time")
            self._pause(POLL_S)


def _whole_s(end: datetime) -> int:
    """The end of a query's time, which is in whole seconds and included."""
    return math.ceil(end.timestamp())


def _logged_at(row: Mapping[str, str]) -> datetime:
    return moment(field(row, "@timestamp"))


def _decision(row: Mapping[str, str]) -> LoggedDecision:
    return LoggedDecision(
        at=moment(field(row, "at")), message=field(row, "said"), outcome=field(row, "ended")
    )


def moment(text: str) -> datetime:
    """Logs Insights writes a time as text, and an aggregated one in milliseconds since the epoch."""
    try:
        if text.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(text) / 1000, UTC)
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as malformed:
        raise MalformedResponse(f"{text!r} is not a time") from malformed
