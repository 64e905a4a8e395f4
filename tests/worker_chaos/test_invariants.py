"""The invariants: which runs violate them, and which do not."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from tests.worker_chaos import invariants
from tests.worker_chaos.handlers import Do
from tests.worker_chaos.records import Span


def span(place: int, began_at: float, completed_at: float | None = None, **more: Any) -> Span:
    """A call in process 1 for a message of one group."""
    fields: dict[str, Any] = {"queue": "q", "group": "g", "do": Do.WORK, "receipt": 1, "pid": 1, **more}
    return Span(key=f"q/g/{place}", place=place, began_at=began_at, completed_at=completed_at, **fields)


def calls(*spans: Span) -> invariants.Calls:
    found = defaultdict(list)
    for each in spans:
        found[each.key].append(each)
    return found


def test_a_message_that_was_never_completed_is_lost() -> None:
    assert not list(invariants.none_lost(["a", "b"], {"a", "b"}))
    assert list(invariants.none_lost(["a", "b"], {"a"})) == ["1 messages were never processed: b"]


@pytest.mark.parametrize(
    ("before", "deaths", "reason"),
    [
        (span(0, 1.0, failed_at=2.0), {}, "failed"),
        (span(0, 1.0), {1: 3.0}, "killed while at work"),
        (span(0, 1.0, 2.0), {1: 3.0}, "killed before its delete arrived"),
        (span(0, 1.0, do=Do.HANG_ONCE), {}, "not done at its deadline"),
        (span(0, 1.0, 2.0), {}, invariants.UNEXPLAINED),
        (span(0, 1.0), {}, invariants.UNEXPLAINED),
        (span(0, 1.0, 2.0), {2: 3.0}, invariants.UNEXPLAINED),
        (span(0, 1.0, 2.0), {1: 5.0}, invariants.UNEXPLAINED),
        (span(0, 4.0), {1: 3.0}, invariants.UNEXPLAINED),
    ],
)
def test_a_repeated_message_has_a_reason_or_is_a_violation(
    before: Span, deaths: invariants.Deaths, reason: str
) -> None:
    again = calls(before, span(0, 4.5, 4.6, pid=3))

    assert invariants.repeats(again, deaths) == {reason: 1}
    assert bool(list(invariants.repeated_only_for_a_reason(again, deaths))) == (
        reason == invariants.UNEXPLAINED
    )


def test_only_what_was_completed_twice_was_processed_twice() -> None:
    assert invariants.twice(calls(span(0, 1.0), span(0, 2.0, 3.0), span(1, 1.0, 2.0))) == []
    assert invariants.twice(calls(span(0, 1.0, 1.5), span(0, 2.0, 3.0))) == ["q/g/0"]


@pytest.mark.parametrize(
    ("spans", "deaths"),
    [
        ([span(0, 1.0, 2.0), span(1, 2.0, 3.0)], {}),
        ([span(0, 1.0, failed_at=2.0), span(0, 3.0, 4.0), span(1, 5.0, 6.0)], {}),
        ([span(0, 1.0), span(0, 4.0, 5.0, pid=2), span(1, 5.0, 6.0, pid=2)], {1: 3.0}),
        ([span(0, 1.0, 2.0), span(0, 1.0, 2.0, group="another")], {}),
    ],
)
def test_a_group_in_order_violates_nothing(spans: list[Span], deaths: invariants.Deaths) -> None:
    assert not list(invariants.in_order(spans, deaths))


@pytest.mark.parametrize(
    ("spans", "deaths", "sentence"),
    [
        ([span(0, 1.0, 3.0), span(1, 2.0, 4.0)], {}, "q/g/1 began before its predecessor had completed"),
        ([span(1, 2.0, 4.0)], {}, "q/g/1 began before its predecessor had completed"),
        (
            [span(0, 1.0, failed_at=2.0), span(1, 3.0, 4.0), span(0, 5.0, 6.0)],
            {},
            "q/g/0 began again after number 1 of its group",
        ),
        (
            [span(0, 1.0, 5.0), span(0, 2.0, 3.0, pid=2)],
            {},
            "q/g/0 ran in process 1 when q/g/0 began in 2",
        ),
        ([span(0, 1.0), span(0, 2.0, 3.0, pid=2)], {1: 2.5}, "q/g/0 ran in process 1"),
        ([span(0, 1.0), span(0, 2.0, 3.0, pid=2)], {}, "q/g/0 ran in process 1"),
    ],
)
def test_a_group_out_of_order_is_a_violation(
    spans: list[Span], deaths: invariants.Deaths, sentence: str
) -> None:
    assert sentence in " ".join(invariants.in_order(spans, deaths))
