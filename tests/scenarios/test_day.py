"""The morning of a day of queue-proc: the part of `whole_day.py` that continuous integration runs."""

import pytest

from tests.scenarios import day
from tests.scenarios.conftest import Recording

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def morning() -> Recording:
    return day.run_minutes(day.DAWN, day.DAWN + 3 * day.HOUR)


def test_the_service_starts_and_follows_the_rising_load_without_losing_messages(morning: Recording) -> None:
    assert morning.summary.ok
    assert morning.summary.sent == morning.summary.processed > 1_500
    assert 2 <= morning.summary.peak_instances <= 6


def test_messages_start_within_the_promise_from_the_first_minutes_on(morning: Recording) -> None:
    assert morning.summary.waits.attainment > 0.97


def test_once_messages_arrive_in_every_part_of_a_minute_the_service_never_goes_to_zero(
    morning: Recording,
) -> None:
    steady = morning.first_minute(lambda row: (row.arrivals_per_s or 0) > 0.25)
    last_arrival = 3 * day.HOUR - 1
    assert steady < 2.5 * day.HOUR
    assert all(row.desired >= 1 for row in morning.minutes[steady:last_arrival])
