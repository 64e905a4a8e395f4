"""Scale-in protection follows the work: it is set when busy, removed when idle, and never delays the work."""

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
class ProtectionFake:
    """A protection in memory; `refusing` fails each call, and `heeding` lets a failed call take effect."""

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
class ProtectedWork:
    """A protector, a fake protection and the work, on a clock that the test sets."""

    protection: ProtectionFake = field(default_factory=ProtectionFake)
    busy: bool = False
    drained: bool = False
    now: float = 1000.0
    idle_s: float = IDLE_S
    random_share: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        self.protector = ScaleInProtector(
            self.protection,
            lambda: self.busy,
            idle_s=self.idle_s,
            drained=lambda: self.drained,
            random_share=self.random_share,
        )

    def live(self, seconds: float, *, busy: bool) -> None:
        """Check every half second for this long."""
        self.busy = busy
        for _ in range(round(seconds / CHECK_INTERVAL_S)):
            self.now += CHECK_INTERVAL_S
            self.protector.check(self.now)


@pytest.fixture
def watch() -> ProtectedWork:
    return ProtectedWork()


@pytest.fixture
def idle() -> ProtectedWork:
    """Release what a dead worker may have left, and discard the calls."""
    watch = ProtectedWork()
    watch.live(IDLE_S + 1, busy=False)
    watch.protection.calls.clear()
    return watch


# ---- On transitions only -----------------------------------------------------------------------------------


def test_an_hour_of_work_is_protected_with_one_call(idle: ProtectedWork) -> None:
    idle.live(3600, busy=True)
    assert idle.protection.calls == ["protect"]


def test_an_idle_hour_costs_one_call(idle: ProtectedWork) -> None:
    idle.live(60, busy=True)
    idle.live(3600, busy=False)
    assert idle.protection.calls == ["protect", "release"]


def test_a_short_pause_between_messages_keeps_the_protection(idle: ProtectedWork) -> None:
    for _ in range(100):
        idle.live(1, busy=True)
        idle.live(IDLE_S - 1, busy=False)
    assert idle.protection.calls == ["protect"]


def test_protection_is_given_up_only_after_the_linger(idle: ProtectedWork) -> None:
    idle.live(1, busy=True)
    idle.live(IDLE_S, busy=False)
    assert idle.protection.protected
    idle.live(CHECK_INTERVAL_S, busy=False)
    assert not idle.protection.protected


def test_flapping_costs_two_calls_for_each_pause_longer_than_the_linger(
    idle: ProtectedWork,
) -> None:
    chance = random.Random(7)
    long_pauses = 0
    for _ in range(2000):
        idle.live(chance.choice([CHECK_INTERVAL_S, 1, 3]), busy=True)
        pause_s = chance.choice([CHECK_INTERVAL_S, 1, 5, IDLE_S - 1, 30])
        idle.live(pause_s, busy=False)
        long_pauses += pause_s > IDLE_S
    assert long_pauses > 100
    # Each long pause ends one protection; the first work begins the first, whatever comes last.
    assert idle.protection.calls.count("release") == long_pauses
    assert (
        idle.protection.calls
        == ["protect", "release"] * long_pauses + ["protect"] * idle.protection.protected
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=30))
def test_busy_workers_are_protected_without_repeated_requests(
    spells: list[tuple[bool, int]],
) -> None:
    watch = ProtectedWork()
    for busy, looks in spells:
        watch.live(looks * CHECK_INTERVAL_S, busy=busy)
        assert watch.protection.protected >= busy
    assert all(one != other for one, other in itertools.pairwise(watch.protection.calls))


# ---- While nothing is received ----------------------------------------------------------------------------


def test_a_worker_that_can_get_no_message_is_released_at_the_next_look(idle: ProtectedWork) -> None:
    idle.live(1, busy=True)
    idle.live(1, busy=False)
    assert idle.protection.protected
    idle.drained = True
    idle.live(CHECK_INTERVAL_S, busy=False)
    assert not idle.protection.protected
    idle.live(600, busy=False)
    assert idle.protection.calls == ["protect", "release"]


def test_a_worker_that_receives_nothing_and_holds_a_message_stays_protected(idle: ProtectedWork) -> None:
    """Its drained state may be read a moment later than its messages."""
    idle.drained = True
    idle.live(600, busy=True)
    assert idle.protection.calls == ["protect"]


def test_a_worker_that_receives_again_has_its_linger_again(idle: ProtectedWork) -> None:
    idle.drained = True
    idle.live(1, busy=False)
    idle.drained = False
    idle.live(1, busy=True)
    idle.live(IDLE_S, busy=False)
    assert idle.protection.protected


# ---- The group's share of AWS's calls ----------------------------------------------------------------------


def test_a_message_every_half_minute_costs_one_call_an_hour_with_the_default_settings() -> None:
    watch = ProtectedWork(idle_s=settings({"queues": ["http://h/q"]}).protection_idle_s)
    for _ in range(120):
        watch.live(1, busy=True)
        watch.live(29, busy=False)
    assert watch.protection.calls == ["protect"]


def test_workers_that_become_idle_or_fail_together_spread_their_calls() -> None:
    """A hundred of them: no second sees a tenth of the calls."""
    chance = random.Random(7)
    idle_s = 60.0
    crowd = [ProtectedWork(idle_s=idle_s, random_share=chance.random) for _ in range(100)]
    released_at, retried_at = Counter[int](), Counter[int]()
    for watch in crowd:
        began_at = watch.now
        watch.live(1, busy=True)
        while "release" not in watch.protection.calls:
            watch.live(CHECK_INTERVAL_S, busy=False)
        released_at[int(watch.now)] += 1
        assert idle_s <= watch.now - began_at <= 1.2 * idle_s + 2
        watch.protection.refusing = True
        watch.live(CHECK_INTERVAL_S, busy=True)
        failed_at, calls = watch.now, len(watch.protection.calls)
        while len(watch.protection.calls) == calls:
            watch.live(CHECK_INTERVAL_S, busy=True)
        retried_at[int(watch.now - failed_at)] += 1
    assert max(released_at.values()) <= 20
    assert len(retried_at) >= 3


