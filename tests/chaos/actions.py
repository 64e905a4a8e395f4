"""What must hold for each action, given what its invocation has read just before: the safety rules.

The rules of a bootstrap, a shutdown and a retune are written independently of the code under test. Each
function yields every violation as a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sluice.core.deadline.learning import Learned
from sluice.core.deadline.state import BootSamples, EngineState, Launch
from sluice.core.model import (
    Backlog,
    Capacity,
    DynamicTarget,
    Kind,
    Mode,
    Trigger,
    Unknown,
    Workload,
)
from sluice.ports import Policy, StoredState
from tests.chaos.cloud import Event, Evidence, common


@dataclass
class Snapshot:
    """What an invocation has read of one workload since it last read the document or acted."""

    document: Workload
    read_at: datetime
    """When the document was read: the proof's minutes end with the one before."""
    backlog: Backlog | Unknown | None = None
    capacity: Capacity | Unknown | None = None
    proof: list[float | None] | Unknown | None = None
    """CloudWatch's value for each idle minute, or None if it has none."""
    policy: Policy | None = None
    remembered: StoredState | Unknown | None = None
    """The deadline engine's item, None if there is none."""
    remembered_at: datetime | None = None
    """When that was read; None if it was not."""
    after_shutdown: bool = False

    @property
    def observation(self) -> tuple[object, object]:
        return self.backlog, self.capacity


@dataclass(frozen=True)
class Action:
    """A change requested from AWS, and whether AWS accepted it."""

    kind: Kind
    workload: str
    amount: float
    taken: bool
    observation: object


def resize_violations(event: Event, snapshot: Snapshot, instances: int) -> Iterator[str]:
    """What is wrong with setting this workload's fleet to so many instances."""
    document, backlog, capacity = snapshot.document, snapshot.backlog, snapshot.capacity
    fleet = document.fleet
    yield from _action_violations(event, document)
    if not isinstance(backlog, Backlog) or not isinstance(capacity, Capacity):
        yield f"set {fleet} to {instances} after observing only {backlog} and {capacity}"
        return
    if capacity.unsupported_units:
        yield f"set {fleet} to {instances}, which counts {capacity.unsupported_units}"
    bounds = common(document, capacity)
    if bounds is None or not bounds.min <= instances <= bounds.max:
        yield f"set {fleet} to {instances}, outside {bounds}"
    elif instances > capacity.desired:
        yield from _bootstrap_violations(instances, document, backlog, capacity)
    elif instances < capacity.desired:
        yield from _shutdown_violations(instances, snapshot, backlog, capacity)
    else:
        yield f"set {fleet} to the {instances} it has"


def scale_violations(
    document: Workload,
    backlog: object,
    capacity: object,
    before: EngineState | None,
    stored: StoredState | None,
    instances: int,
) -> Iterator[str]:
    """What is wrong with the deadline engine setting this workload's fleet to so many instances.

    `stored` is what it has stored for that, `before` the state that was stored until then.
    """
    name = document.name
    if document.mode is not Mode.ACTIVE or document.deadline is None:
        yield f"scaled {name}, whose document says {document.mode}, {document.deadline}"
        return
    if not isinstance(backlog, Backlog) or not isinstance(capacity, Capacity):
        yield f"scaled {name} to {instances} after observing only {backlog} and {capacity}"
        return
    bounds, waiting = common(document, capacity), backlog.visible + backlog.delayed
    lowers = instances < capacity.desired
    if capacity.unsupported_units or bounds is None or instances == capacity.desired:
        yield f"scaled {name} from {capacity.desired} to {instances} within {bounds}"
        return
    if instances < bounds.min or (instances > bounds.max and not lowers):
        yield f"scaled {name} to {instances}, outside {bounds}"
    blocked = capacity.scale_in_blocked_by if lowers else capacity.scale_out_blocked_by
    if blocked:
        yield f"scaled {name} from {capacity.desired} to {instances} although {blocked}"
    if lowers:
        yield from _lowering_violations(name, backlog, capacity, before, instances)
        if capacity.booting and _booted_s(before, stored) < 2 * _shortest_boot_s(document, stored):
            yield f"lowered {name} to {instances} while instances boot: {capacity}, after {before}"
    floor = is_shorter_than_a_boot(document, stored)
    if not lowers and not waiting and not floor and instances > bounds.min:
        yield f"raised {name} to {instances} although none waits: {backlog}"


