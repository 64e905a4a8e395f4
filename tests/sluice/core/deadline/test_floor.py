import random

import pytest

from sluice.core.deadline.arrivals import recent_arrivals
from sluice.core.deadline.floor import MAX_LOAD_RATIO, MEMORY_S, Floor, floor, safety_factors, with_arrivals
from sluice.core.deadline.state import Arrivals, Safety
from tests.support.builders import deadline

PROMISE = deadline(promise_s=60)
BOOT_S, TICK_S, PROCESSING_S = 180.0, 10.0, 5.0


class Queue:
    """Arrivals tick by tick, and what is learned of them."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0
        self.safety = Safety()
        self.recent: tuple[Arrivals, ...] = ()

    def arrive(self, messages: float) -> None:
        self.now_s += TICK_S
        newest = Arrivals(until_s=self.now_s, elapsed_s=TICK_S, messages=messages)
        self.recent = recent_arrivals(self.recent, newest, BOOT_S + TICK_S)
        self.safety = with_arrivals(self.safety, self.recent, newest, PROMISE, BOOT_S, PROCESSING_S)

    def floor(self) -> Floor:
        return floor(self.safety, self.recent, self.now_s, PROMISE, boot_s=BOOT_S, processing_s=PROCESSING_S)


def test_a_steady_load_needs_no_more_than_itself() -> None:
    queue = Queue()
    for _ in range(1000):
        queue.arrive(10)
    assert queue.floor().held == pytest.approx(5, abs=0.6)


def test_a_fluctuating_load_is_held_for_what_it_needed_above_its_root() -> None:
    """Every tenth tick brings 100 messages: 100 within 10 s of 60 s more need 100 / 14.5 slots at once."""
    queue = Queue()
    for tick in range(3000):
        queue.arrive(100 if tick % 10 == 0 else 0)
    # 100 messages each 100 s keep 5 slots busy; two such ticks fall into one boot, and 250 s suffice for them
    needed = 100 / (60 + TICK_S) * PROCESSING_S
    assert needed - 1 <= queue.floor().held <= needed + 2


def test_a_floor_covers_the_needs_of_all_but_the_late_messages_that_the_promise_allows() -> None:
    few, many = Queue(), Queue()
    for tick in range(8640):
        few.arrive(500 if tick == 4000 else 10)
        many.arrive(500 if tick % 1000 == 0 else 10)
    assert few.floor().held < 8, "500 of 86,900 messages may be late"
    assert many.floor().needed > 25, "4,500 of 90,000 may not"


def test_the_first_messages_after_a_quiet_night_keep_no_fleet_overnight() -> None:
    """Those of a morning's first boot are less than the promise allows."""
    chance, queue = random.Random(1), Queue()
    for tick in range(2 * 8640):
        by_day = tick % 8640 < 2880
        queue.arrive(chance.randint(0, 40) if by_day else 0)
    assert queue.floor().held == 0
    for _ in range(100):
        queue.arrive(chance.randint(0, 40))
    assert queue.floor().held > 10


def test_a_queue_that_gets_a_message_now_and_then_keeps_one_slot_until_none_came_for_a_day() -> None:
    queue = Queue()
    for tick in range(8640):
        queue.arrive(1 if tick % 100 == 50 else 0)
    assert 0 < queue.floor().held <= 1
    for _ in range(int(MEMORY_S / TICK_S) - 100):
        queue.arrive(0)
    assert 0 < queue.floor().held <= 1
    for _ in range(20):
        queue.arrive(0)
    assert queue.floor().held == 0


def test_the_floor_is_held_for_the_highest_load_of_the_last_boot() -> None:
    queue = Queue()
    for _ in range(2000):
        queue.arrive(20)
    before = queue.floor().held
    for _ in range(15):
        queue.arrive(4)
    assert queue.floor().held == pytest.approx(before, rel=0.02)
    for _ in range(25):
        queue.arrive(4)
    assert queue.floor().held < 0.5 * before


def test_yesterdays_needs_fade() -> None:
    queue = Queue()
    for tick in range(8640):
        queue.arrive(300 if tick % 60 == 0 else 10)
    wild = queue.floor().needed
    for _ in range(5 * 8640):
        queue.arrive(10)
    assert queue.floor().needed < 0.4 * wild


def test_a_floor_of_many_times_the_mean_load_is_not_held() -> None:
    queue = Queue()
    for tick in range(8640):
        queue.arrive(5000 if tick % 4000 == 3000 else 0.2)
    found = queue.floor()
    assert found.needed > 200
    assert found.held == pytest.approx(MAX_LOAD_RATIO * found.mean_load)
    assert found.mean_load == pytest.approx(11_700 * PROCESSING_S / 86_400, rel=0.6)


def test_one_dump_in_the_first_hour_is_no_mean_load() -> None:
    queue = Queue()
    for tick in range(60):
        queue.arrive(5000 if tick == 50 else 0)
    assert queue.floor().mean_load == pytest.approx(5000 * PROCESSING_S / 3600, rel=0.01)


def test_nothing_is_learned_before_the_load_of_a_boot_ago_is_known() -> None:
    queue = Queue()
    for _ in range(int(BOOT_S / TICK_S)):
        queue.arrive(100)
    assert queue.safety.loaded == queue.safety.idle == ()


@pytest.mark.parametrize("late_share", [0.0, 0.01, 0.1])
def test_the_safety_factor_leaves_the_allowed_share_of_the_messages_late(late_share: float) -> None:
    """Twenty classes of a hundred messages: the factor lies at that quantile, and at the top for none."""
    spread = Safety(seconds=86_400, newest_s=1, loaded=(100.0,) * 20)
    loaded, idle = safety_factors(spread, late_share)
    classes = 20 * (1 - 0.8 * late_share)
    assert loaded == pytest.approx(0.25 * (1.25**classes - 1) / 0.25, rel=0.03)
    assert idle == 0


def test_after_an_idle_queue_at_most_half_of_the_allowed_messages_are_late() -> None:
    safety = Safety(seconds=86_400, newest_s=1, loaded=(0, 9_990), idle=(0, 0, 10))
    assert safety_factors(safety, 0.01)[1] == 0, "10 of 10,000 may be late"
    assert safety_factors(safety, 0.001)[1] > 0.5, "4 of 10,000 may be late"
