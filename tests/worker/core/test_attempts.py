"""A message was started as often as SQS delivered it, except for the receipts known to have ended before."""

import pytest

from sluice_worker.core import attempts as module
from sluice_worker.core.attempts import Attempts


def test_receipts_count_as_begun_where_nothing_else_is_known() -> None:
    assert Attempts().count_started("id", 3) == 3


def test_receipts_that_ended_before_the_message_was_begun_do_not_count() -> None:
    attempts = Attempts()
    attempts.record_unstarted("id")
    attempts.record_unstarted("id")
    assert attempts.count_started("id", 3) == 1
    assert attempts.count_started("other", 3) == 3


def test_the_present_attempt_counts_however_few_receipts_sqs_has_counted() -> None:
    attempts = Attempts()
    attempts.record_unstarted("id")
    assert attempts.count_started("id", 1) == 1
    assert attempts.count_started("other", 0) == 1


def test_a_message_that_has_ended_is_forgotten() -> None:
    attempts = Attempts()
    attempts.record_unstarted("id")
    attempts.forget("id")
    attempts.forget("never seen")
    assert attempts.count_started("id", 3) == 3


def test_the_number_of_remembered_messages_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGES", 2)
    attempts = Attempts()
    for message_id in ("a", "b", "a", "c"):
        attempts.record_unstarted(message_id)
    assert [attempts.count_started(message_id, 3) for message_id in ("a", "b", "c")] == [1, 3, 2]
