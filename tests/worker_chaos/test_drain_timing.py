"""A drain ends when the last message has ended, not when the last handler has returned.

A few instructions lie between the two, and processes that end at random do end there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from sluice_worker.runtime.dispatcher import Dispatcher
from sluice_worker.runtime.in_flight import InFlightMessages
from sluice_worker.runtime.worker import Worker
from tests.worker.fakes import InMemorySqs
from tests.worker.runtime.parts import WORK, settings

DELAY_S = 0.5
"""Long enough for several checks of a drain that would not wait."""


@pytest.mark.parametrize(("owner", "step"), [(Dispatcher, "take_batch"), (InFlightMessages, "succeeded")])
def test_a_drain_waits_for_a_message_between_two_steps(
    owner: type, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs = InMemorySqs(longest_wait_s=0.05)
    url = sqs.create("work")
    reached, go = threading.Event(), threading.Event()
    monkeypatch.setattr(owner, step, delayed(getattr(owner, step), reached, go))
    worker = Worker(settings(WORK, prefetch_s=0), lambda message: None, sqs)
    running = threading.Thread(target=worker.run, daemon=True)
    sqs.send(url, "one")
    running.start()
    assert reached.wait(10)

    worker.drain("the test says so")
    running.join(DELAY_S)
    waited = running.is_alive()
    go.set()
    running.join(10)

    assert waited
    assert sqs.bodies(url) == []


def delayed(step: Callable[..., Any], reached: threading.Event, go: threading.Event) -> Callable[..., Any]:
    """The step with a pause until `go`: before it settles a message, or after it has taken one."""

    def slow(self: object, *args: Any) -> Any:
        if step.__name__ == "succeeded":
            reached.set()
            go.wait(10)
            return step(self, *args)
        answer = step(self, *args)
        if answer:
            reached.set()
            go.wait(10)
        return answer

    return slow
