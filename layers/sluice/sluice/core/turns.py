"""In which order workloads are served where the time may not suffice for all."""

from __future__ import annotations

from collections.abc import Iterable


def rotated(names: Iterable[str], turn: int) -> list[str]:
    """The names in order, beginning with another one each turn: what is left out is not always the same."""
    ordered = sorted(names)
    first = turn % max(len(ordered), 1)
    return ordered[first:] + ordered[:first]
