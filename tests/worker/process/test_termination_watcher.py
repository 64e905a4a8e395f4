"""A worker hears that its instance has to go, once, and keeps the group waiting until it has drained."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sluice.errors import TransientError
from sluice_worker.core.lifecycle import OutOfService
from sluice_worker.runtime.lifecycle import (
    HOOK_EXTENSION_S,
    WATCH_INTERVAL_S,
    TerminationWatcher,
)
from tests.worker.waiting import eventually


@dataclass
class Bell:
    """Notices in memory."""

    reason: str | None = None
    unreachable: bool = False
    calls: list[str] = field(default_factory=list)

    def out_of_service(self) -> OutOfService | None:
        self._answer("out of service?")
        return None if self.reason is None else OutOfService(reason=self.reason, for_good=True)

    def extend_hook(self) -> None:
        self._answer("wait")

    def complete_hook(self) -> None:
        self._answer("left")

    def _answer(self, call: str) -> None:
        self.calls.append(call)
        if self.unreachable:
            raise TransientError("nobody answers")


@dataclass
class Ear:
    """A listener, its bell, and what it heard."""

    bell: Bell = field(default_factory=Bell)
    heard: list[str] = field(default_factory=list)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.watcher = TerminationWatcher(self.bell, self.heard.append, random_share=lambda: 0.0)

    def live(self, seconds: float) -> None:
        for _ in range(round(seconds / WATCH_INTERVAL_S)):
            self.now += WATCH_INTERVAL_S
            self.watcher.check(self.now)


@pytest.fixture
def ear() -> Ear:
    return Ear()


def test_a_notice_is_passed_on_once_however_long_it_stands(ear: Ear) -> None:
    ear.live(60)
    assert ear.heard == []
    ear.bell.reason = "the group terminates the instance"
    ear.live(60)
    assert ear.heard == ["the group terminates the instance"]


def test_the_group_is_asked_to_wait_at_once_and_more_often_than_any_hook_times_out(ear: Ear) -> None:
    shortest_hook_s = 30
    ear.bell.reason = "the group terminates the instance"
    ear.live(WATCH_INTERVAL_S)
    assert ear.bell.calls == ["out of service?", "wait"]
    ear.live(600)
    assert ear.bell.calls.count("wait") == 1 + 600 / HOOK_EXTENSION_S
    assert shortest_hook_s > HOOK_EXTENSION_S + WATCH_INTERVAL_S


def test_nobody_is_asked_to_wait_while_the_instance_may_stay(ear: Ear) -> None:
    ear.live(600)
    assert "wait" not in ear.bell.calls


def test_it_goes_on_listening_after_the_first_notice(ear: Ear) -> None:
    """A Spot notice may be followed by the group's own, whose hook has to be answered."""
    ear.bell.reason = "EC2 takes the Spot instance back"
    ear.live(60)
    assert ear.bell.calls.count("out of service?") == 60 / WATCH_INTERVAL_S


def test_an_outage_is_told_once_and_ends_by_itself(ear: Ear, caplog: pytest.LogCaptureFixture) -> None:
    ear.bell.unreachable = True
    ear.live(600)
    assert ear.heard == []
    assert [record.getMessage() for record in caplog.records] == ["nobody answers; asked again every 5 s"]
    ear.bell.unreachable, ear.bell.reason = False, "the group terminates the instance"
    ear.live(WATCH_INTERVAL_S)
    assert ear.heard == ["the group terminates the instance"]


def test_the_last_thing_said_is_that_nothing_runs_here_any_more(ear: Ear) -> None:
    ear.watcher.start()
    eventually(lambda: ear.bell.calls, "the first look comes at once")
    ear.watcher.stop()
    assert ear.bell.calls == ["out of service?", "left"]
