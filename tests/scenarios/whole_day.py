"""A whole day of queue-proc over the embedded AWS keeps its promise with few launches, and is empty at night.

Because of its name, pytest collects it only if the file is named (`make day`).
"""

import pytest

from tests.scenarios import day
from tests.scenarios.conftest import Recording


@pytest.fixture(scope="module")
def whole() -> Recording:
    return day.run_minutes(0, 24 * day.HOUR)


def test_all_of_some_27000_messages_are_processed_and_the_service_is_at_zero_again(whole: Recording) -> None:
    assert whole.summary.ok
    assert whole.summary.sent == whole.summary.processed > 27_000


def test_99_of_100_messages_start_within_the_promise(whole: Recording) -> None:
    assert whole.summary.waits.attainment > 0.99


def test_the_service_follows_the_load_in_few_steps_and_is_at_zero_at_night(whole: Recording) -> None:
    assert whole.launches <= 60
    assert whole.summary.minutes_at_zero > 4 * day.HOUR
    # A fleet for the busiest hour would run all the time.
    assert whole.summary.instance_hours < 0.5 * whole.summary.peak_instances * 24


def test_the_target_follows_what_messages_take_down_until_noon_and_up_again(whole: Recording) -> None:
    """In an hour in which it would move within the deadband, the target stays."""
    targets = [record["target"] for _, record in whole.decisions("retune")]
    assert len(targets) >= 10
    lowest = targets.index(min(targets))
    assert targets[:lowest] == sorted(targets[:lowest], reverse=True)
    assert targets[lowest:] == sorted(targets[lowest:])
