"""Protection follows the work: asked for on the way from idle to busy and back, and never in its way."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.errors import TransientError
from sluice_worker import settings
from sluice_worker.runtime import lifecycle
from sluice_worker.runtime.lifecycle import (
    CHECK_INTERVAL_S,
    RETRY_S,
    ScaleInProtector,
)
from tests.worker.waiting import eventually

IDLE_S = 10.0


@dataclass
class Shield:
    """A protection in memory; `refusing` fails each call, and `heeding` has it take effect all the same."""

    expires_after_s: float = float("inf")
    calls: list[str] = field(default_factory=list)
    protected: bool = False
    refusing: bool = False
    heeding: bool = False

    def protect(self) -> None:
        self._set("protect", protected=True)

    def release(self) -> None:
        self._set("release", protected=False)

    def _set(self, call: str, *, protected: bool) -> None:
        self.calls.append(call)
        if not self.refusing or self.heeding:
            self.protected = protected
        if self.refusing:
            raise TransientError("AWS is out of order")


@dataclass
class Watch:
    """A guard, its shield and the work, on a clock that the test turns."""

    shield: Shield = field(default_factory=Shield)
    busy: bool = False
    now: float = 1000.0
    idle_s: float = IDLE_S
    random_share: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        self.protector = ScaleInProtector(
            self.shield, lambda: self.busy, idle_s=self.idle_s, random_share=self.random_share
        )

    def live(self, seconds: float, *, busy: bool) -> None:
        """Look every half second for so long."""
        self.busy = busy
        for _ in range(round(seconds / CHECK_INTERVAL_S)):
            self.now += CHECK_INTERVAL_S
            self.protector.check(self.now)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def idle() -> Watch:
    """What a dead worker may have left is released, and all is quiet."""
    watch = Watch()
    watch.live(IDLE_S + 1, busy=False)
    watch.shield.calls.clear()
    return watch


# ---- On transitions only -----------------------------------------------------------------------------------


def test_an_hour_of_work_is_protected_with_one_call(idle: Watch) -> None:
    idle.live(3600, busy=True)
    assert idle.shield.calls == ["protect"]


def test_an_idle_hour_costs_one_call(idle: Watch) -> None:
    idle.live(60, busy=True)
    idle.live(3600, busy=False)
    assert idle.shield.calls == ["protect", "release"]


def test_a_short_pause_between_messages_keeps_the_protection(idle: Watch) -> None:
    for _ in range(100):
        idle.live(1, busy=True)
        idle.live(IDLE_S - 1, busy=False)
    assert idle.shield.calls == ["protect"]


def test_protection_is_given_up_only_after_the_linger(idle: Watch) -> None:
    idle.live(1, busy=True)
    idle.live(IDLE_S, busy=False)
    assert idle.shield.protected
    idle.live(CHECK_INTERVAL_S, busy=False)
    assert not idle.shield.protected


def test_a_storm_of_flapping_costs_two_calls_for_each_pause_that_outlasts_the_linger(idle: Watch) -> None:
    chance = random.Random(7)
    long_pauses = 0
    for _ in range(2000):
        idle.live(chance.choice([CHECK_INTERVAL_S, 1, 3]), busy=True)
        pause_s = chance.choice([CHECK_INTERVAL_S, 1, 5, IDLE_S - 1, 30])
        idle.live(pause_s, busy=False)
        long_pauses += pause_s > IDLE_S
    assert long_pauses > 100
    # Each long pause ends one protection; the first work begins the first, whatever comes last.
    assert idle.shield.calls.count("release") == long_pauses
    assert idle.shield.calls == ["protect", "release"] * long_pauses + ["protect"] * idle.shield.protected


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=30))
def test_whoever_works_is_protected_and_nobody_is_asked_twice_in_a_row(
    spells: list[tuple[bool, int]],
) -> None:
    watch = Watch()
    for busy, looks in spells:
        watch.live(looks * CHECK_INTERVAL_S, busy=busy)
        assert watch.shield.protected >= busy
    assert all(one != other for one, other in itertools.pairwise(watch.shield.calls))


# ---- The group's share of AWS's calls ----------------------------------------------------------------------


def test_a_message_every_half_minute_costs_one_call_an_hour_with_the_default_settings() -> None:
    watch = Watch(idle_s=settings({"queues": ["http://h/q"]}).protection_idle_s)
    for _ in range(120):
        watch.live(1, busy=True)
        watch.live(29, busy=False)
    assert watch.shield.calls == ["protect"]


def test_workers_that_fall_idle_or_fail_together_do_not_call_together() -> None:
    """A hundred of them: no second sees a tenth of the calls."""
    chance = random.Random(7)
    idle_s = 60.0
    crowd = [Watch(idle_s=idle_s, random_share=chance.random) for _ in range(100)]
    released_at, retried_at = Counter[int](), Counter[int]()
    for watch in crowd:
        began_at = watch.now
        watch.live(1, busy=True)
        while "release" not in watch.shield.calls:
            watch.live(CHECK_INTERVAL_S, busy=False)
        released_at[int(watch.now)] += 1
        assert idle_s <= watch.now - began_at <= 1.2 * idle_s + 2
        watch.shield.refusing = True
        watch.live(CHECK_INTERVAL_S, busy=True)
        failed_at, calls = watch.now, len(watch.shield.calls)
        while len(watch.shield.calls) == calls:
            watch.live(CHECK_INTERVAL_S, busy=True)
        retried_at[int(watch.now - failed_at)] += 1
    assert max(released_at.values()) <= 20
    assert len(retried_at) >= 3


# ---- Terms -------------------------------------------------------------------------------------------------


def test_protection_is_renewed_before_it_expires_for_as_long_as_there_is_work(idle: Watch) -> None:
    idle.shield.expires_after_s = 180.0
    requested_at: list[float] = []
    for _ in range(3600):
        calls = len(idle.shield.calls)
        idle.live(CHECK_INTERVAL_S, busy=True)
        requested_at += [idle.now] * (len(idle.shield.calls) - calls)
    gaps = [later - sooner for sooner, later in itertools.pairwise(requested_at)]
    assert set(idle.shield.calls) == {"protect"}
    assert len(gaps) >= 10
    assert max(gaps) <= idle.shield.expires_after_s / 2 + CHECK_INTERVAL_S


def test_an_idle_worker_lets_its_term_run_out(idle: Watch) -> None:
    idle.shield.expires_after_s = 180.0
    idle.live(1, busy=True)
    idle.live(3600, busy=False)
    assert idle.shield.calls == ["protect", "release"]


# ---- What others left behind -------------------------------------------------------------------------------


def test_what_a_dead_worker_left_is_released_once(watch: Watch) -> None:
    watch.shield.protected = True
    watch.live(600, busy=False)
    assert (watch.shield.protected, watch.shield.calls) == (False, ["release"])


def test_a_worker_that_begins_at_once_keeps_what_was_left(watch: Watch) -> None:
    watch.shield.protected = True
    watch.live(600, busy=True)
    assert (watch.shield.protected, watch.shield.calls) == (True, ["protect"])


# ---- Failures ----------------------------------------------------------------------------------------------


def test_a_failure_is_told_once_and_tried_again_every_so_often(
    idle: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    idle.shield.refusing = True
    idle.live(10 * RETRY_S, busy=True)
    assert idle.shield.calls == ["protect"] * 10
    assert len(caplog.records) == 1
    assert "AWS is out of order; the work goes on" in caplog.text
    idle.shield.refusing = False
    idle.live(RETRY_S + CHECK_INTERVAL_S, busy=True)
    assert idle.shield.protected


def test_a_second_outage_is_told_again(idle: Watch, caplog: pytest.LogCaptureFixture) -> None:
    for refusing in (True, False, True):
        idle.shield.refusing = refusing
        idle.shield.expires_after_s = 20.0
        idle.live(60, busy=True)
    assert len(caplog.records) == 2


def test_a_protection_that_took_effect_although_its_answer_was_lost_is_released_when_idle(
    idle: Watch,
) -> None:
    """Else an idle instance could not be scaled in until its next message."""
    idle.shield.refusing = idle.shield.heeding = True
    idle.live(1, busy=True)
    idle.shield.refusing = False
    idle.live(RETRY_S + IDLE_S, busy=False)
    assert not idle.shield.protected


def test_a_release_that_took_effect_although_its_answer_was_lost_is_made_good_by_the_next_work(
    idle: Watch,
) -> None:
    idle.live(1, busy=True)
    idle.shield.refusing = idle.shield.heeding = True
    idle.live(IDLE_S + 1, busy=False)
    assert not idle.shield.protected
    idle.shield.refusing = False
    idle.live(RETRY_S + 1, busy=True)
    assert idle.shield.protected


# ---- Its end -----------------------------------------------------------------------------------------------


def test_the_end_of_the_worker_is_the_end_of_its_protection(watch: Watch) -> None:
    watch.busy = True
    watch.protector.start()
    eventually(lambda: watch.shield.protected, "a busy worker is protected")
    watch.protector.stop()
    assert not watch.shield.protected


def test_a_worker_told_to_go_before_its_first_look_releases_what_a_dead_one_left(watch: Watch) -> None:
    watch.shield.protected = True
    watch.protector.start()
    watch.protector.stop()
    assert not watch.shield.protected


def test_a_protection_under_way_when_the_end_comes_does_not_outlast_it(watch: Watch) -> None:
    under_way, go_on = threading.Event(), threading.Event()

    def slowly(protect: Callable[[], None] = watch.shield.protect) -> None:
        under_way.set()
        assert go_on.wait(20)
        protect()

    watch.shield.protect = slowly  # type: ignore[method-assign]
    watch.busy = True
    watch.protector.start()
    assert under_way.wait(20)
    threading.Timer(0.05, go_on.set).start()
    watch.protector.stop()
    assert watch.shield.calls == ["protect", "release"]


def test_an_aws_that_does_not_answer_cannot_hold_up_the_end(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "FINISH_TIMEOUT_S", 0.05)
    asked, never = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        never.wait(20)

    watch.shield.release = hang  # type: ignore[method-assign]
    watch.protector.start()
    ending = threading.Thread(target=watch.protector.stop, daemon=True)
    ending.start()
    assert asked.wait(20)
    ending.join(10)
    ended_first = not ending.is_alive()
    never.set()
    assert ended_first
