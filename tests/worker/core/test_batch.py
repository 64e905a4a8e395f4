"""What a failure in a batch means for the others of its group."""

import pytest

from sluice_worker.core.batch import BatchRule, behind_failures
from sluice_worker.core.model import MAX_BATCH_SIZE


@pytest.mark.parametrize(
    ("groups", "failed", "behind"),
    [
        ([None, None, None], [True, False, True], [False, False, False]),
        (["a", "a", "a"], [False, False, False], [False, False, False]),
        (["a", "a", "a"], [False, True, False], [False, False, True]),
        (["a", "a", "a"], [True, True, False], [False, True, True]),
        (["a", "b", "a", "b"], [True, False, False, False], [False, False, True, False]),
        ([], [], []),
    ],
)
def test_what_follows_a_failure_in_its_group_does_not_count_as_done(
    groups: list[str | None], failed: list[bool], behind: list[bool]
) -> None:
    assert behind_failures(groups, failed) == behind


def test_a_batch_prefetches_one_full_poll_and_a_single_message_none() -> None:
    assert BatchRule().prefetch_per_slot == 1
    assert BatchRule(size=25).prefetch_per_slot == 25 + MAX_BATCH_SIZE - 1
