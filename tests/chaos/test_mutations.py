"""The interleavings detect broken use cases: each mutation is caught within the default share.

A mutation replaces one function of the layer by one with a plausible defect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import pytest

import sluice.usecases.alarms
import sluice.usecases.deadline_ticks
import sluice.usecases.learn
import sluice.usecases.missed_alarms
import sluice.usecases.resize
import sluice.usecases.retune
import sluice.usecases.serve_workloads
import sluice.usecases.surge
import sluice.usecases.surge_requests
import sluice.usecases.switch
import sluice.usecases.tick
import tests.chaos.event_storm
import tests.chaos.fallback
from sluice.core import bootstrap_shutdown, surge_plan, switch, target
from sluice.core.bootstrap_shutdown import decide_bootstrap, decide_shutdown, reads_empty_above_min
from sluice.core.bounds import clamp
from sluice.core.deadline import boots, decision, learning, memory
from sluice.core.deadline.boots import booting_launches, launches_at
from sluice.core.deadline.decision import Scaling, decide_scale
from sluice.core.deadline.learning import Learned, Measured, Waits
from sluice.core.deadline.memory import Tick
from sluice.core.deadline.state import EngineState
from sluice.core.emptiness import (
    alarm_proof_end_minutes,
    minutes_to_prove,
    tick_proof_end_minutes,
    why_not_proven_empty,
)
from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import (
    Backlog,
    Bounds,
    Capacity,
    Color,
    Deadline,
    Decision,
    Durations,
    Fleet,
    Mode,
    Observation,
    Reason,
    TargetDecision,
    Trigger,
    Unknown,
    Workload,
)
from sluice.core.schedules import InForce
from sluice.core.surge import Asked, Refusal
from sluice.core.surge_plan import Plan, planned
from sluice.core.switch import Next, Wait
from sluice.core.switch_record import Switch
from sluice.core.target import decide_target
from sluice.errors import TransientError
from sluice.ports import (
    Counter,
    Outcome,
    Policy,
    Ports,
    RemainingS,
    Report,
    Series,
    StateWrite,
    StoredState,
)
from sluice.usecases.held_floors import held_floors
from sluice.usecases.observe import (
    observe,
    registered,
)
from sluice.usecases.pauses import Paused, pauses_in_force
from sluice.usecases.tick_context import TickContext
from sluice_sim.aws_rules.ec2_target_tracking import TargetTracking
from sluice_sim.aws_rules.ecs_target_tracking import ServiceTracking
from tests.chaos.seeds import reached_by
from tests.chaos.test_chaos import DEFAULT_SHARE
from tests.support.builders import plenty
from tests.support.fakes import FakeColors, FakeStates

pytestmark = pytest.mark.slow

EMPTY = Backlog(visible=0, in_flight=0, delayed=0)
NOTHING = Capacity(desired=0, running=0, bounds=None)


Decide = Callable[..., Decision]
Fallback = TypeVar("Fallback", TargetTracking, ServiceTracking)


def blind_to(decide: Decide, **facts: object) -> Decide:
    """The same decision over changed facts: these counts of the queue or attributes of the fleet."""

    def broken(workload: Workload, observed: Observation, *rest: Any, **named: Any) -> Decision:
        return replace(decide(workload, _put(observed, facts), *rest, **named), observation=observed)

    return broken


def _put(observed: Observation, facts: Mapping[str, object]) -> Observation:
    backlog, capacity = observed.backlog, observed.capacity
    if isinstance(backlog, Backlog):
        backlog = replace(backlog, **{key: to for key, to in facts.items() if hasattr(backlog, key)})
    if isinstance(capacity, Capacity):
        capacity = replace(capacity, **{key: to for key, to in facts.items() if hasattr(capacity, key)})
    return Observation(backlog=backlog, capacity=capacity)


def blind_shutdown(**facts: object) -> list[tuple[object, str, object]]:
    return [
        (module, name, broken)
        for module in (sluice.usecases.missed_alarms, sluice.usecases.resize)
        for name, broken in (
            ("decide_shutdown", blind_to(decide_shutdown, **facts)),
            (
                "reads_empty_above_min",
                lambda workload, observed, *floor: reads_empty_above_min(
                    workload, _put(observed, facts), *floor
                ),
            ),
        )
    ]


def blind_bootstrap(**facts: object) -> list[tuple[object, str, object]]:
    broken = blind_to(decide_bootstrap, **facts)
    return [
        (module, "decide_bootstrap", broken)
        for module in (sluice.usecases.missed_alarms, sluice.usecases.resize)
    ]


def cached_document(resize: Callable[..., None]) -> Callable[..., None]:
    def broken(name: str, *rest: Any) -> None:
        *proof_end_minutes, tick = rest
        cached = {workload.name: workload for workload in tick.ports.registry.all(plenty).workloads}
        resize(cached[name], *proof_end_minutes, tick.ports, Trigger.TICK, tick.report, tick.remaining_s)

    return broken


def zero_for_unknown(
    ports: Ports, workloads: list[Workload], remaining_s: RemainingS
) -> Mapping[str, Observation]:
    return {
        name: Observation(
            backlog=EMPTY if isinstance(observed.backlog, Unknown) else observed.backlog,
            capacity=NOTHING if isinstance(observed.capacity, Unknown) else observed.capacity,
        )
        for name, observed in observe(ports, workloads, remaining_s).items()
    }


def nothing_published_is_zero(
    published: Mapping[datetime, float], ends: Sequence[datetime], minutes: int
) -> str | None:
    filled = dict.fromkeys(minutes_to_prove(ends[0], minutes), 0.0) | dict(published)
    return why_not_proven_empty(filled, ends[:1], minutes)


def counted_back_from_the_clock(tick: TickContext) -> None:
    """A tick's proof ends one minute before the time of its observation."""
    retry_missed_alarms(replace(tick, minute=minute_of(tick.ports.now())))


