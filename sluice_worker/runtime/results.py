"""How each message of a batch ended, for the metrics, for the log and for its settlement."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluice_worker.core.batch import behind_failures
from sluice_worker.core.model import Outcome
from sluice_worker.core.retry_policy import Reject
from sluice_worker.message import Message
from sluice_worker.runtime.handler_runner import (
    DeadlineError,
    caught,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """How one message ended; `reason` describes a failure."""

    outcome: Outcome
    reason: str = ""
    raised: BaseException | None = None
    is_behind: bool = False
    """Whether a message before it in its group failed: then it goes back, even if its handler succeeded."""


SUCCEEDED = Result(Outcome.SUCCESS)
ONE_SUCCEEDED = (SUCCEEDED,)


def results(batch: Sequence[Message], raised: Sequence[BaseException | None]) -> Sequence[Result]:
    """The result of each message, from what the handler raised for it."""
    if len(raised) == 1 and raised[0] is None:
        return ONE_SUCCEEDED
    ended = [
        SUCCEEDED if error is None else Result(_outcome(error), exception_text(error), error)
        for error in raised
    ]
    return ended if len(batch) == 1 else _in_order(batch, ended)


def timeouts(batch: Sequence[Message], took_s: float) -> list[Result]:
    """The results of a batch whose handler was not back at the deadline."""
    late = Result(Outcome.TIMEOUT, f"the handler was not back after {took_s:.0f} s")
    return _in_order(batch, [late] * len(batch))


def log_failures(batch: Sequence[Message], ended: Sequence[Result]) -> None:
    """Log each failure. One exception of many messages has one stack trace, a rejection has none."""
    logged: BaseException | None = None
    for message, result in zip(batch, ended, strict=True):
        if result.raised is None or result.is_behind:
            continue
        traced = result.raised is not logged and not isinstance(result.raised, Reject)
        log.warning(
            "%s of %s failed at receipt %d: %s",
            message.message_id,
            message.queue.name,
            message.receive_count,
            result.reason,
            exc_info=result.raised if traced else None,
        )
        logged = result.raised


def describe(batch: Sequence[Message]) -> str:
    """The messages of a batch, named briefly for a log line."""
    more = f" and {len(batch) - 1} more" if len(batch) > 1 else ""
    return f"{batch[0].message_id}{more}"


def exception_text(raised: BaseException) -> str:
    """The text of an exception, even if its `__str__` raises."""
    # `__str__` is the user's code too.
    said, broken = caught(lambda: f"{type(raised).__name__}: {raised}")
    return said if broken is None and said else f"{type(raised).__name__}, whose __str__ raises"


def _in_order(batch: Sequence[Message], ended: Sequence[Result]) -> list[Result]:
    failed = [result.outcome is not Outcome.SUCCESS for result in ended]
    behind = behind_failures([message.message_group for message in batch], failed)
    return [_behind(result) if is_behind else result for result, is_behind in zip(ended, behind, strict=True)]


def _behind(result: Result) -> Result:
    """A result that counts as a failure, or as the timeout that it was."""
    outcome = Outcome.TIMEOUT if result.outcome is Outcome.TIMEOUT else Outcome.FAILURE
    return replace(result, outcome=outcome, is_behind=True)


def _outcome(raised: BaseException) -> Outcome:
    return Outcome.TIMEOUT if isinstance(raised, DeadlineError) else Outcome.FAILURE
