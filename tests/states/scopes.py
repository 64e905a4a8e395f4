"""What is searched: each scope is small in one direction and whole in the others."""

from __future__ import annotations

from tests.states.model import ALARMS_AND_TICKS, Kind, Scope

SCOPES = {
    scope.name: scope
    for scope in (
        Scope("wake and shutdown"),
        Scope("readings", is_stale=True, is_unknown=True, is_late=True),
        Scope("every call", messages=2, instances=2, every_call=True),
        Scope("pause", pauses=("in", "out", "both"), is_unknown=True),
        Scope("minimum", minimum=1),
        Scope("surge", kinds=(Kind.TICK, Kind.SHUTDOWN_ALARM, Kind.SURGE_TO_2, Kind.SURGE_TO_3, Kind.END_SURGE)),
        Scope("surge above a minimum", minimum=1, kinds=(Kind.TICK, Kind.SURGE_TO_2, Kind.SURGE_TO_3, Kind.END_SURGE)),
        Scope("whole", messages=1, instances=1, meanwhile=1),
    )
}