def _lowering_violations(
    name: str, backlog: Backlog, capacity: Capacity, before: EngineState | None, instances: int
) -> Iterator[str]:
    if instances < max(backlog.in_flight, capacity.protected or 0):
        yield f"lowered {name} to {instances} where {capacity.protected} are protected, over {backlog}"
    if before is None:
        yield f"lowered {name} to {instances} although nothing is remembered"
    elif not instances and (backlog.total or before.backlog.total):
        yield f"lowered {name} to 0 over {backlog}, and {before} before"


def _booted_s(before: EngineState | None, stored: StoredState | None) -> float:
    """The longest that an instance can have booted by now."""
    launches = before.launches if before else ()
    now_s = stored.state.read_s if stored and stored.state else math.inf
    return max((now_s - launch.at_s for launch in launches), default=0.0)


def _shortest_boot_s(document: Workload, stored: StoredState | None) -> float:
    assert document.deadline is not None
    return min([document.deadline.boot_s, *_measured_boots_s(stored)])


def _measured_boots_s(stored: StoredState | None) -> list[float]:
    return [one.boot_s for one in stored.state.boots] if stored and stored.state else []


def memory_violations(
    name: str,
    backlog: object,
    capacity: object,
    before: EngineState | None,
    state: EngineState,
) -> Iterator[str]:
    """What is wrong with the deadline engine remembering this state after these readings."""
    wrong = list(_memory_problems(backlog, capacity, before, state))
    if wrong:
        yield f"remembers {state} of {name} after {before}, {backlog} and {capacity}: {wrong}"


def _memory_problems(
    backlog: object, capacity: object, before: EngineState | None, state: EngineState
) -> Iterator[str]:
    if not isinstance(backlog, Backlog) or not isinstance(capacity, Capacity):
        yield "an unknown reading"
        return
    warm = capacity.warm or 0
    if (state.backlog, state.running, state.warm) != (backlog, capacity.running, warm):
        yield "not what was read"
    launches, samples = state.launches, (*state.boots, *state.ready)
    launched = before.launches if before else ()
    measured = (*before.boots, *before.ready) if before else ()
    pooled = warm + (before.warm if before else 0)
    if _of_kind(launches, warm=True) - _of_kind(launched, warm=True) > pooled:
        yield "more starts from the warm pool than it held instances"
    added = {kind: _of_kind(samples, warm=kind) - _of_kind(measured, warm=kind) for kind in (False, True)}
    if any(added[kind] > _of_kind(launched, warm=kind) + 1e-9 for kind in added):
        yield "boots of instances that were not launched so"
    if sum(max(more, 0.0) for more in added.values()) > _newly_running(capacity, before) + 1e-9:
        yield "boots of instances that do not run"


def _newly_running(capacity: Capacity, before: EngineState | None) -> int:
    """By how many more instances run than are remembered."""
    return max(capacity.running - before.running, 0) if before else 0


def _of_kind(counted: Iterable[Launch | BootSamples], *, warm: bool) -> float:
    """Launched instances, or measured boots, that are from a warm pool or cold."""
    return sum(
        one.instances if isinstance(one, Launch) else one.weight for one in counted if one.warm is warm
    )


def is_shorter_than_a_boot(document: Workload, stored: StoredState | None) -> bool:
    """Whether launches may come too late for the promise, so that the engine may hold a floor."""
    deadline, margin_s = document.deadline, margin_before(document, stored)
    assert deadline is not None
    assert margin_s is not None
    longest_s = max([deadline.boot_s, *_measured_boots_s(stored)])
    return 0.9 * deadline.promise_s < longest_s + deadline.tick_s + margin_s


