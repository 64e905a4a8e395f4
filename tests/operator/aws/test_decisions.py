"""The rows of the functions' logs, of which one query answers 10,000 at most."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluice.errors import TransientError
from sluice_operator.aws import decisions
from sluice_operator.aws.decisions import LoggedDecisions

START = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
LIMIT = 5


class LogsInsights:
    """Answers a query with the newest lines of its time, both ends included, as CloudWatch Logs does."""

    def __init__(self, lines):
        self.lines = lines
        self.queried = []

    def start_query(self, *, startTime, endTime, limit, **_):  # noqa: N803 - AWS's names
        self.queried.append((startTime, endTime, limit))
        return {"queryId": str(len(self.queried) - 1)}

    def get_query_results(self, *, queryId):  # noqa: N803
        start, end, limit = self.queried[int(queryId)]
        found = sorted(line for line in self.lines if start <= line.timestamp() <= end)[::-1][:limit]
        rows = [
            {"@timestamp": f"{line:%Y-%m-%d %H:%M:%S.%f}"[:-3], "@ptr": line.isoformat()} for line in found
        ]
        return {
            "status": "Complete",
            "results": [[{"field": key, "value": value} for key, value in row.items()] for row in rows],
        }


@pytest.fixture
def every_row(monkeypatch):
    """`every_row(seconds)`: what is read of lines so many seconds after the start, and the queries for it."""
    monkeypatch.setattr(decisions, "ROWS", LIMIT)

    def read(seconds, end_s=1000):
        client = LogsInsights([START + timedelta(seconds=each) for each in seconds])
        rows = LoggedDecisions(client, ["publish_backlog"]).every_row(
            "...", START, START + timedelta(seconds=end_s), lambda: 60.0
        )
        found = [
            round((datetime.fromisoformat(row["@timestamp"]).replace(tzinfo=UTC) - START).total_seconds(), 3)
            for row in rows
        ]
        return found, len(client.queried)

    return read


def test_fewer_lines_than_a_query_answers_take_one_query(every_row):
    assert every_row([1, 2, 3]) == ([1, 2, 3], 1)


@pytest.mark.parametrize("count", [LIMIT, LIMIT + 1, 4 * LIMIT, 4 * LIMIT + 1])
def test_more_lines_are_read_by_more_queries_and_each_is_there_once_oldest_first(every_row, count):
    lines = [each + 0.25 for each in range(1, count + 1)]
    found, queries = every_row(lines)
    assert found == lines
    assert queries > 1


def test_lines_of_one_second_at_the_end_of_a_query_are_all_there(every_row):
    lines = [1.0, 2.1, 2.2, 2.3, 3.0, 3.1, 3.2, 3.3]
    assert every_row(lines)[0] == lines


def test_a_second_with_more_lines_than_a_query_answers_is_said_and_nothing_is_left_out_silently(every_row):
    with pytest.raises(TransientError, match="over 5 lines about the workload in the second before"):
        every_row([1, *(2 + each / 10 for each in range(1, 9)), 3])


def test_the_last_fraction_of_a_second_is_read(every_row):
    assert every_row([1, 9.7], end_s=9.8)[0] == [1, 9.7]


def test_a_line_after_the_end_is_left_out(every_row):
    assert every_row([1, 9.9], end_s=9.8)[0] == [1]
