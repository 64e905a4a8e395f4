"""What can go wrong, sorted by who has to do something about it.

Owns the three kinds of failure. Refuses to carry AWS codes: `aws/errors.py` maps those, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Answer = TypeVar("Answer")


class SluiceError(Exception):
    """Any failure that Sluice understands; the message is written for a person."""


class ConfigError(SluiceError):
    """Somebody has to change something; asking again will not help."""


class TransientError(SluiceError):
    """AWS could not answer this time: nobody but the next tick."""


class DefectError(SluiceError):
    """Sluice's own code broke; the log line of each defect shows where."""


class CapacityError(SluiceError):
    """AWS has no room for what was asked: whoever owns the quota or chooses the instance types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a document: where, the offending value, and the way out."""

    path: str
    value: object
    way_out: str

    def __str__(self) -> str:
        shown = repr(self.value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return f"{self.path}: {shown}: {self.way_out}"


class DocumentError(ConfigError):
    """A workload document is refused; `problems` holds everything wrong with it, at once."""

    def __init__(self, what: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join([f"{what} is refused", *map(str, self.problems)]))


def failure_message(failure: BaseException) -> str:
    """A failure that Sluice understands speaks for itself; a defect is named by its type."""
    return (
        str(failure)
        if isinstance(failure, SluiceError)
        else f"unexpected {type(failure).__name__}: {failure}"
    )


def attempt(step: Callable[[], Answer]) -> Answer | Exception:
    """What `step` answers, or whatever it raises: one of many must not stop the others."""
    try:
        return step()
    except Exception as failure:  # noqa: BLE001 - see above; the caller tells a failure from a defect
        return failure
