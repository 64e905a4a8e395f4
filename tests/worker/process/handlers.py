"""Handlers for workers in separate processes; events are written to a folder that the test reads."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from sluice_worker import Failed, Message, Reject

FOLDER = "WORKER_TEST_FOLDER"
STATUS = 3


def log_event(event: str, message: Message) -> None:
    """One line, appended in one piece."""
    with (folder() / "notes").open("a", encoding="utf-8") as notes:
        notes.write(f"{event} {message.body} {os.getpid()}\n")


def folder() -> Path:
    return Path(os.environ[FOLDER])


def at_once(message: Message) -> None:
    log_event("done", message)


def until_allowed(message: Message) -> None:
    """Work until the test continues it; poison ends the whole process at its first receipt."""
    if message.body == "poison" and message.receive_count == 1:
        os._exit(STATUS)
    log_event("began", message)
    while not (folder() / "go").exists():
        time.sleep(0.02)
    log_event("done", message)


def leaving_a_thread(message: Message) -> None:
    """Start a thread that never ends, for which Python waits at exit."""
    log_event("done", message)
    threading.Thread(target=threading.Event().wait, daemon=False).start()


def as_the_body_says(message: Message) -> None:
    """Succeed with a span of its own, fail, reject, or work past every deadline."""
    log_event("began", message)
    if message.body == "fail":
        raise LookupError("secret-of-the-exception")
    if message.body == "reject":
        raise Reject("secret-of-the-reject")
    while message.body == "hang":
        time.sleep(0.02)
    _with_a_span()
    log_event("done", message)


async def as_a_coroutine(message: Message) -> None:
    """Succeed with a span of its own, on the event loop."""
    _with_a_span()
    log_event("done", message)


def in_batches(messages: list[Message]) -> list[Failed]:
    """Succeed with one span for all; those whose body says so fail."""
    _with_a_span()
    for message in messages:
        log_event("done", message)
    return [Failed(message, "secret-of-the-failure") for message in messages if message.body == "fail"]


def _with_a_span() -> None:
    from opentelemetry import trace

    with trace.get_tracer("handlers").start_as_current_span("resize"):
        time.sleep(0.002)
