"""How a check is written: a function of the facts that may assume that what it needs was read."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from sluice.core.model import Unknown
from sluice_operator.core.checks.finding import Check, Finding, PlaneCheck, unknown

Fact = TypeVar("Fact")
Facts = TypeVar("Facts")
"""Of a workload, or of the control plane."""
Name = TypeVar("Name", Check, PlaneCheck)


class UnreadError(Exception):
    """Something that a check needs could not be read; the message is the reason."""


def known(fact: Fact | Unknown) -> Fact:
    """The fact; raises UnreadError if it could not be read."""
    if isinstance(fact, Unknown):
        raise UnreadError(fact.reason)
    return fact


def judges(check: Name) -> Callable[[Callable[[Name, Facts], Finding]], Callable[[Facts], Finding]]:
    """Make a check of a function, whose finding is unknown if `known` finds something unread."""

    def checked(judge: Callable[[Name, Facts], Finding]) -> Callable[[Facts], Finding]:
        @wraps(judge)
        def found(facts: Facts) -> Finding:
            try:
                return judge(check, facts)
            except UnreadError as unread:
                return unknown(check, str(unread))

        return found

    return checked