def unread_proof_is_zero(
    workload: Workload,
    observed: Observation,
    floor: int | Unknown,
    published: Series | Unknown,
    trigger: Trigger,
    *,
    proof_end_minutes: Sequence[datetime],
    pause: Paused,
    schedule: InForce | None,
) -> Decision:
    if isinstance(published, Unknown):
        published = dict.fromkeys(minutes_to_prove(proof_end_minutes[0], workload.idle_minutes), 0.0)
    return decide_shutdown(
        workload,
        observed,
        floor,
        published,
        trigger,
        proof_end_minutes=proof_end_minutes,
        pause=pause,
        schedule=schedule,
    )


def unread_floors_are_none(*args: Any) -> dict[str, int]:
    floors = held_floors(*args)
    return {name: 0 if isinstance(floor, Unknown) else floor for name, floor in floors.items()}


def does_nothing(name: str, *rest: Any) -> None:
    *_, tick = rest
    tick.report.failed(name, Counter.ACTION_FAILED, "not retried")


def unread_pauses_are_none(*args: Any) -> Mapping[str, Paused]:
    return {
        name: None if isinstance(pause, Unknown) else pause for name, pause in pauses_in_force(*args).items()
    }


def act_unlogged(
    decision: Decision, workload: Workload, ports: Ports, report: Report, *proof: Any
) -> Outcome:
    class Quiet:
        def decided(self, decision: Decision, outcome: Outcome, fleet: Fleet) -> None:
            if outcome is not Outcome.ACTED:
                report.decided(decision, outcome, fleet)

    return action(decision, workload, ports, Quiet(), *proof)  # type: ignore[arg-type]


def act_without_retry(*args: Any) -> Outcome:
    with suppress(TransientError):
        return action(*args)
    return Outcome.HELD


action = sluice.usecases.resize.act
retry_missed_alarms = sluice.usecases.missed_alarms.retry_missed_alarms
shutdown = sluice.usecases.resize.shutdown
retune = sluice.usecases.retune._retune
tick = sluice.usecases.tick.publish_backlog


def one_failure_ends_all(workload: str, counter: object, report: Report, step: Callable[[], None]) -> bool:
    step()
    return True


def as_if_active(decide: Decide) -> Decide:
    return lambda workload, *rest, **named: decide(replace(workload, mode=Mode.ACTIVE), *rest, **named)


