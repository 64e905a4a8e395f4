"""The kinds of failure, by who has to do something about them. `aws/errors.py` maps AWS's codes to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


class SluiceError(Exception):
    """Any failure that Sluice expects; the message is written for an operator."""


class ConfigError(SluiceError):
    """An operator has to change something; a retry does not help."""


class TransientError(SluiceError):
    """AWS could not answer this time; the next tick retries."""


class DefectError(SluiceError):
    """A bug in Sluice's own code; the log line of each has a stack trace."""


class CapacityError(SluiceError):
    """AWS lacks the capacity: the owner of the quota, or of the choice of instance types, has to act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a document: its place, the offending value, and what to do about it."""

    path: str
    value: object
    way_out: str

    def __str__(self) -> str:
        shown = repr(self.value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return f"{self.path}: {shown}: {self.way_out}"


class DocumentError(ConfigError):
    """A workload document is refused; `problems` holds everything that is wrong with it."""

    def __init__(self, what: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join([f"{what} is refused", *map(str, self.problems)]))


def failure_message(failure: BaseException) -> str:
    """The message of an expected failure; for any other exception its type as well.

    A lone surrogate, which no UTF-8 log takes, is escaped: its whole line would be lost.
    """
    message = (
        str(failure)
        if isinstance(failure, SluiceError)
        else f"unexpected {type(failure).__name__}: {failure}"
    )
    return message.encode(errors="backslashreplace").decode()


def attempt(step: Callable[[], Result]) -> Result | Exception:
    """What `step` returns, or the exception it raises: one item of many must not stop the others."""
    try:
        return step()
    except Exception as failure:  # noqa: BLE001 - see above; the caller distinguishes a failure from a defect
        return failure