def _action_violations(event: Event, document: Workload) -> Iterator[str]:
    if document.mode is not Mode.ACTIVE:
        yield f"set {document.fleet} although its document says {document.mode}"
    own = (document.bootstrap_alarm_arn, document.shutdown_alarm_arn)
    if event.alarm and not (event.alarm.is_alarm and event.alarm.arn in own):
        yield f"set {document.fleet} on {event.alarm}"


def _bootstrap_violations(
    instances: int, document: Workload, backlog: Backlog, capacity: Capacity
) -> Iterator[str]:
    name, bounds = document.name, common(document, capacity)
    assert bounds is not None
    size = document.bootstrap_instances or -int(-backlog.total // _first_target(document))
    if document.deadline:
        size = instances  # what starts the messages in time: the engine's own tests
    if instances != min(max(size, bounds.min), bounds.max):
        yield f"bootstrapped {name} with {instances} where {size} within {bounds} are needed"
    if capacity.desired > 0:
        yield f"bootstrapped {name} although {capacity.desired} were desired"
    if backlog.visible == 0:
        yield f"bootstrapped {name} although nothing was visible"
    if capacity.scale_out_blocked_by:
        yield f"bootstrapped {name} although {capacity.scale_out_blocked_by}"


def _first_target(document: Workload) -> float:
    target = document.target
    dynamic = isinstance(target, DynamicTarget)
    return target.fallback_messages_per_instance if dynamic else target.messages_per_instance


def _shutdown_violations(
    instances: int, snapshot: Snapshot, backlog: Backlog, capacity: Capacity
) -> Iterator[str]:
    name, bounds = snapshot.document.name, common(snapshot.document, capacity)
    read_at = snapshot.remembered_at or snapshot.read_at
    floor = floor_of(snapshot.document, snapshot.remembered, read_at)
    if snapshot.document.deadline and snapshot.remembered_at is None:
        yield f"shut {name} down without reading its floor"
    elif floor is None:
        yield f"shut {name} down although its floor is unknown: {snapshot.remembered}"
    elif bounds is None or instances != min(max(bounds.min, floor), bounds.max):
        yield f"set {name} to {instances}, not to the minimum of {bounds} or its floor of {floor}"
    if backlog.visible or backlog.in_flight or backlog.delayed:
        yield f"shut {name} down over {backlog}"
    if capacity.scale_in_blocked_by:
        yield f"shut {name} down although {capacity.scale_in_blocked_by}"
    if snapshot.proof != [0.0] * snapshot.document.idle_minutes:
        yield f"shut {name} down on the proof {snapshot.proof}"


def floor_of(document: Workload, remembered: StoredState | Unknown | None, now: datetime) -> int | None:
    """The instances that the deadline engine holds, by its item; None if the item does not say."""
    if document.deadline is None or remembered is None:
        return 0
    if isinstance(remembered, Unknown) or remembered.problem:
        return None
    if remembered.state is None or abs(now.timestamp() - remembered.tick_s) > 600:
        return 0
    return remembered.state.floor


def surge_violations(document: Workload, capacity: object, instances: int, *, undoes: bool) -> Iterator[str]:
    """What is wrong with a surge setting the fleet's minimum to this; `undoes` if it has set one before."""
    if document.mode is not Mode.ACTIVE:
        yield f"surged {document.name}, whose document says {document.mode}"
    if not isinstance(capacity, Capacity) or capacity.bounds is None or capacity.unsupported_units:
        yield f"surged {document.name} to {instances} after observing {capacity}"
        return
    bounds = common(document, capacity)
    if undoes:
        return  # what then stands is checked for the fleet
    if bounds is None or instances > bounds.max or instances < max(capacity.desired, capacity.bounds.min):
        yield f"surged {document.name} to {instances} within {bounds} from {capacity}"
    if capacity.scale_out_blocked_by:
        yield f"surged {document.name} to {instances} although {capacity.scale_out_blocked_by}"


def retune_violations(event: Event, snapshot: Snapshot, policy: Policy, target: float) -> Iterator[str]:
    """What is wrong with writing this target into the policy."""
    document, settings = snapshot.document, snapshot.document.target
    name = document.name
    if document.mode is not Mode.ACTIVE or not isinstance(settings, DynamicTarget):
        yield f"retuned {name}, which is {document.mode} with {settings}"
        return
    if policy != snapshot.policy or policy.definition["PolicyARN"] != document.policy_arn:
        yield f"retuned {policy}, which is not the policy that was read for {name}"
    min_target, max_target = settings.min_messages_per_instance, settings.max_messages_per_instance
    if not min_target <= target <= max_target:
        yield f"retuned {name} to {target}, outside {min_target}..{max_target}"
    if target == policy.target:
        yield f"retuned {name} to the {target} it has"
    by_stack = event.retune is not None and event.retune.trigger is Trigger.STACK
    if not by_stack or abs(policy.target / settings.fallback_messages_per_instance - 1) > 1e-6:
        factor = settings.max_factor_per_retune
        # A current target outside the bounds is moved to the nearer bound, however far that is.
        nearest = min(max(policy.target, min_target), max_target)
        low, high = min(policy.target / factor, nearest), max(policy.target * factor, nearest)
        if not low * (1 - 1e-9) <= target <= high * (1 + 1e-9):
            yield f"retuned {name} from {policy.target} to {target}: beyond the factor"


def margin_before(document: Workload, before: StoredState | Unknown | None) -> float | None:
    """The margin that was in force, in seconds: the document's where nothing was learned."""
    if isinstance(before, StoredState) and before.learned:
        return before.learned.margin_s
    return document.deadline and document.deadline.margin_s


def learning_violations(
    event: Event,
    document: Workload,
    before: StoredState | Unknown | None,
    learned: Learned,
    evidence: Evidence,
) -> Iterator[str]:
    """What is wrong with the deadline engine planning with this from now on."""
    name, deadline = document.name, document.deadline
    if event.retune is None or deadline is None or document.mode is Mode.PAUSED:
        yield f"learned {learned} of {name}, which is {document.mode}, {deadline}, on {event}"
        return
    if isinstance(before, Unknown) or (before and before.problem):
        yield f"learned {learned} of {name} although what was learned before is {before}"
        return
    known = before.learned if before else None
    margin_s = known.margin_s if known else deadline.margin_s
    if learned.at_s != evidence.at.timestamp() or (known and known.at_s >= learned.at_s):
        yield f"learned {learned} of {name} for the hour before {evidence.at}, after {known}"
    if learned.margin_s != margin_s:
        yield from _margin_violations(document, margin_s, learned.margin_s, evidence)
    processing, earlier = learned.processing, known and known.processing
    if processing != earlier:
        if not processing or not evidence.durations_s or not 0 < processing.mean_s < math.inf:
            yield f"takes {name} to need {processing} after {earlier}, and measured {evidence.durations_s}"
        elif earlier and not 0.5 - 1e-9 <= processing.mean_s / earlier.mean_s <= 2 + 1e-9:
            yield f"takes {name} to need {processing} after {earlier}: beyond the factor"


def _margin_violations(
    document: Workload, before_s: float, after_s: float, evidence: Evidence
) -> Iterator[str]:
    name, deadline, waits_s = document.name, document.deadline, evidence.waits_s
    assert deadline is not None
    if not waits_s:
        yield f"moved the margin of {name} from {before_s} to {after_s} s, and measured no wait: {waits_s}"
        return
    late = sum(waited > deadline.promise_s for waited in waits_s)
    allowed = len(waits_s) * (1 - deadline.promise_percent / 100)
    if abs(after_s - before_s) > 10 + 1e-9:
        yield f"moved the margin of {name} from {before_s} to {after_s} s at once"
    if after_s > before_s and (after_s > deadline.promise_s / 2 or late <= allowed / 2):
        yield f"raised the margin of {name} to {after_s} s: {late} of {len(waits_s)} late, {deadline}"
    if after_s < before_s and (after_s < -deadline.tick_s / 2 or late >= allowed / 2):
        yield f"lowered the margin of {name} to {after_s} s: {late} of {len(waits_s)} late, {deadline}"