def durations_of_unknown(name: str, durations: Durations | Unknown, *rest: Any) -> None:
    retune(name, Durations(seconds=1, samples=99, window_s=3600), *rest)


def retune_paused(
    name: str,
    durations: Durations | Unknown,
    request: Any,
    ports: Ports,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    class Resumed:
        def one(self, name: str, remaining_s: RemainingS) -> Workload:
            return replace(ports.registry.one(name, remaining_s), mode=Mode.ACTIVE)

    resumed = replace(ports, registry=Resumed())  # type: ignore[arg-type]
    retune(name, durations, request, resumed, report, remaining_s)


def every_policy_at_once(
    name: str,
    durations: Durations | Unknown,
    request: Any,
    ports: Ports,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    class All:
        def read(self, workload: Workload, remaining_s: RemainingS) -> Policy:
            return ports.policies.read(workload, remaining_s)

        def put_target(self, policy: Policy, target: float, *_: object) -> None:
            for each in registered(ports, report, remaining_s).workloads:
                if each.policy_arn:
                    ports.policies.put_target(ports.policies.read(each, remaining_s), target)

    retune(name, durations, request, replace(ports, policies=All()), report, remaining_s)


def no_factor(
    name: str, settings: Any, durations: Durations | Unknown, current: float | None, trigger: Trigger
) -> TargetDecision:
    return decide_target(name, replace(settings, max_factor_per_retune=1e9), durations, current, trigger)


def published_now(scheduled: datetime, ports: Ports, report: Report, remaining_s: RemainingS) -> None:
    tick(ports.now(), ports, report, remaining_s)


def proven_by_the_cached_minutes(workload: Workload, *rest: Any) -> None:
    return shutdown(replace(workload, idle_minutes=1), *rest)


def stores_always(states: FakeStates, workload: str, write: StateWrite, _: RemainingS) -> bool:
    states.stored[workload] = StoredState(tick_s=write.state.tick_s, state=write.state)
    return True


def acts_on_all(decided: Mapping[str, Any], *rest: Any) -> list[str]:
    remember(decided, *rest)
    return list(decided)


def as_if_remembered(
    workload: Workload, observed: Observation, state: EngineState | None, tick: Tick, **held: Any
) -> Scaling:
    if state is None and isinstance(observed.backlog, Backlog) and isinstance(observed.capacity, Capacity):
        earlier_s = tick.now_s - 30
        state = EngineState(
            tick_s=earlier_s, read_s=earlier_s, backlog=EMPTY, desired=0, running=observed.capacity.running
        )
    return decide_scale(workload, observed, state, tick, **held)


def learned_by(change: Callable[[Workload, StoredState | Unknown | None], Any]) -> Callable[..., None]:
    """The hourly step on another state than the stored one."""
    return lambda workload, stored, *rest: learn(workload, change(workload, stored), *rest)


def an_hour_earlier(_: Workload, stored: StoredState | Unknown | None) -> Any:
    if isinstance(stored, StoredState) and stored.learned:
        return replace(stored, learned=replace(stored.learned, at_s=stored.learned.at_s - 3600))
    return stored


def unread_waits_are_short(series: Sequence[Series | Unknown], since: datetime) -> Any:
    if any(isinstance(one, Unknown) for one in series):
        return Waits(messages=9000, late_share=0, high_s=0)
    return waits(series, since)


def any_late_message_raises(deadline: Deadline, known: Learned, measured: Measured) -> Any:
    if isinstance(measured.hour, Waits) and measured.hour.late_share > 0:
        return known.margin_s + 5, Reason.TOO_MANY_LATE, ""
    return margin(deadline, known, measured)


learn = sluice.usecases.learn._learn
waits = sluice.usecases.learn._waits
margin = learning._margin
remember = sluice.usecases.deadline_ticks._remember
scale = sluice.usecases.deadline_ticks._act


def left_alone_after_a_silence(served: Mapping[str, Workload], moment: datetime, *rest: Any) -> Any:
    return {
        name: found
        for name, found in stored(served, moment, *rest).items()
        if found is None or moment.timestamp() - found.tick_s < 240
    }


def keeps_what_another_has_raised(
    workload: Workload, observed: Observation, state: EngineState | None, tick: Tick, **held: Any
) -> Scaling:
    """Until it has asked for more itself."""
    scaling, capacity = decide_scale(workload, observed, state, tick, **held), observed.capacity
    if (
        not state
        or not scaling.state
        or not isinstance(capacity, Capacity)
        or capacity.desired <= state.desired
    ):
        return scaling
    own = replace(scaling.state, desired=state.desired)
    return replace(scaling, decision=replace(scaling.decision, desired=None), state=own)


def every_boot_ends_well(state: EngineState, now_s: float, **facts: Any) -> Any:
    return booting_launches(state, now_s, **(facts | {"started": 99}))


def all_from_the_warm_pool(at_s: float, instances: int, *, warm: int) -> Any:
    return launches_at(at_s, instances, warm=instances)


def has_unread_pool(capacity: Capacity | Unknown) -> bool:
    return isinstance(capacity, Capacity) and capacity.has_warm_pool and capacity.warm is None


def unread_pools_are_full(observed: Mapping[str, Observation], *rest: Any) -> Any:
    known = with_warm_pools(observed, *rest)
    return {
        name: _put(one, {"warm": 9}) if has_unread_pool(one.capacity) else one for name, one in known.items()
    }


stored = sluice.usecases.deadline_ticks._stored
with_warm_pools = sluice.usecases.deadline_ticks._with_warm_pools


def deployed_with(change: Callable[[Fallback], Fallback]) -> list[tuple[object, str, object]]:
    """The fallbacks of groups and services, deployed with this change."""

    def changed(deployed: Callable[[int], Fallback]) -> Callable[[int], Fallback]:
        return cache(lambda promise_s: change(deployed(promise_s)))

    return [
        (tests.chaos.fallback, deployed.__name__, changed(deployed))
        for deployed in (tests.chaos.fallback.deployed_group, tests.chaos.fallback.deployed_service)
    ]


def rewritten(before: str, after: str) -> Callable[[Fallback], Fallback]:
    """The policy with this part of its expression replaced."""

    def change(policy: Fallback) -> Fallback:
        first, *others = policy.metric["Metrics"]
        expression = first["Expression"].replace(before, after)
        assert expression != first["Expression"]
        metrics = [{**first, "Expression": expression}, *others]
        return replace(policy, metric={**policy.metric, "Metrics": metrics})

    return change


def raised_before_its_end_is_scheduled(
    workload: Workload, plan: Plan, ports: Ports, remaining_s: RemainingS
) -> None:
    assert ports.surges is not None
    ports.surges.set_minimum(workload.fleet, plan.surge.instances)
    hold(workload, plan, ports, remaining_s)


def restores_the_minimum_now(*args: Any) -> Plan | Refusal:
    plan = planned(*args)
    if isinstance(plan, Refusal):
        return plan
    return replace(plan, surge=replace(plan.surge, minimum_before=plan.minimum))


def sized_as_asked(workload: Workload, capacity: Capacity, bounds: Bounds, asked: Asked, *rest: Any) -> Any:
    return (asked.to, (), "") if asked.to else sized(workload, capacity, bounds, asked, *rest)


def surged_in_any_mode(workload: Workload, *rest: Any) -> Any:
    return surge(replace(workload, mode=Mode.ACTIVE), *rest)


hold = sluice.usecases.surge._hold
sized = surge_plan._sized
surge = sluice.usecases.surge.surge


def always_drained(*rest: Any) -> Wait:
    return Wait(next=Next.NEXT, reason=Reason.COLOR_DRAINED, detail="", switch=rest[3])


def told_when_the_step_began(switching: Any, workload: Workload, of: Switch, color: Color) -> Switch:
    switching.colors.set_draining(workload.name, color)
    later = replace(of, told_at=of.waits_since)
    return of if of.told_at else sluice.usecases.switch._stored_as(switching, of, later)


tell = FakeColors.set_draining


def never_told_to_receive(colors: FakeColors, workload: str, color: Color | None) -> bool:
    return color is not None and tell(colors, workload, color)


MUTATIONS: dict[str, Iterable[tuple[object, str, object]]] = {
    "a retry acts on the cached document": [
        (sluice.usecases.missed_alarms, "retry_bootstrap", cached_document(sluice.usecases.resize.bootstrap)),
        (sluice.usecases.missed_alarms, "retry_shutdown", cached_document(sluice.usecases.resize.shutdown)),
    ],
    "no proof is needed": [(bootstrap_shutdown, "why_not_proven_empty", lambda *_: None)],
    "a minute without a point proves emptiness": [
        (bootstrap_shutdown, "why_not_proven_empty", nothing_published_is_zero)
    ],
    "a tick's proof is counted back from the clock": [
        (sluice.usecases.serve_workloads, "retry_missed_alarms", counted_back_from_the_clock)
    ],
    "an alarm's proof is counted back from the clock": [
        (
            sluice.usecases.alarms,
            "alarm_proof_end_minutes",
            lambda now: tick_proof_end_minutes(minute_of(now)),
        )
    ],
    "an alarm's proof may end three minutes back": [
        (
            sluice.usecases.alarms,
            "alarm_proof_end_minutes",
            lambda now: (*alarm_proof_end_minutes(now), minute_of(now) - 3 * MINUTE),
        )
    ],
    "a proof that cannot be read proves emptiness": [
        (sluice.usecases.resize, "decide_shutdown", unread_proof_is_zero)
    ],
    "a floor or a pause that cannot be read is none": [
        (module, name, broken)
        for module in (sluice.usecases.missed_alarms, sluice.usecases.resize)
        for name, broken in (
            ("held_floors", unread_floors_are_none),
            ("pauses_in_force", unread_pauses_are_none),
        )
    ],
    "a shutdown knows no floor": [
        (module, "held_floors", lambda _, workloads, __: dict.fromkeys(workloads, 0))
        for module in (sluice.usecases.missed_alarms, sluice.usecases.resize)
    ],
    "one idle minute is enough": [
        (sluice.usecases.alarms, "shutdown", proven_by_the_cached_minutes),
        (sluice.usecases.missed_alarms, "shutdown", proven_by_the_cached_minutes),
    ],
    "nothing is clamped": [(bootstrap_shutdown, "clamp", lambda instances, _: (instances, ()))],
    "the maximum alone is clamped": [
        (bootstrap_shutdown, "clamp", lambda instances, bounds: clamp(instances, replace(bounds, min=0)))
    ],
    "the document's bounds alone count": [
        (bootstrap_shutdown, "effective_bounds", lambda workload, *_: (workload.bounds, ()))
    ],
    "the fleet's bounds alone count": [
        (
            bootstrap_shutdown,
            "effective_bounds",
            lambda workload, observation, *_: (observation.bounds or workload.bounds, ()),
        )
    ],
    "observe acts": [
        (
            sluice.usecases.resize,
            "act",
            lambda decision, workload, *rest: action(decision, replace(workload, mode=Mode.ACTIVE), *rest),
        )
    ],
    "paused acts": [
        (sluice.usecases.resize, "decide_bootstrap", as_if_active(decide_bootstrap)),
        (sluice.usecases.resize, "decide_shutdown", as_if_active(decide_shutdown)),
    ],
    "a held scale-out is done": blind_bootstrap(scale_out_blocked_by=()),
    "capacity units are taken for instances": blind_bootstrap(unsupported_units=()),
    "a held scale-in is done": blind_shutdown(scale_in_blocked_by=()),
    "an unknown reading counts as 0 for the handlers": [
        (sluice.usecases.resize, "observe", zero_for_unknown)
    ],
    "an unknown reading counts as 0 for the tick": [
        (sluice.usecases.serve_workloads, "observe", zero_for_unknown)
    ],
    "a visible message does not prevent a shutdown": blind_shutdown(visible=0),
    "a message in flight does not prevent a shutdown": blind_shutdown(in_flight=0),
    "a delayed message does not prevent a shutdown": blind_shutdown(delayed=0),
    "a running fleet is bootstrapped": blind_bootstrap(desired=0),
    "nothing is observed again after a shutdown": [
        (sluice.usecases.resize, "_bootstrap_if_work_waits", lambda *_: None)
    ],
    "an alarm's failed reading is not retried": [(sluice.usecases.resize, "act", act_without_retry)],
    "a tick bootstraps no fleet": [(sluice.usecases.missed_alarms, "_missed_bootstraps", lambda *_: [])],
    "a tick shuts no fleet down": [(sluice.usecases.missed_alarms, "_missed_shutdowns", lambda *_: [])],
    "a tick gives up a bootstrap, and logs it": [
        (sluice.usecases.missed_alarms, "retry_bootstrap", does_nothing)
    ],
    "a tick gives up a shutdown, and logs it": [
        (sluice.usecases.missed_alarms, "retry_shutdown", does_nothing)
    ],
    "what was done is not logged": [(sluice.usecases.resize, "act", act_unlogged)],
    "an alarm may be that of any workload": [(sluice.usecases.alarms, "_check", lambda *_: None)],
    "a stale tick works": [(sluice.usecases.serve_workloads, "STALE_AFTER", timedelta(hours=1))],
    "a point carries the time at which its tick ran": [
        (tests.chaos.event_storm, "publish_backlog", published_now)
    ],
    "one workload's failure stops the retries of the others": [
        (sluice.usecases.missed_alarms, "isolated", one_failure_ends_all)
    ],
    "one workload's failure stops the retunes of the others": [
        (sluice.usecases.retune, "isolated", one_failure_ends_all)
    ],
    "a failed retune is not logged": [
        (sluice.usecases.retune, "report_if_refused", lambda *_: nullcontext())
    ],
    "a retune of a paused workload": [(sluice.usecases.retune, "_retune", retune_paused)],
    "unknown durations retune": [(sluice.usecases.retune, "_retune", durations_of_unknown)],
    "a retune writes every policy": [(sluice.usecases.retune, "_retune", every_policy_at_once)],
    "a retune knows no factor": [(sluice.usecases.retune, "decide_target", no_factor)],
    "a state replaces one that it has not read": [(FakeStates, "_write", stores_always)],
    "the deadline engine acts on what it could not remember": [
        (sluice.usecases.deadline_ticks, "_remember", acts_on_all)
    ],
    "the deadline engine takes a lost state for an empty queue": [
        (sluice.usecases.deadline_ticks, "decide_scale", as_if_remembered)
    ],
    "an unknown reading counts as 0 for the deadline engine": [
        (sluice.usecases.deadline_ticks, "observe", zero_for_unknown)
    ],
    "the deadline engine acts in mode observe": [
        (
            sluice.usecases.deadline_ticks,
            "_act",
            lambda decided, *rest: scale(
                replace(decided, workload=replace(decided.workload, mode=Mode.ACTIVE)), *rest
            ),
        )
    ],
    "the deadline engine ends instances that work": [(decision._Plan, "occupied", 0)],
    "one empty reading is enough for the deadline engine": [(decision, "_is_empty_twice", lambda _: True)],
    "the deadline engine scales although that is held": [(decision, "blocked_by", lambda *_: None)],
    "the deadline engine knows no bounds": [(decision, "_within_bounds", lambda _, wanted: (wanted, ()))],
    "a stale tick below a minute works": [
        (sluice.usecases.deadline_ticks, "STALE_AFTER", timedelta(hours=1))
    ],
    "an hour is learned from twice": [(sluice.usecases.learn, "_learn", learned_by(an_hour_earlier))],
    "what was learned before counts as nothing if it cannot be read": [
        (
            sluice.usecases.learn,
            "_learn",
            learned_by(lambda _, stored: None if isinstance(stored, Unknown) else stored),
        )
    ],
    "a damaged item is learned into": [
        (
            sluice.usecases.learn,
            "_learn",
            learned_by(lambda _, stored: stored if getattr(stored, "problem", None) is None else None),
        )
    ],
    "waits that cannot be read count as short": [(sluice.usecases.learn, "_waits", unread_waits_are_short)],
    "any late message raises the margin": [(learning, "_margin", any_late_message_raises)],
    "the margin has no lower bound": [(learning, "MIN_MARGIN_TICKS", -99.0)],
    "the margin has no upper bound": [(learning, "MAX_MARGIN_SHARE", 99.0)],
    "the margin falls as far as it can at once": [(learning, "STEP_DOWN_S", 1000.0)],
    "the margin rises as far as it can at once": [(learning, "MAX_RAISE_S", 1000.0)],
    "a processing time that cannot be is planned with": [(learning, "MAX_FACTOR", 1e12)],
    "the deadline engine gives up a workload after a silence": [
        (sluice.usecases.deadline_ticks, "_stored", left_alone_after_a_silence)
    ],
    "the deadline engine keeps what another has raised": [
        (sluice.usecases.deadline_ticks, "decide_scale", keeps_what_another_has_raised)
    ],
    "the deadline engine ends instances that have just been launched": [(decision._Plan, "expected", 0)],
    "boots that failed are measured": [(memory, "booting_launches", every_boot_ends_well)],
    "every launch counts as one from the warm pool": [
        (module, "launches_at", all_from_the_warm_pool) for module in (boots, decision)
    ],
    "a warm pool that cannot be read counts as full": [
        (sluice.usecases.deadline_ticks, "_with_warm_pools", unread_pools_are_full)
    ],
    "the fallback scales in": deployed_with(lambda policy: replace(policy, disable_scale_in=False)),
    "the fallback acts beside fresh points": deployed_with(
        rewritten("FILL(own, -1) >= 0", "FILL(own, -1) >= 1e12")
    ),
    "the fallback rests beside missing points": deployed_with(rewritten("FILL(own, -1)", "FILL(own, 0)")),
    "the fallback knows no bounds": [(tests.chaos.fallback.Target, "bounds", lambda _: (0, 99))],
    "a minimum is raised before its end is scheduled": [
        (sluice.usecases.surge, "_hold", raised_before_its_end_is_scheduled)
    ],
    "the raised minimum is taken for the one to restore": [
        (sluice.usecases.surge, "planned", restores_the_minimum_now)
    ],
    "the end of a surge leaves its minimum": [(sluice.usecases.surge, "ended", lambda *_: None)],
    "a surge that is ended meanwhile goes on": [(sluice.usecases.surge, "_leave_to_others", lambda *_: None)],
    "a surge lowers what is there": [(surge_plan, "_sized", sized_as_asked)],
    "a surge is put although scale-out is held": [(surge_plan, "blocked_by", lambda *_: "")],
    "a surge acts in any mode": [(sluice.usecases.surge_requests, "surge", surged_in_any_mode)],
    "a retune knows no bounds": [(target, "_bounded", lambda target_, _: (target_, ()))],
    "an old color is set to zero without a proof": [(sluice.usecases.switch, "_drained", always_drained)],
    "the workers have no time to learn that their color drains": [(switch, "SETTLING", timedelta(0))],
    "the proof counts what was before the workers were told": [
        (sluice.usecases.switch, "_told", told_when_the_step_began)
    ],
    "a switch holds nothing": [(sluice.usecases.switch, "held", lambda now, by=None: now)],
    "a switch leaves held what it has held": [(sluice.usecases.switch, "_thaw", lambda *_: None)],
    "the old color is let go while its alarms see the backlog of before": [
        (sluice.usecases.switch, "fades_in_s", lambda *_: 0)
    ],
    "AWS scales in the new color while the old one drains": [
        (sluice.usecases.switch, "growing", lambda of, now: switch.thawed(of, of.to, now))
    ],
    "the new color takes over with fewer instances than the old one has": [
        (sluice.usecases.switch, "_raised_with_the_old", lambda *rest: rest[-1])
    ],
    "the end of a switch leaves a color that receives nothing": [
        (FakeColors, "set_draining", never_told_to_receive)
    ],
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_default_share_detects_the_mutation(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, broken in MUTATIONS[mutation]:
        monkeypatch.setattr(module, name, broken)
    _, failed = reached_by(DEFAULT_SHARE)
    assert failed is not None
