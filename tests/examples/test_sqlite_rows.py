"""examples/sqlite_rows.py in a worker: each row once, however often and with whatever it is delivered."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sluice_worker.runtime import handler_runner
from sluice_worker.runtime.worker import Worker
from tests.support.builders import queue_url
from tests.worker.fakes import EXPIRED_HANDLE, InMemorySqs
from tests.worker.runtime import parts
from tests.worker.runtime.parts import WORK
from tests.worker.waiting import eventually

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEAD = queue_url("dead")


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("ROWS", str(tmp_path / "rows.db"))
    return tmp_path / "rows.db"


@pytest.fixture
def sqs() -> InMemorySqs:
    fake = InMemorySqs(longest_wait_s=0.05)
    for name in ("work", "dead"):
        fake.create(name)
    return fake


@pytest.fixture
def worker(sqs: InMemorySqs, database: Path) -> Iterator[Worker]:
    more: dict[str, Any] = {"batch": 50, "batch_wait_s": 0.2, "dead_letter_queue": DEAD, "backoff_s": 0.1}
    one = Worker(parts.settings(WORK, **more), handler_runner.load("sqlite_rows:insert"), sqs)
    thread = threading.Thread(target=one.run)
    thread.start()
    yield one
    one.drain("the test is over")
    thread.join(30)
    assert not thread.is_alive()


def rows(database: Path) -> list[tuple[str, float]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT sensor, celsius FROM readings ORDER BY celsius").fetchall()


def readings(count: int) -> list[str]:
    return [json.dumps({"sensor": "a", "celsius": number}) for number in range(count)]


@pytest.mark.usefixtures("worker")
def test_every_reading_becomes_a_row_and_an_unreadable_message_a_dead_letter(
    sqs: InMemorySqs, database: Path
) -> None:
    sqs.send(WORK.url, *readings(120), "{", '{"sensor": "a"}', '"text"', "[]")
    eventually(lambda: not sqs.all(WORK.url), "all have ended")
    assert rows(database) == [("a", float(number)) for number in range(120)]
    assert sorted(sqs.bodies(DEAD)) == sorted(["{", '{"sensor": "a"}', '"text"', "[]"])


@pytest.mark.usefixtures("worker")
def test_a_reading_that_is_delivered_again_is_no_second_row(sqs: InMemorySqs, database: Path) -> None:
    """Its batch was written, yet the first deletes were refused until the messages were visible again."""
    sqs.refusing["delete"] = lambda message: EXPIRED_HANDLE if message.receive_count == 1 else None
    sqs.send(WORK.url, *readings(30))
    eventually(lambda: len(sqs.made("delete")) >= 3, "the first deletes are refused")
    for stored in sqs.all(WORK.url):
        stored.visible_at = 0.0
    eventually(lambda: not sqs.all(WORK.url), "all have ended")
    assert rows(database) == [("a", float(number)) for number in range(30)]


def test_a_failing_database_returns_the_whole_batch_to_the_queue(
    sqs: InMemorySqs, database: Path, worker: Worker
) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE readings (other TEXT)")
        sqs.send(WORK.url, *readings(30))
        eventually(lambda: worker._counters.failed >= 30, "the batch fails")
        connection.execute("DROP TABLE readings")
    eventually(lambda: not sqs.all(WORK.url), "all have ended")
    assert rows(database) == [("a", float(number)) for number in range(30)]
