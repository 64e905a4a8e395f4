"""Defects that the search must find: each replaces a function of the layer, as a plausible mistake would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import sluice.usecases.missed_alarms
import sluice.usecases.resize
import sluice.usecases.surge
from sluice.core import bootstrap_shutdown
from sluice.core.bootstrap_shutdown import decide_bootstrap
from sluice.core.held_fields import Holds
from sluice.core.model import Capacity, Decision, Reason, Trigger
from sluice.ports import Outcome
from sluice.usecases.tick_context import TickContext
from tests.chaos.test_mutations import MUTATIONS

act = sluice.usecases.resize.act

Patches = Iterable[tuple[object, str, Any]]


@dataclass(frozen=True)
class Fault:
    """A defect, the scope that meets it, and what the end of its story says."""

    scope: str
    says: str
    patches: Patches


def acts_on_the_first_reading(name: str, tick: TickContext) -> None:
    workload = tick.workloads[name]
    decision = decide_bootstrap(workload, tick.observed[name], Trigger.TICK, target_per_instance=1)
    act(decision, workload, tick.ports, tick.report)


def counts_a_second_alarm_twice(decision: Decision, *rest: Any) -> Outcome:
    """It adds what is missing to what it has read before, so that two alarms start twice as many."""
    seen = decision.observation.capacity
    if decision.reason is Reason.WORK_WAITS and isinstance(seen, Capacity) and seen.running < seen.desired + 1:
        decision = replace(decision, desired=(decision.desired or 0) + 1)
    return act(decision, *rest)


def ignores_pauses(ports: Any, names: Any, remaining_s: Any) -> Mapping[str, Holds]:
    return dict.fromkeys(names, Holds())


def sees_no_pause(ports: Any, names: Any, remaining_s: Any) -> Mapping[str, None]:
    ports.states.read(names, remaining_s)
    return dict.fromkeys(names, None)


FAULTS = {
    "a tick's bootstrap acts on the first reading": Fault(
        "wake and shutdown",
        "the README promises None",
        [(sluice.usecases.missed_alarms, "retry_bootstrap", acts_on_the_first_reading)],
    ),
    "a shutdown needs no proof of emptiness": Fault(
        "wake and shutdown", "the proof", [(bootstrap_shutdown, "why_not_proven_empty", lambda *_: None)]
    ),
    "a message in flight does not prevent a shutdown": Fault(
        "wake and shutdown",
        "in_flight",
        MUTATIONS["a message in flight does not prevent a shutdown"],
    ),
    "nothing is observed again after a shutdown": Fault(
        "wake and shutdown", "", MUTATIONS["nothing is observed again after a shutdown"]
    ),
    "a tick bootstraps no fleet": Fault(
        "wake and shutdown", "", MUTATIONS["a tick bootstraps no fleet"]
    ),
    "an alarm that comes twice starts one more": Fault(
        "wake and shutdown", "promises", [(sluice.usecases.resize, "act", counts_a_second_alarm_twice)]
    ),
    "what is unknown counts as 0": Fault(
        "readings", "", MUTATIONS["an unknown reading counts as 0 for the handlers"]
    ),
    "a proof that cannot be read proves emptiness": Fault(
        "readings", "", MUTATIONS["a proof that cannot be read proves emptiness"]
    ),
    "an alarm's failed reading is not retried": Fault(
        "readings", "nobody tries again", MUTATIONS["an alarm's failed reading is not retried"]
    ),
    "bootstraps do not heed a pause": Fault(
        "pause", "", [(sluice.usecases.resize, "holds_in_force", ignores_pauses)]
    ),
    "shutdowns do not heed a pause": Fault(
        "pause", "paused", [(sluice.usecases.resize, "pauses_in_force", sees_no_pause)]
    ),
    "the end of a surge leaves its minimum": Fault(
        "surge", "no scheduled action puts 1 back", MUTATIONS["the end of a surge leaves its minimum"]
    ),
    "a surge lowers what is there": Fault("surge", "", MUTATIONS["a surge lowers what is there"]),
    "a surge that is ended meanwhile goes on": Fault(
        "surge", "", MUTATIONS["a surge that is ended meanwhile goes on"]
    ),
}
