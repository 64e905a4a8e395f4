"""Fixtures for tests of a whole worker: queues in memory, and a worker with short intervals."""

from __future__ import annotations

import pytest

from sluice_worker.core import queue_choice
from sluice_worker.runtime import (
    handler_pool,
    pollers,
    worker,
)
from tests.worker.fakes import InMemorySqs


@pytest.fixture
def sqs() -> InMemorySqs:
    fake = InMemorySqs(longest_wait_s=0.05)
    for name in ("work", "work.fifo", "dead", "dead.fifo"):
        fake.create(name)
    return fake


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Everything that is checked every second is checked much more often."""
    monkeypatch.setattr(worker, "CHECK_INTERVAL_S", 0.01)
    monkeypatch.setattr(worker, "ADJUST_S", 0.02)
    monkeypatch.setattr(worker, "MIN_RELEASE_S", 0.2)
    monkeypatch.setattr(pollers, "TIMEOUT_S", 0.02)
    monkeypatch.setattr(handler_pool, "TIMEOUT_S", 0.02)
    monkeypatch.setattr(queue_choice, "FIRST_BACKOFF_S", 0.02)
    return monkeypatch
