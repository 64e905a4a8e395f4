"""What is searched, and how deep: each scope is small in one direction and whole in the others."""

from __future__ import annotations

from dataclasses import dataclass

from tests.states.model import SURGES, Kind, Scope


@dataclass(frozen=True)
class Search:
    """A scope with the depths to which it is searched; None: until no state is new."""

    scope: Scope
    share: int | None
    """In every test run."""
    whole: int | None
    """By `make states`."""


SEARCHES = {
    search.scope.name: search
    for search in (
        Search(Scope("wake and shutdown"), share=6, whole=8),
        Search(Scope("readings", is_stale=True, is_unknown=True, is_late=True), share=5, whole=7),
        Search(
            Scope("every call", messages=2, instances=2, is_unknown=True, every_call=True), share=6, whole=8
        ),
        Search(Scope("pause", is_unknown=True, pauses=("in", "out", "both")), share=5, whole=7),
        Search(Scope("surge", minimum=1, kinds=(Kind.TICK, Kind.SHUTDOWN_ALARM, *SURGES)), share=5, whole=7),
        Search(
            Scope("all of one surge", messages=0, minimum=1, actors=1, kinds=tuple(SURGES), meanwhile=1),
            share=None,
            whole=None,
        ),
        Search(Scope("all of two", messages=1, instances=1, meanwhile=1), share=12, whole=None),
        Search(Scope("all of one", actors=1, meanwhile=1), share=8, whole=None),
    )
}

KNOWN = {
    "a surge while another is ended": Scope("surge, end", messages=0, kinds=tuple(SURGES), meanwhile=0),
    "two surges at once, and then a third": Scope(
        "surges", messages=0, kinds=(Kind.SURGE_TO_2, Kind.SURGE_TO_3), meanwhile=0
    ),
}
"""Scopes in which a minimum is left raised: three surges or ends within seconds, two of them at once."""
