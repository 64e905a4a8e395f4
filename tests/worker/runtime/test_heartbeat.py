"""The heartbeat file is touched while the worker makes progress, whatever SQS and the handlers do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sluice_worker import wiring
from sluice_worker.message import Message
from sluice_worker.runtime import heartbeat
from sluice_worker.runtime.handler_runner import Handler
from sluice_worker.runtime.heartbeat import STALLED_AFTER_S, Heartbeat
from sluice_worker.runtime.worker import Worker
from tests.worker.fakes import Call, InMemorySqs
from tests.worker.runtime import parts
from tests.worker.runtime.parts import WORK
from tests.worker.waiting import eventually

SOME_CHECKS_S = 0.2
"""The worker checks ten times meanwhile."""


@pytest.fixture(autouse=True)
def _soon(soon: pytest.MonkeyPatch) -> None: ...


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "heartbeat"


@contextmanager
def running(sqs: InMemorySqs, path: Path, handler: Handler = lambda _: None) -> Iterator[None]:
    worker = Worker(parts.settings(WORK, heartbeat_file=path), handler, sqs)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        worker.drain("the test is over")
        thread.join(30)
        assert not thread.is_alive()


def beats(path: Path) -> None:
    """It comes back after it was removed."""
    eventually(path.exists, "the file is touched")
    path.unlink()
    eventually(path.exists, "the file is touched again")


def has_stopped(path: Path) -> bool:
    path.unlink(missing_ok=True)
    time.sleep(SOME_CHECKS_S)
    return not path.exists()


def test_an_idle_worker_beats(sqs: InMemorySqs, path: Path) -> None:
    with running(sqs, path):
        beats(path)


def test_a_worker_whose_handlers_are_all_at_work_beats(sqs: InMemorySqs, path: Path) -> None:
    """A long message is no hang: --max-processing-s is what ends it."""
    began, go_on = threading.Event(), threading.Event()

    def handle(_: Message) -> None:
        began.set()
        assert go_on.wait(30)

    sqs.send(WORK.url, "work")
    with running(sqs, path, handle):
        assert began.wait(30)
        beats(path)
        go_on.set()


def test_an_outage_of_sqs_is_no_hang(sqs: InMemorySqs, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "STALLED_AFTER_S", 1.0)
    sqs.failing("receive", "depth")
    with running(sqs, path):
        eventually(lambda: len(sqs.made("receive")) > 3, "it goes on asking")
        beats(path)
        sqs.healed()


def test_a_poller_that_hangs_ends_the_heartbeat(
    sqs: InMemorySqs, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "STALLED_AFTER_S", 0.1)
    go_on = threading.Event()

    def hang(_: Call) -> None:
        assert go_on.wait(60)

    sqs.before["receive"] = hang
    with running(sqs, path):
        eventually(lambda: has_stopped(path), "the file is touched no more")
        go_on.set()
        del sqs.before["receive"]
        eventually(path.exists, "the file is touched again")


def test_a_receive_with_all_its_retries_ends_before_it_counts_as_a_hang() -> None:
    retries = wiring.sqs.client(connections=1, region="eu-west-1")
    config = retries.meta.config
    retries.close()
    attempts = config.retries["total_max_attempts"]
    longest_backoff_s = 20
    assert attempts * (config.connect_timeout + config.read_timeout + longest_backoff_s) <= STALLED_AFTER_S


def test_a_file_that_cannot_be_touched_is_logged_once_and_again_after_it_could(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    beating = Heartbeat(path / "below")
    beating.beat(0)
    beating.beat(0)
    assert [record.message for record in caplog.records] == [
        f"the heartbeat file {path}/below is not touched: No such file or directory"
    ]
    path.mkdir()
    beating.beat(0)
    (path / "below").unlink()
    path.rmdir()
    beating.beat(0)
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        ("missing/heartbeat", "No such file or directory"),
        ("lost", "No such file or directory"),  # whose folder may be written to
        ("file/heartbeat", "Not a directory"),
    ],
)
def test_a_start_where_the_file_could_never_be_written_is_refused(
    lost: str, reason: str, tmp_path: Path
) -> None:
    """Otherwise the probe would end every worker soon after its start."""
    (tmp_path / "file").touch()
    (tmp_path / "lost").symlink_to(tmp_path / "missing/heartbeat")
    path = tmp_path / lost
    [problem] = wiring._heartbeat_problems(path)
    assert problem == (
        f"heartbeat file {path} cannot be written ({reason}): mount a folder at {path.parent} that the user "
        "may write to"
    )


def test_a_heartbeat_file_that_can_be_written_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "a folder/heartbeat"
    path.parent.mkdir()
    assert wiring._heartbeat_problems(path) == wiring._heartbeat_problems(None) == []
    assert path.exists()
