import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_worker.core.model import MAX_VISIBILITY_S
from sluice_worker.core.retry_policy import (
    JITTER,
    DeadLetter,
    FailurePolicy,
    Retry,
)

IDS = st.text(max_size=40)


def pause_s(policy: FailurePolicy, receive_count: int = 1, message_id: str = "id") -> int:
    after = policy.after(message_id, receive_count, rejected=False)
    assert isinstance(after, Retry)
    return after.after_s


@pytest.mark.parametrize(
    ("receive_count", "full_s"),
    [
        (1, 10),
        (2, 20),
        (3, 40),
        (7, 640),
        (8, 900),  # 1280, but for the longest
        (1000, 900),
        (0, 10),  # SQS counts approximately
    ],
)
def test_a_failed_message_is_hidden_twice_as_long_with_each_receipt_up_to_the_longest(
    receive_count: int, full_s: int
) -> None:
    assert full_s * (1 - JITTER) <= pause_s(FailurePolicy(), receive_count) <= full_s


def test_messages_that_failed_together_return_at_different_times() -> None:
    pauses = {pause_s(FailurePolicy(backoff_s=100), message_id=f"id-{number}") for number in range(200)}
    assert len(pauses) > 15
    assert min(pauses) < 84
    assert max(pauses) > 96


def test_the_same_failure_gets_the_same_pause() -> None:
    assert len({pause_s(FailurePolicy(), 3, "id") for _ in range(10)}) == 1


def test_without_a_backoff_a_message_comes_back_at_once() -> None:
    assert pause_s(FailurePolicy(backoff_s=0), 5) == 0


@given(IDS, st.integers(0, 10**6), st.floats(0, allow_infinity=False), st.floats(0, max_value=1e6))
def test_no_message_is_hidden_longer_than_sqs_or_the_settings_allow(
    message_id: str, receive_count: int, backoff_s: float, max_backoff_s: float
) -> None:
    policy = FailurePolicy(backoff_s=backoff_s, max_backoff_s=max_backoff_s)
    assert 0 <= pause_s(policy, receive_count, message_id) <= round(min(max_backoff_s, MAX_VISIBILITY_S))


@given(IDS, st.integers(1, 100), st.integers(1, 100))
def test_another_receipt_never_shortens_the_pause(message_id: str, receive_count: int, more: int) -> None:
    policy = FailurePolicy()
    assert pause_s(policy, receive_count, message_id) <= pause_s(policy, receive_count + more, message_id)


@pytest.mark.parametrize(
    ("max_attempts", "receive_count", "rejected", "is_dead_lettered"),
    [
        (None, 1000, False, False),  # the queue's own redrive policy counts
        (3, 2, False, False),
        (3, 3, False, True),
        (3, 4, False, True),  # another worker may have seen it in between
        (None, 1, True, True),
        (3, 1, True, True),
    ],
)
def test_what_is_rejected_or_has_failed_often_enough_goes_to_the_dead_letters(
    max_attempts: int | None, receive_count: int, rejected: bool, is_dead_lettered: bool
) -> None:
    policy = FailurePolicy(max_attempts=max_attempts, dead_letters=True)
    after = policy.after("id", receive_count, rejected=rejected)
    assert isinstance(after, DeadLetter if is_dead_lettered else Retry)


@pytest.mark.parametrize("rejected", [False, True])
def test_without_a_dead_letter_queue_a_rejected_message_returns(rejected: bool) -> None:
    after = FailurePolicy(max_attempts=1).after("id", 9, rejected=rejected)
    assert isinstance(after, Retry)


def test_the_shortest_back_off_is_the_first_one_less_all_its_jitter() -> None:
    policy = FailurePolicy(backoff_s=100.0, max_backoff_s=900.0)
    assert policy.min_backoff_s == 80
    shortest = min(policy.back_off(f"message {number}", 1).after_s for number in range(1000))
    assert policy.min_backoff_s <= shortest < 81
    assert FailurePolicy(backoff_s=100, max_backoff_s=10).min_backoff_s == 8
