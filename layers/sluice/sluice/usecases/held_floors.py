"""Step: how many instances the deadline engine holds of each fleet that is to be shut down."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sluice.core.model import Unknown
from sluice.ports import Ports, RemainingS, StoredState
from sluice.usecases.tick_context import Workloads

HELD_FOR = timedelta(minutes=10)
"""A floor ends with the engine's ticks: one that was stored longer ago is held no more. The queue of ticks
bridges gaps of four minutes."""


def held_floors(ports: Ports, workloads: Workloads, remaining_s: RemainingS) -> Mapping[str, int | Unknown]:
    """The floor of each workload in instances, 0 where none is held; what is not read in time is Unknown."""
    floors: dict[str, int | Unknown] = dict.fromkeys(workloads, 0)
    names = [name for name, workload in workloads.items() if workload.deadline is not None]
    if not names:
        return floors
    if ports.states is None:
        reason = "this function knows no table of the deadline engine's states: see SLUICE_STATE_TABLE"
        return floors | dict.fromkeys(names, Unknown(reason=reason))
    now_s = ports.now().timestamp()
    stored = ports.states.read(names, remaining_s)
    return floors | {name: _floor(found, now_s) for name, found in stored.items()}


def _floor(stored: StoredState | Unknown | None, now_s: float) -> int | Unknown:
    """A floor exists in the engine's memory alone: where none is remembered, none is held."""
    if isinstance(stored, Unknown):
        return stored
    if stored is not None and stored.problem:
        return Unknown(reason=f"the engine's state is {stored.problem}; its next tick replaces it")
    if stored is None or stored.state is None or abs(now_s - stored.tick_s) > HELD_FOR.total_seconds():
        return 0
    return stored.state.floor
