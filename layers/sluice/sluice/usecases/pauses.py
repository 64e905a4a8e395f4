"""Step: what holds these workloads: an operator's pause, the downstream guard."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sluice.core.held_fields import Holds
from sluice.core.model import Unknown
from sluice.core.pause import Pause
from sluice.ports import Ports, RemainingS

Paused = Pause | Unknown | None
"""The pause in force; None if there is none, Unknown if that could not be read."""


def holds_in_force(
    ports: Ports, names: Collection[str], remaining_s: RemainingS
) -> Mapping[str, Holds | Unknown]:
    """What holds each workload now; what is not read in time is Unknown.

    A guard holds only a workload whose document still has one, which the caller knows.
    """
    if not names:
        return {}
    if ports.states is None:
        reason = "this function knows no table of pauses: template.yaml sets SLUICE_STATE_TABLE"
        return dict.fromkeys(names, Unknown(reason=reason))
    now, found = ports.now(), dict[str, Holds | Unknown]()
    for name, stored in ports.states.read(names, remaining_s).items():
        if isinstance(stored, Unknown):
            found[name] = stored
        elif stored is None:
            found[name] = Holds()
        else:
            found[name] = Holds(
                pause=stored.in_force(now), guard=stored.guard_in_force(now), switch=stored.switch
            )
    return found


def pauses_in_force(ports: Ports, names: Collection[str], remaining_s: RemainingS) -> Mapping[str, Paused]:
    """The pause of each workload that is in force now; what is not read in time is Unknown."""
    found = holds_in_force(ports, names, remaining_s)
    return {name: held if isinstance(held, Unknown) else held.pause for name, held in found.items()}
