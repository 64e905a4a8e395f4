"""What is searched: each scope is small in one direction and whole in the others."""

from __future__ import annotations

from tests.states.model import ALARMS_AND_TICKS, Kind, Scope

SCOPES = {
    scope.name: scope
    for scope in (
        Scope("one", messages=3, instances=3, actors=1),
        Scope("two", messages=3, instances=3, actors=2),
    )
}
