"""How `sluice dead-letters` is printed; texts of messages are shown without control characters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sluice.core.model import Unknown
from sluice_cli.status_tables import INDENT, UNKNOWN_STYLE, WRONG_STYLE, ago, grid
from sluice_operator.core.dead_letters import (
    Alike,
    DeadLetter,
    DeadLetters,
    MoveTask,
    by_group,
    by_reason,
    ended,
    progress,
    sampled,
)
from sluice_operator.core.ways_out import with_way_out
from sluice_report.quantities import count

COMMAND = "dead-letters"
MAX_ROWS = 10
"""Of each list; --json has all."""
MAX_BODY = 1000
"""Characters of a body; --json has all."""


def shown(found: DeadLetters, now: datetime, *, bodies: bool) -> Group:
    """All that was read."""
    total = found.queue.backlog.total
    head = Text.assemble(
        (found.workload, "bold"),
        "  ",
        (count(total, "dead letter"), WRONG_STYLE) if total else ("no dead letters", "green"),
    )
    parts: list[RenderableType] = [head, _facts(found, now)]
    if found.letters:
        of = sampled(found.letters, found.queue)
        parts.append(_alike(f"By reason: {of}", by_reason(found.letters), now))
        if groups := by_group(found.letters):
            parts.append(_alike(f"By message group: {of}", groups, now))
        parts.append(_letters(found.letters, now, bodies=bodies))
        parts.append(
            Text(
                "The sample raised the receive count of its messages by one. None was deleted, and all are "
                "visible again.",
                style="dim",
            )
        )
    elif found.not_sampled and total:
        parts.append(Text(found.not_sampled[0].upper() + found.not_sampled[1:] + ".", style=UNKNOWN_STYLE))
    if found.queue.backlog.visible and not _is_moving(found.task):
        parts.append(Text("To send them back, add --redrive."))
    return Group(*(part for each in parts for part in (each, Text(""))))


def redriven(found: DeadLetters) -> Text:
    """What became of a redrive."""
    if isinstance(found.task, MoveTask):
        said = ended(found.task, found.queue)
        return Text(f"{found.workload}: {said}.")
    in_flight = found.queue.backlog.in_flight + found.queue.backlog.delayed
    if in_flight:
        return Text(
            f"{found.workload}: nothing was moved: {count(in_flight, 'message')} of {found.queue.name} "
            "are hidden, in flight or delayed; try again when they are visible.",
            style=WRONG_STYLE,
        )
    return Text(f"{found.workload}: nothing to move, {found.queue.name} is empty.")


def _is_moving(task: MoveTask | Unknown | None) -> bool:
    return isinstance(task, MoveTask) and task.is_moving


def _facts(found: DeadLetters, now: datetime) -> Table:
    queue, backlog = found.queue, found.queue.backlog
    table = grid()
    times = "receive" if queue.max_receive_count == 1 else "receives"
    rows: list[tuple[str, str | Text]] = [
        ("queue", f"{queue.name}, where SQS moves a message after {queue.max_receive_count} {times}"),
        (
            "messages",
            f"{backlog.visible:,} visible, {backlog.in_flight:,} in flight, {backlog.delayed:,} delayed",
        ),
    ]
    if queue.other_sources:
        rows.append(("shared with", ", ".join(queue.other_sources)))
    if backlog.total:
        rows.append(("since", _since(found, now)))
    if found.letters:
        rows.append(("oldest sample", _oldest(found, now)))
    if found.task is not None:
        rows.append(("move task", _task(found, now)))
    for name, value in rows:
        table.add_row(name, value)
    return table


def _since(found: DeadLetters, now: datetime) -> str | Text:
    """When the oldest dead letter came."""
    if isinstance(found.since, Unknown):
        return _unknown(found.since)
    if found.since is None:
        return "CloudWatch has no age of its oldest message yet"
    return f"the longest there came {ago(found.since, now)} ago"


def _oldest(found: DeadLetters, now: datetime) -> str:
    oldest = found.letters[0]
    expires_at = oldest.expires_at(found.queue)
    end = "" if expires_at is None else f"; SQS deletes it in {ago(now, expires_at)}"
    return f"sent {ago(oldest.sent_at, now)} ago{end}"


def _unknown(value: Unknown) -> Text:
    return Text(f"? {with_way_out(value.reason, COMMAND)}", style=UNKNOWN_STYLE)


def _task(found: DeadLetters, now: datetime) -> str | Text:
    task = found.task
    if isinstance(task, Unknown):
        return _unknown(task)
    assert task is not None
    started = f"started {ago(task.started_at, now)} ago"
    if task.is_moving:
        return f"{started}, runs: {progress(task)}"
    return f"{started}: {ended(task, found.queue)}"


def _alike(title: str, alike: Sequence[Alike], now: datetime) -> Table:
    table = grid(title)
    table.columns[0].justify = "right"
    for each in alike[:MAX_ROWS]:
        table.add_row(f"{each.messages:,}", f"{plain(each.text)}, newest sent {ago(each.newest_at, now)} ago")
    if len(alike) > MAX_ROWS:
        rest = sum(each.messages for each in alike[MAX_ROWS:])
        table.add_row(f"{rest:,}", f"of {len(alike) - MAX_ROWS:,} others: --json has all")
    return table


def _letters(letters: Sequence[DeadLetter], now: datetime, *, bodies: bool) -> Group:
    listed = letters[:MAX_ROWS]
    first = f"the {len(listed)} oldest; --json has all" if len(letters) > len(listed) else "oldest first"
    lines: list[RenderableType] = [Text(f"The sample, {first}", style="bold")]
    for letter in listed:
        lines.append(Text(letter.message_id, style="bold"))
        lines.append(_indented(Text(plain(letter.reason))))
        lines.append(_indented(Text(_history(letter, now), style="dim")))
        if bodies:
            lines.append(_indented(Text(_body(letter.body))))
    return Group(*lines)


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, INDENT), expand=False)


def _history(letter: DeadLetter, now: datetime) -> str:
    """When it came and how often it was received, apart from the sample."""
    came = letter.dead_lettered_at
    parts = [f"dead-lettered {ago(came, now)} ago" if came else f"sent {ago(letter.sent_at, now)} ago"]
    if letter.first_received_at:
        times = "once" if letter.receives == 1 else f"{letter.receives:,} times"
        parts.append(f"received {times}, first {ago(letter.first_received_at, now)} ago")
    if letter.group_id:
        parts.append(f"group {plain(letter.group_id)}")
    return ", ".join(parts)


def _body(body: str) -> str:
    cut = f" ... ({len(body) - MAX_BODY:,} more characters: --json has all)" if len(body) > MAX_BODY else ""
    return (
        "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in body[:MAX_BODY]) + cut
    )


def plain(text: str) -> str:
    """One line without control characters, which a terminal would obey."""
    return "".join(each if each.isprintable() else "\ufffd" for each in " ".join(text.split()))
