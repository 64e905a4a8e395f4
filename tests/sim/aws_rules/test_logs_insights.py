"""Logs Insights' query language, as far as Sluice's commands use it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sluice_sim.aws_rules.logs_insights import LogEvent, Query, QueryError

NOON = 1_768_478_400.0


def event(at: float, **record: Any) -> LogEvent:
    return LogEvent(
        at=NOON + at, message=json.dumps(record), group="123456789012:/g", stream="s", pointer=f"p{at:g}"
    )


EVENTS = [
    event(0, level="INFO", workload="a", decision="bootstrap", outcome="acted", desired=3),
    event(60.5, level="INFO", workload="b", decision="shutdown", outcome="held", limits={"max": 5}),
    event(120, level="ERROR", workload="a", message="AccessDenied: no 'permission'"),
    event(180, level="INFO", workload="b", decision="scale", outcome="acted", desired=10, paused=True),
    LogEvent(at=NOON + 240, message="no JSON", group="123456789012:/g", stream="s", pointer="p240"),
]


def pointers(text: str, **limits: int) -> list[str]:
    rows = Query.parse(text).run(EVENTS, **limits)
    return [row["@ptr"].removeprefix("p") for row in rows]


def test_without_a_sort_the_newest_line_comes_first() -> None:
    assert pointers("fields @timestamp") == ["240", "180", "120", "60.5", "0"]
    assert pointers("fields @timestamp | sort @timestamp asc | limit 2") == ["0", "60.5"]
    assert pointers("fields @timestamp", limit=1) == ["240"]


def test_fields_are_the_systems_and_those_of_a_json_message() -> None:
    (row,) = Query.parse(
        "fields @timestamp, @log, @logStream, workload, limits.max, missing | filter limits.max = 5"
    ).run(EVENTS)
    assert row == {
        "@timestamp": "2026-01-15 12:01:00.500",
        "@log": "123456789012:/g",
        "@logStream": "s",
        "workload": "b",
        "limits.max": "5",
        "@ptr": "p60.5",
    }


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('workload = "a"', ["120", "0"]),
        ("workload = 'a' and desired = 3", ["0"]),
        ('ispresent(decision) and outcome != "held"', ["180", "0"]),
        ('not ispresent(level) or level = "ERROR"', ["240", "120"]),
        ('workload in ["b", "c"]', ["180", "60.5"]),
        ('workload not in ["b"] and ispresent(workload)', ["120", "0"]),
        ("desired > 3", ["180"]),
        ("desired >= 3 and desired < 10", ["0"]),
        ('message like "AccessDenied"', ["120"]),
        (r"@message like /no .?JSON|'perm\w+'/", ["240", "120"]),
        ('level = "ERROR" or decision = "scale" and desired = 9', ["120"]),
        ('(level = "ERROR" or decision = "scale") and desired = 10', ["180"]),
        ("desired in [3, 10]", ["180", "0"]),
        ("paused = 1", ["180"]),
    ],
)
def test_a_filter_keeps_the_lines_that_meet_it(condition: str, expected: list[str]) -> None:
    assert pointers(f"fields @message | filter {condition}") == expected


def test_filters_add_up() -> None:
    assert pointers('filter workload = "a" | filter level = "INFO"') == ["0"]


def test_stats_count_and_take_the_latest_by_group() -> None:
    rows = Query.parse(
        "filter ispresent(decision) "
        "| stats count(*), latest(decision) as last, max(desired), latest(@timestamp) as at by workload "
        "| sort workload asc"
    ).run(EVENTS)
    assert rows == [
        {"workload": "a", "count(*)": "1", "last": "bootstrap", "max(desired)": "3", "at": "1768478400000"},
        {"workload": "b", "count(*)": "2", "last": "scale", "max(desired)": "10", "at": "1768478580000"},
    ]


def test_stats_compute_with_aggregates_and_the_columns_before() -> None:
    (row,) = Query.parse(
        "filter ispresent(desired) "
        "| stats sum(desired) as all, count(*) as lines, all / lines + 2 * (1 + 1) as mean"
    ).run(EVENTS)
    assert row == {"all": "13", "lines": "2", "mean": "10.5"}


def test_a_division_by_zero_has_no_result() -> None:
    assert Query.parse("stats count(*) as lines, lines / sum(missing) as share").run(EVENTS) == [
        {"lines": "5"}
    ]


def test_stats_group_by_the_beginning_of_a_period() -> None:
    rows = Query.parse("stats count(*), max(desired) by bin(2m), level").run(EVENTS[:4])
    assert rows == [
        {"bin(2m)": "2026-01-15 12:00:00.000", "level": "INFO", "count(*)": "2", "max(desired)": "3"},
        {"bin(2m)": "2026-01-15 12:02:00.000", "level": "ERROR", "count(*)": "1"},
        {"bin(2m)": "2026-01-15 12:02:00.000", "level": "INFO", "count(*)": "1", "max(desired)": "10"},
    ]


def test_a_slash_divides_unless_it_begins_a_pattern() -> None:
    text = "filter @message like /a/ | stats count(*) / 2 as half, half / 2 as quarter"
    assert Query.parse(text).run(EVENTS[:1]) == [{"half": "0.5", "quarter": "0.25"}]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("parse @message '*' as all", "'parse'"),
        ("stats pct(desired, 99)", "stats pct"),
        ("stats count(*) by bin(5)", "bin(5)"),
        ("stats count(*) by bin(5mo)", "'5mo)'"),
        ("stats count(*) - 1", "'- 1'"),
        ("stats later / 2, count(*) as later", "stats later"),
        ("filter level ~= 3", "'~= 3'"),
        ("filter level = ERROR", "'ERROR' is no value"),
        ("filter strcontains(level, 'E')", "strcontains ("),
        ("limit 0", "limit 0"),
        ("fields @message sort @timestamp", "'sort'"),
        ("filter (level = 'a'", "')'"),
        ("filter level like level", "like level"),
        ("", "the end of the query"),
    ],
)
def test_what_is_not_played_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(QueryError) as refused:
        Query.parse(text)
    assert named in str(refused.value)