# ---- Terms -------------------------------------------------------------------------------------------------


def test_protection_is_renewed_before_it_expires_for_as_long_as_there_is_work(idle: ProtectedWork) -> None:
    idle.protection.expires_after_s = 180.0
    requested_at: list[float] = []
    for _ in range(3600):
        calls = len(idle.protection.calls)
        idle.live(CHECK_INTERVAL_S, busy=True)
        requested_at += [idle.now] * (len(idle.protection.calls) - calls)
    gaps = [later - sooner for sooner, later in itertools.pairwise(requested_at)]
    assert set(idle.protection.calls) == {"protect"}
    assert len(gaps) >= 10
    assert max(gaps) <= idle.protection.expires_after_s / 2 + CHECK_INTERVAL_S


def test_an_idle_worker_lets_its_protection_expire(idle: ProtectedWork) -> None:
    idle.protection.expires_after_s = 180.0
    idle.live(1, busy=True)
    idle.live(3600, busy=False)
    assert idle.protection.calls == ["protect", "release"]


# ---- What others left behind -------------------------------------------------------------------------------


def test_what_a_dead_worker_left_is_released_once(watch: ProtectedWork) -> None:
    watch.protection.protected = True
    watch.live(600, busy=False)
    assert (watch.protection.protected, watch.protection.calls) == (False, ["release"])


def test_a_worker_that_begins_at_once_keeps_what_was_left(watch: ProtectedWork) -> None:
    watch.protection.protected = True
    watch.live(600, busy=True)
    assert (watch.protection.protected, watch.protection.calls) == (True, ["protect"])


# ---- Failures ----------------------------------------------------------------------------------------------


def test_a_failure_is_logged_once_and_retried_periodically(
    idle: ProtectedWork, caplog: pytest.LogCaptureFixture
) -> None:
    idle.protection.refusing = True
    idle.live(10 * RETRY_S, busy=True)
    assert idle.protection.calls == ["protect"] * 10
    assert len(caplog.records) == 1
    assert "AWS is out of order; the work goes on" in caplog.text
    idle.protection.refusing = False
    idle.live(RETRY_S + CHECK_INTERVAL_S, busy=True)
    assert idle.protection.protected


def test_a_second_outage_is_logged_again(idle: ProtectedWork, caplog: pytest.LogCaptureFixture) -> None:
    for refusing in (True, False, True):
        idle.protection.refusing = refusing
        idle.protection.expires_after_s = 20.0
        idle.live(60, busy=True)
    assert len(caplog.records) == 2


def test_a_protection_whose_response_was_lost_is_released_when_idle(
    idle: ProtectedWork,
) -> None:
    """Otherwise an idle instance could not be scaled in until its next message."""
    idle.protection.refusing = idle.protection.heeding = True
    idle.live(1, busy=True)
    idle.protection.refusing = False
    idle.live(RETRY_S + IDLE_S, busy=False)
    assert not idle.protection.protected


def test_a_release_whose_response_was_lost_is_corrected_by_the_next_message(
    idle: ProtectedWork,
) -> None:
    idle.live(1, busy=True)
    idle.protection.refusing = idle.protection.heeding = True
    idle.live(IDLE_S + 1, busy=False)
    assert not idle.protection.protected
    idle.protection.refusing = False
    idle.live(RETRY_S + 1, busy=True)
    assert idle.protection.protected


# ---- Its end -----------------------------------------------------------------------------------------------


def test_the_end_of_the_worker_releases_its_protection(watch: ProtectedWork) -> None:
    watch.busy = True
    watch.protector.start()
    eventually(lambda: watch.protection.protected, "a busy worker is protected")
    watch.protector.stop()
    assert not watch.protection.protected


def test_a_worker_that_ends_before_its_first_check_releases_what_a_dead_one_left(
    watch: ProtectedWork,
) -> None:
    watch.protection.protected = True
    watch.protector.start()
    watch.protector.stop()
    assert not watch.protection.protected


def test_a_protection_request_in_progress_at_the_end_does_not_outlast_the_worker(
    watch: ProtectedWork,
) -> None:
    under_way, go_on = threading.Event(), threading.Event()

    def slowly(protect: Callable[[], None] = watch.protection.protect) -> None:
        under_way.set()
        assert go_on.wait(20)
        protect()

    watch.protection.protect = slowly  # type: ignore[method-assign]
    watch.busy = True
    watch.protector.start()
    assert under_way.wait(20)
    threading.Timer(0.05, go_on.set).start()
    watch.protector.stop()
    assert watch.protection.calls == ["protect", "release"]


def test_an_aws_that_does_not_answer_cannot_hold_up_the_end(
    watch: ProtectedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "FINISH_TIMEOUT_S", 0.05)
    call_started, never = threading.Event(), threading.Event()

    def hang() -> None:
        call_started.set()
        never.wait(20)

    watch.protection.release = hang  # type: ignore[method-assign]
    watch.protector.start()
    ending = threading.Thread(target=watch.protector.stop, daemon=True)
    ending.start()
    assert call_started.wait(20)
    ending.join(10)
    ended_first = not ending.is_alive()
    never.set()
    assert ended_first
