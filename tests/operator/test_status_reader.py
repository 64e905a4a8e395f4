"""How `sluice status` reads: one kind of reading does not wait for another."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from threading import Barrier
from types import SimpleNamespace

from sluice.core.model import Observation, Unknown
from sluice.ports import Registered
from sluice_operator import status
from sluice_operator.status import StatusReader
from tests.support.builders import workload

TOGETHER_S = 20.0
"""Long enough for a loaded machine; the barrier breaks after it."""


def test_queues_metrics_targets_and_decisions_are_read_at_the_same_time(monkeypatch):
    together = Barrier(5)
    unread = Unknown(reason="not in this test")

    def read(*_):
        together.wait(TOGETHER_S)
        return defaultdict(lambda: unread)

    def observed(_, workloads, __):
        together.wait(TOGETHER_S)
        return {each.name: Observation(backlog=unread, capacity=unread) for each in workloads}

    monkeypatch.setattr(status, "observe", observed)
    ports = SimpleNamespace(
        registry=SimpleNamespace(all=lambda *_, **__: Registered(workloads=[workload()], refused={})),
        metrics=SimpleNamespace(read=read),
        policies=SimpleNamespace(targets=read),
        states=None,
        surges=None,
        namespace="Sluice",
        now=lambda: datetime(2026, 1, 15, 12, tzinfo=UTC),
    )
    reader = StatusReader(ports, SimpleNamespace(latest=read))
    [found] = reader.read([], lambda: TOGETHER_S)
    assert found.name == workload().name
