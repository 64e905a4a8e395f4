"""A worker waits for its instance to be in service, works, and waits again; unknown is not a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from sluice.errors import SluiceError, TransientError
from sluice_worker.core.instance_state import OutOfService
from sluice_worker.runtime import in_service
from sluice_worker.runtime.in_service import (
    CHECK_INTERVAL_S,
    UNKNOWN_STATE_S,
    DrainRequest,
    run_while_in_service,
)

WARM = OutOfService(reason="g keeps the instance in its warm pool (Warmed:Running)", for_good=False)
TERMINATED = OutOfService(reason="g terminates the instance", for_good=True)
DOWN = TransientError("instance metadata is out of reach")


@dataclass
class InstanceLifecycle:
    """Answers in their order, the last one for ever; time passes with each look."""

    answers: list[OutOfService | SluiceError | None]
    after: Callable[[], None] = lambda: None
    looks: int = 0
    let_go: int = 0
    launched: int = 0
    launch_refused: bool = False

    def out_of_service(self) -> OutOfService | None:
        self.looks += 1
        if self.looks > 1000:
            pytest.fail("waits for ever")
        self.after()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, SluiceError):
            raise answer
        return answer

    def complete_launch_hook(self) -> None:
        self.launched += 1
        if self.launch_refused:
            raise TransientError("throttled")

    def extend_hook(self) -> None:
        pass

    def complete_hook(self) -> None:
        self.let_go += 1


@dataclass
class Work:
    """Work that drains as soon as it starts."""

    order: DrainRequest
    statuses: list[int] = field(default_factory=list)
    rounds: int = 0
    at_most: int = 3

    def __call__(self) -> int:
        self.rounds += 1
        if self.rounds >= self.at_most:
            self.order.request("SIGTERM")
        return self.statuses.pop(0) if self.statuses else 0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(in_service, "time", clock)
    return clock


@pytest.fixture
def order(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> DrainRequest:
    """A wait that advances the clock."""
    order = DrainRequest()

    def wait(seconds: float | None = None) -> bool:
        clock.now += seconds or 0.0
        return order.requested.is_set()

    monkeypatch.setattr(order.requested, "wait", wait)
    return order


def test_an_instance_entering_a_warm_pool_starts_work_only_in_service(
    order: DrainRequest,
) -> None:
    notices, work = InstanceLifecycle([WARM, WARM, None]), Work(order, at_most=1)
    assert run_while_in_service(notices, order, work) == 0
    assert (notices.looks, work.rounds) == (3, 1)


def test_an_instance_entering_a_warm_pool_completes_its_launch_so_that_it_can_be_stopped(
    order: DrainRequest, caplog: pytest.LogCaptureFixture
) -> None:
    notices, work = InstanceLifecycle([WARM, WARM, None], launch_refused=True), Work(order, at_most=1)
    assert run_while_in_service(notices, order, work) == 0
    assert (notices.launched, work.rounds) == (2, 1)
    refusals = [line for line in caplog.messages if "throttled" in line]
    assert refusals == ["throttled; if the launch hook still waits, its own timeout counts"]


def test_no_launch_of_a_terminated_instance_is_completed(order: DrainRequest) -> None:
    notices = InstanceLifecycle([TERMINATED])
    assert run_while_in_service(notices, order, Work(order)) == 0
    assert notices.launched == 0


def test_an_instance_that_returns_to_service_works_again(
    order: DrainRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    notices, work = InstanceLifecycle([None, WARM, WARM, None]), Work(order, at_most=2)
    assert run_while_in_service(notices, order, work) == 0
    assert work.rounds == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"{WARM.reason}: nothing is received until it is in service"
    ]


def test_a_terminated_instance_drains_and_completes_its_hook(order: DrainRequest) -> None:
    notices, work = InstanceLifecycle([None, TERMINATED]), Work(order)
    assert run_while_in_service(notices, order, work) == 0
    assert (work.rounds, notices.let_go) == (1, 1)


def test_a_process_started_on_an_instance_that_is_terminated_begins_nothing(order: DrainRequest) -> None:
    notices, work = InstanceLifecycle([TERMINATED]), Work(order)
    assert run_while_in_service(notices, order, work) == 0
    assert (work.rounds, notices.let_go) == (0, 1)


def test_a_worker_whose_handlers_hang_exits_so_that_it_is_restarted(order: DrainRequest) -> None:
    work = Work(order, statuses=[1])
    assert run_while_in_service(InstanceLifecycle([None]), order, work) == 1
    assert work.rounds == 1


def test_an_unknown_lifecycle_state_delays_work_for_at_most_half_a_minute(
    order: DrainRequest, clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work(order, at_most=1)
    assert run_while_in_service(InstanceLifecycle([DOWN]), order, work) == 0
    assert work.rounds == 1
    assert UNKNOWN_STATE_S <= clock.now <= UNKNOWN_STATE_S + CHECK_INTERVAL_S
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == 2
    assert "is asked every 2 s" in logged[0]
    assert "the work begins, not knowing" in logged[1]


def test_a_known_lifecycle_state_stays_while_the_metadata_fails(
    order: DrainRequest, clock: SimpleNamespace
) -> None:
    """An outage of an hour does not let a warm instance begin."""
    outage: list[OutOfService | SluiceError | None] = [DOWN] * 900
    work = Work(order, at_most=1)
    notices = InstanceLifecycle([WARM, *outage, None])
    assert run_while_in_service(notices, order, work) == 0
    assert clock.now > 1000
    assert notices.looks == 902


def test_a_drain_request_while_out_of_service_ends_the_wait(order: DrainRequest) -> None:
    notices, work = InstanceLifecycle([WARM]), Work(order)
    notices.after = lambda: order.request("SIGTERM") if notices.looks == 5 else None
    assert run_while_in_service(notices, order, work) == 0
    assert (work.rounds, notices.looks) == (0, 5)


def test_without_a_service_state_the_work_runs_once(order: DrainRequest) -> None:
    work = Work(order)
    assert run_while_in_service(None, order, work) == 0
    assert work.rounds == 1


def test_a_drain_request_reaches_current_and_later_workers() -> None:
    order, received = DrainRequest(), list[str]()
    with order.forwarded_to(received.append):
        order.request("SIGTERM")
    order.request("SIGTERM")
    assert received == ["SIGTERM"]
    with order.forwarded_to(received.append):
        assert received == ["SIGTERM"] * 2
