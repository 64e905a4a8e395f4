"""Defects that the search must find: each replaces a function of the layer, as a plausible mistake would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sluice.usecases.missed_alarms
import sluice.usecases.resize
import sluice.usecases.surge
from sluice.core.bootstrap_shutdown import decide_bootstrap
from sluice.core.held_fields import Holds
from sluice.core.model import Decision, Reason, Trigger
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


def counts_a_second_alarm(decision: Decision, *rest: Any) -> Outcome:
    """It adds an instance for an alarm that has come before, as if the first had started none."""
    if decision.trigger is Trigger.ALARM and decision.reason is Reason.WORK_WAITS:
        decision = replace(decision, desired=(decision.desired or 0) + 1)
    return act(decision, *rest)


def ignores_pauses(ports: Any, names: Any, remaining_s: Any) -> Mapping[str, Holds]:
    return dict.fromkeys(names, Holds())


def sees_no_pause(ports: Any, names: Any, remaining_s: Any) -> Mapping[str, None]:
    ports.states.read(names, remaining_s)
    return dict.fromkeys(names, None)


def caught(name: str) -> Patches:
    """The defect of this name that the random interleavings detect as well."""
    return MUTATIONS[name]


FAULTS = {
    "a tick's bootstrap acts on the first reading": Fault(
        "wake and shutdown",
        "after observing only",
        [(sluice.usecases.missed_alarms, "retry_bootstrap", acts_on_the_first_reading)],
    ),
    "a shutdown needs no proof of emptiness": Fault(
        "wake and shutdown", "on the proof [None, 0]", caught("no proof is needed")
    ),
    "a message in flight does not prevent a shutdown": Fault(
        "wake and shutdown", "in_flight=1", caught("a message in flight does not prevent a shutdown")
    ),
    "nothing is observed again after a shutdown": Fault(
        "wake and shutdown", "promises", caught("nothing is observed again after a shutdown")
    ),
    "a tick bootstraps no fleet": Fault(
        "wake and shutdown", "the tick has started nothing", caught("a tick bootstraps no fleet")
    ),
    "a tick shuts no fleet down": Fault(
        "wake and shutdown", "not at its minimum", caught("a tick shuts no fleet down")
    ),
    "an alarm that comes twice counts twice": Fault(
        "wake and shutdown",
        "bootstrapped transcription with 2 where 1",
        [(sluice.usecases.resize, "act", counts_a_second_alarm)],
    ),
    "what is unknown counts as 0": Fault(
        "readings", "after observing only Unknown", caught("an unknown reading counts as 0 for the handlers")
    ),
    "a proof that cannot be read proves emptiness": Fault(
        "readings", "on the proof Unknown", caught("a proof that cannot be read proves emptiness")
    ),
    "an alarm's failed reading is not retried": Fault(
        "readings", "nobody tries again", caught("an alarm's failed reading is not retried")
    ),
    "bootstraps do not heed a pause": Fault(
        "pause", "paused out", [(sluice.usecases.resize, "holds_in_force", ignores_pauses)]
    ),
    "shutdowns do not heed a pause": Fault(
        "pause", "promises None", [(sluice.usecases.resize, "pauses_in_force", sees_no_pause)]
    ),
    "the end of a surge leaves its minimum, and does not look again": Fault(
        "all of one surge",
        "not at its minimum",
        [
            *caught("the end of a surge leaves its minimum"),
            (sluice.usecases.surge, "_end_what_was_raised_meanwhile", lambda *_: None),
        ],
    ),
    "the raised minimum is taken for the one to restore": Fault(
        "all of one surge",
        "not at its minimum",
        caught("the raised minimum is taken for the one to restore"),
    ),
    "a surge that is ended meanwhile goes on": Fault(
        "surge", "not at its minimum", caught("a surge that is ended meanwhile goes on")
    ),
}
