"""`sluice dead-letters --json`; docs/schemas/dead-letters.json describes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sluice.core.model import Unknown
from sluice_operator.core.dead_letters import (
    Alike,
    DeadLetter,
    DeadLetters,
    MoveTask,
    by_group,
    by_reason,
    sampled,
)


def document(found: DeadLetters, now: datetime, *, ok: bool, bodies: bool) -> dict[str, Any]:
    """The whole answer; bodies only if they were asked for."""
    queue, backlog = found.queue, found.queue.backlog
    return {
        "at": _time(now),
        "workload": found.workload,
        "ok": ok,
        "queue": queue.source_arn,
        "dead_letter_queue": {
            "arn": queue.arn,
            "max_receive_count": queue.max_receive_count,
            "retention_s": queue.retention_s,
            "shared_with": list(queue.other_sources),
        },
        "messages": {
            "visible": backlog.visible,
            "in_flight": backlog.in_flight,
            "delayed": backlog.delayed,
        },
        "since": _unknown(found.since) if isinstance(found.since, Unknown) else _time(found.since),
        "sample": {
            "messages": len(found.letters),
            "of": sampled(found.letters, queue) if found.letters else None,
            "not_sampled": found.not_sampled,
            "by_reason": _alike(by_reason(found.letters)),
            "by_group": _alike(by_group(found.letters)),
            "letters": [_letter(letter, bodies=bodies) for letter in found.letters],
        },
        "move_task": _task(found.task),
    }


def _alike(alike: Sequence[Alike]) -> list[dict[str, Any]]:
    return [
        {"text": each.text, "messages": each.messages, "newest_at": _time(each.newest_at)} for each in alike
    ]


def _letter(letter: DeadLetter, *, bodies: bool) -> dict[str, Any]:
    return {
        "message_id": letter.message_id,
        "reason": letter.reason,
        "group": letter.group_id,
        "receives": letter.receives,
        "sent_at": _time(letter.sent_at),
        "first_received_at": _time(letter.first_received_at),
        "dead_lettered_at": _time(letter.dead_lettered_at),
        "source": letter.source_arn,
        **({"body": letter.body} if bodies else {}),
    }


def _task(task: MoveTask | Unknown | None) -> dict[str, Any] | None:
    if task is None:
        return None
    if isinstance(task, Unknown):
        return _unknown(task)
    return {
        "status": task.status.value,
        "started_at": _time(task.started_at),
        "moved": task.moved,
        "to_move": task.to_move,
        "max_per_second": task.per_second,
        "destination": task.destination_arn,
        "failure": task.failure,
        "handle": task.handle,
    }


def _unknown(value: Unknown) -> dict[str, str]:
    return {"unknown": value.reason}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
