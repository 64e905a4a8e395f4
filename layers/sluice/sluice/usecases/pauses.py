"""Step: which of these workloads an operator has paused."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sluice.core.model import Unknown
from sluice.core.pause import Pause
from sluice.ports import Ports, RemainingS

Paused = Pause | Unknown | None
"""The pause in force; None if there is none, Unknown if that could not be read."""


def pauses_in_force(ports: Ports, names: Collection[str], remaining_s: RemainingS) -> Mapping[str, Paused]:
    """The pause of each workload that is in force now; what is not read in time is Unknown."""
    if not names:
        return {}
    if ports.states is None:
        reason = "this function knows no table of pauses: template.yaml sets SLUICE_STATE_TABLE"
        return dict.fromkeys(names, Unknown(reason=reason))
    now, paused = ports.now(), dict[str, Paused]()
    for name, stored in ports.states.read(names, remaining_s).items():
        if isinstance(stored, Unknown):
            paused[name] = stored
        else:
            paused[name] = stored.in_force(now) if stored is not None else None
    return paused
