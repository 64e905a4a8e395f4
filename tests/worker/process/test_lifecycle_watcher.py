"""A worker completes the launch hook, learns once that its instance terminates, and extends that hook."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sluice.errors import ConfigError, TransientError
from sluice_worker.core.instance_state import OutOfService
from sluice_worker.runtime.lifecycle import (
    HOOK_EXTENSION_S,
    WATCH_INTERVAL_S,
    LifecycleWatcher,
)
from tests.worker.waiting import eventually


@dataclass
class LifecycleFake:
    """An instance's lifecycle in memory."""

    reason: str | None = None
    unreachable: bool = False
    launch_refused: bool = False
    calls: list[str] = field(default_factory=list)

    def out_of_service(self) -> OutOfService | None:
        self._answer("out of service?")
        return None if self.reason is None else OutOfService(reason=self.reason, for_good=True)

    def complete_launch_hook(self) -> None:
        self._answer("launched")
        if self.launch_refused:
            raise ConfigError("not allowed")

    def extend_hook(self) -> None:
        self._answer("wait")

    def complete_hook(self) -> None:
        self._answer("left")

    def _answer(self, call: str) -> None:
        self.calls.append(call)
        if self.unreachable:
            raise TransientError("nobody answers")


@dataclass
class Watching:
    """A watcher, a fake lifecycle, and the reasons that were reported."""

    lifecycle: LifecycleFake = field(default_factory=LifecycleFake)
    reasons: list[str] = field(default_factory=list)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.watcher = LifecycleWatcher(self.lifecycle, self.reasons.append, random_share=lambda: 0.0)

    def live(self, seconds: float) -> None:
        for _ in range(round(seconds / WATCH_INTERVAL_S)):
            self.now += WATCH_INTERVAL_S
            self.watcher.check(self.now)


@pytest.fixture
def watching() -> Watching:
    return Watching()


def test_a_termination_notice_is_reported_once(watching: Watching) -> None:
    watching.live(60)
    assert watching.reasons == []
    watching.lifecycle.reason = "the group terminates the instance"
    watching.live(60)
    assert watching.reasons == ["the group terminates the instance"]


def test_the_hook_is_extended_at_once_and_more_often_than_any_hook_times_out(watching: Watching) -> None:
    shortest_hook_s = 30
    watching.lifecycle.reason = "the group terminates the instance"
    watching.live(WATCH_INTERVAL_S)
    assert watching.lifecycle.calls == ["out of service?", "wait"]
    watching.live(600)
    assert watching.lifecycle.calls.count("wait") == 1 + 600 / HOOK_EXTENSION_S
    assert shortest_hook_s > HOOK_EXTENSION_S + WATCH_INTERVAL_S


def test_no_hook_is_extended_while_the_instance_is_in_service(watching: Watching) -> None:
    watching.live(600)
    assert "wait" not in watching.lifecycle.calls


def test_it_continues_to_watch_after_the_first_notice(watching: Watching) -> None:
    """A Spot notice may be followed by the group's own, whose hook has to be answered."""
    watching.lifecycle.reason = "EC2 takes the Spot instance back"
    watching.live(60)
    assert watching.lifecycle.calls.count("out of service?") == 60 / WATCH_INTERVAL_S


def test_an_outage_is_logged_once_and_ends_by_itself(
    watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    watching.lifecycle.unreachable = True
    watching.live(600)
    assert watching.reasons == []
    assert [record.getMessage() for record in caplog.records] == [
        "nobody answers; asked again every 5 s",
        "nobody answers; if the launch hook still waits, its own timeout counts",
    ]
    watching.lifecycle.unreachable, watching.lifecycle.reason = False, "the group terminates the instance"
    watching.live(WATCH_INTERVAL_S)
    assert watching.reasons == ["the group terminates the instance"]


def test_the_last_call_completes_the_hook(watching: Watching) -> None:
    watching.watcher.start()
    eventually(lambda: watching.lifecycle.calls, "the first look comes at once")
    watching.watcher.stop()
    assert watching.lifecycle.calls == ["out of service?", "launched", "left"]


def test_the_launch_is_completed_at_every_check_until_the_instance_leaves(watching: Watching) -> None:
    """The instance knows whether a launch waits."""
    watching.live(60)
    assert watching.lifecycle.calls.count("launched") == 60 / WATCH_INTERVAL_S
    watching.lifecycle.reason = "the group terminates the instance"
    watching.lifecycle.calls.clear()
    watching.live(60)
    assert "launched" not in watching.lifecycle.calls


def test_a_refused_launch_is_logged_once_and_the_watch_goes_on(
    watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    watching.lifecycle.launch_refused = True
    watching.live(60)
    assert [record.getMessage() for record in caplog.records] == [
        "not allowed; if the launch hook still waits, its own timeout counts"
    ]
    watching.lifecycle.reason = "the group terminates the instance"
    watching.live(WATCH_INTERVAL_S)
    assert watching.reasons == ["the group terminates the instance"]
