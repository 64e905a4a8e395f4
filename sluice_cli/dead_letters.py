"""`sluice dead-letters`: the messages of a workload that were given up, why, and how to send them back."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import click

from sluice.core.model import Unknown
from sluice.errors import ConfigError, SluiceError
from sluice_cli import dead_letters_json, dead_letters_tables
from sluice_cli.aws_account import COMPLETE, AccountOptions, OpenedAccount, account_options, opened
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError
from sluice_operator.aws import dead_letter_queues
from sluice_operator.core.dead_letters import (
    DeadLetterQueue,
    DeadLetters,
    MoveTask,
    TaskStatus,
    destination,
    progress,
)
from sluice_operator.dead_letters import follow, read

READ_LIMIT_S = 120.0
POLL_S = 2.0
"""Between two looks at a move task; SQS renews its counts about as often."""
WIDTH = 160
"""Of the output where there is no terminal."""
MAX_SAMPLE = 1000
FINDING = 1


@click.command(name="dead-letters")
@click.argument("workload", shell_complete=COMPLETE)
@click.option(
    "--sample",
    "max_messages",
    type=click.IntRange(0, MAX_SAMPLE),
    default=100,
    show_default=True,
    help="Messages to receive and show again; 0 receives none.",
)
@click.option("--bodies", is_flag=True, help="Show the bodies of the sampled messages too.")
@click.option("--redrive", is_flag=True, help="Send them back, with a message move task of SQS.")
@click.option(
    "--max-per-second",
    type=click.IntRange(1, 500),
    help="--redrive: the most messages a second. [default: SQS chooses]",
)
@click.option(
    "--to",
    "to_arn",
    metavar="QUEUE_ARN",
    help="--redrive: another queue to send them to. [default: the queue that they came from]",
)
@click.option("--yes", is_flag=True, help="--redrive: do not ask before it starts.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object (docs/schemas/dead-letters.json)."
)
@account_options
def dead_letters(
    workload: str,
    account: AccountOptions,
    *,
    max_messages: int,
    bodies: bool,
    redrive: bool,
    max_per_second: int | None,
    to_arn: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Show the dead letters of a workload: how many, since when, why, and a sample of them.

    A sample is received and shown again at once: nothing is deleted, and the receive count of each sampled
    message rises by one. --redrive sends the messages back and follows the task until its end. Exits with 1
    if there are dead letters, or if a redrive did not move them.
    """
    _refuse_contradictions(
        redrive=redrive, bodies=bodies, sampled=max_messages > 0, only=(max_per_second, to_arn, yes or None)
    )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    with ProgressBar(Console(stderr=True)) as bar, opened(account, "dead-letters", bar) as chosen:
        end_s = time.monotonic() + READ_LIMIT_S
        found = read(
            chosen.account,
            workload,
            0 if redrive else max_messages,
            lambda: end_s - time.monotonic(),
            bar.step,
        )
        if redrive:
            found = _redriven(found, chosen, bar, to_arn, max_per_second, yes=yes)
        now = chosen.account.ports.now()
    if redrive and isinstance(found.task, MoveTask):
        ok = found.task.status is TaskStatus.COMPLETED
    else:
        ok = not found.queue.backlog.total
    if as_json:
        click.echo(json.dumps(dead_letters_json.document(found, now, ok=ok, bodies=bodies)))
    elif redrive:
        console.print(dead_letters_tables.redriven(found))
    else:
        console.print(dead_letters_tables.shown(found, now, bodies=bodies))
    sys.exit(0 if ok else FINDING)


def _refuse_contradictions(
    *, redrive: bool, bodies: bool, sampled: bool, only: tuple[object | None, ...]
) -> None:
    if not redrive and any(given is not None for given in only):
        raise UsageError("--max-per-second, --to and --yes belong to --redrive: add it, or leave them out")
    if bodies and redrive:
        raise UsageError("--redrive receives no sample: leave --bodies out, or look at them first")
    if bodies and not sampled:
        raise UsageError("--sample 0 receives no message whose body could be shown: leave --bodies out")


def _redriven(
    found: DeadLetters,
    chosen: OpenedAccount,
    bar: ProgressBar,
    to_arn: str | None,
    max_per_second: int | None,
    *,
    yes: bool,
) -> DeadLetters:
    """Start a move task, or follow the one that runs; with the task as it ended."""
    queue, before = found.queue, found.task
    if isinstance(before, Unknown):
        raise ConfigError(before.reason)
    if before is not None and before.is_moving:
        click.echo(f"A move task of {queue.name} is running already: following it.", err=True)
        before = None
    elif not queue.backlog.visible:
        return replace(found, task=None)
    else:
        to = to_arn or queue.redriven_to
        bar.stop()
        _confirm(queue, to, yes=yes)
        dead_letter_queues.start_task(chosen.account.clients("sqs"), queue, to, max_per_second)
    with _left_running() as seen:
        for task in follow(chosen.account, queue, before, lambda: chosen.wait(POLL_S)):
            seen(task)
            bar.show(progress(task), task.share)
            found = replace(found, task=task)
    return found


def _confirm(queue: DeadLetterQueue, to: str | None, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("--redrive asks before it starts, and this is no terminal: add --yes")
    visible = queue.backlog.visible
    click.echo(
        "Messages that are sent back start anew, with new ids and receive counts of 0. What made them fail "
        "may do so again.",
        err=True,
    )
    asked = (
        f"Move about {visible:,} message{'' if visible == 1 else 's'} from {queue.name} to {destination(to)}?"
    )
    try:
        agreed = click.confirm(asked, err=True)
    except click.Abort as aborted:  # click's answer to Ctrl-C, for which it would exit with 1
        raise KeyboardInterrupt from aborted
    if not agreed:
        click.echo("Nothing was moved.", err=True)
        sys.exit(FINDING)


@contextmanager
def _left_running() -> Iterator[Callable[[MoveTask], None]]:
    """If the command ends before the task, say that it goes on and how to cancel it."""
    newest: list[MoveTask] = []
    again = "to follow it, give the same command again"
    try:
        yield newest.append
    except KeyboardInterrupt:
        handle = newest[-1].handle if newest else None
        cancel = f"; to cancel it: aws sqs cancel-message-move-task --task-handle {handle}" if handle else ""
        click.echo(f"\nThe move task goes on in AWS; {again}{cancel}", err=True)
        raise
    except SluiceError as failure:
        raise type(failure)(f"{failure}; the move task goes on in AWS; {again}") from failure
