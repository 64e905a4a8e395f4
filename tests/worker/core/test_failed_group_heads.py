"""While a failed message of a FIFO group may come back, polls bring one message at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice_worker.core import failed_group_heads as module
from sluice_worker.core.failed_group_heads import (
    MARGIN_S,
    SENT_WITHIN_S,
    FailedHeads,
)
from sluice_worker.core.model import LONG_POLL_S, MAX_BATCH_SIZE, Poll
from tests.worker.core.builders import MEDIUM, message_group, queue

ORDERED = queue("work.fifo")
SHORT = Poll(queue=ORDERED, max_messages=MAX_BATCH_SIZE, wait_s=0)
LONG = Poll(queue=ORDERED, max_messages=MAX_BATCH_SIZE, wait_s=LONG_POLL_S)
SINGLE = replace(SHORT, max_messages=1)
MIN_BACKOFF_S = 8.0
MAX_BACKOFF_S = 900.0


def heads(*, min_backoff_s: float = MIN_BACKOFF_S) -> FailedHeads:
    return FailedHeads(min_backoff_s=min_backoff_s, max_backoff_s=MAX_BACKOFF_S)


def limited(by: FailedHeads, poll: Poll, now: float, *, holds_groups: bool = False) -> Poll:
    return by.limit_poll(poll, now, holds_groups=holds_groups)


def failed(*groups: str, hidden_until: float | None = None) -> FailedHeads:
    """Groups whose first message failed at 0."""
    found = heads()
    for group in groups:
        found.record_failure(message_group(group), 0.0)
        if hidden_until is not None:
            found.record_hidden(message_group(group), hidden_until)
    return found


def test_without_failures_polls_are_unchanged() -> None:
    for poll in (SHORT, LONG, SINGLE):
        assert limited(heads(), poll, 0.0) == poll


def test_other_queues_are_polled_as_before() -> None:
    by = failed("a")
    for poll in (
        Poll(queue=MEDIUM, max_messages=MAX_BATCH_SIZE, wait_s=0),
        replace(SHORT, queue=queue("else.fifo")),
    ):
        assert limited(by, poll, 1.0) == poll


def test_a_failed_message_that_may_be_visible_is_polled_for_on_its_own() -> None:
    assert limited(failed("a"), SHORT, 1.0) == SINGLE
    assert limited(failed("a"), LONG, 1.0) == replace(LONG, max_messages=1)


def test_while_it_is_hidden_its_group_is_blocked_and_polls_bring_many() -> None:
    by = failed("a", hidden_until=100.0)
    assert limited(by, SHORT, 50.0) == SHORT
    assert limited(by, SHORT, 100.0 - SENT_WITHIN_S) == SHORT
    assert limited(by, SHORT, 100.1 - SENT_WITHIN_S) == SINGLE


@pytest.mark.parametrize(("now", "waits_s"), [(10.0, 20), (80.0, 18), (97.0, 1)])
def test_a_long_poll_for_many_is_back_before_it_is_visible(now: float, waits_s: int) -> None:
    assert limited(failed("a", hidden_until=100.0), LONG, now) == replace(LONG, wait_s=waits_s)


def test_the_failed_message_that_is_visible_first_counts() -> None:
    by = failed("a", "b", hidden_until=100.0)
    by.record_failure(message_group("c"), 0.0)
    by.record_hidden(message_group("c"), 30.0)
    assert limited(by, SHORT, 29.0) == SINGLE


def test_once_a_message_of_its_group_was_received_polls_bring_many() -> None:
    """The worker holds it, or it has ended: at another worker or in the dead-letter queue."""
    by = failed("a", "b")
    by.record_receipt(message_group("a"))
    assert limited(by, SHORT, 1.0) == SINGLE
    by.record_receipt(message_group("b"))
    assert limited(by, SHORT, 1.0) == SHORT
    by.record_hidden(message_group("b"), 5.0)  # SQS's answer came late
    assert limited(by, SHORT, 6.0) == SHORT


def test_a_group_does_not_wait_forever_for_a_message_that_never_returns() -> None:
    """Another worker may have it, and may hide it for as long as this one would."""
    by, last_s = failed("a", hidden_until=10.0), 10.0 + MAX_BACKOFF_S + MARGIN_S
    assert limited(by, SHORT, last_s - 0.1) == SINGLE
    assert limited(by, SHORT, last_s + 0.1) == SHORT


@pytest.mark.parametrize(("min_backoff_s", "waits_s"), [(8.0, 8), (0.0, 1), (600.0, 20)])
def test_a_long_poll_is_back_before_what_is_held_can_fail_and_be_visible(
    min_backoff_s: float, waits_s: int
) -> None:
    by = heads(min_backoff_s=min_backoff_s)
    assert limited(by, LONG, 0.0, holds_groups=True) == replace(LONG, wait_s=waits_s)
    assert limited(by, LONG, 0.0) == LONG


def test_the_number_of_remembered_groups_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GROUPS", 2)
    by = failed("a", "b", "c")
    by.record_receipt(message_group("b"))
    assert limited(by, SHORT, 1.0) == SINGLE
    by.record_receipt(message_group("c"))
    assert limited(by, SHORT, 1.0) == SHORT


def test_an_unknown_group_is_not_added_by_a_report_about_it() -> None:
    by = heads()
    by.record_hidden(message_group(), 100.0)
    by.record_receipt(message_group())
    assert limited(by, SHORT, 0.0) == SHORT
