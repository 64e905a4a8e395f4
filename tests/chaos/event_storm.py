"""An interleaving: steps one after another, and steps that happen inside a handler's calls.

Delivers events to the real use cases, and counts which kinds of step and decision were reached. Raises
AssertionError between steps, as soon as an invocation has violated a safety rule or liveness.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import Backlog, BusyInstances, Kind, LearningDecision, Published, Unknown, Workload
from sluice.events import SurgeRequest
from sluice.ports import Counter
from sluice.usecases.alarms import (
    on_bootstrap_alarm,
    on_shutdown_alarm,
)
from sluice.usecases.deadline_ticks import serve_deadline_ticks
from sluice.usecases.retune import retune_targets
from sluice.usecases.surge_requests import on_surge_event
from sluice.usecases.tick import publish_backlog
from tests.chaos.actions import floor_of, is_shorter_than_a_boot
from tests.chaos.audit import amount, audit
from tests.chaos.cloud import CRITICAL, PLANE, Cloud, Delays, Event
from tests.chaos.fallback import Fallback
from tests.chaos.faults import STEPS, repair, repair_plane
from tests.chaos.invocation import Invocation
from tests.chaos.liveness import Liveness
from tests.chaos.minimums import MAX_LATE
from tests.chaos.steps import Step, arrive, asked_surge, drain

MAX_DEPTH = 3
"""Nested handlers: one running, one inside its calls, one inside those."""
TOO_SOON = "a tick that cannot read the point before its own yet"
LATE_SHUTDOWN = "a shutdown by a tick that came after its minute"
TAKEN_OVER = "a fleet that the engine scales after the fallback raised it"
COLD, WARM = "cold boots measured and reported", "boots from a warm pool measured and reported"
COUNTED, UNCOUNTED, NONE_ARRIVE, NOT_RENEWED = (
    "arrivals that are counted",
    "arrivals that are unknown",
    "arrivals of nothing",
    "arrivals, processing times or targets that an earlier tick read",
)
HANDED_BACK = "minimums that AWS put back after a surge"
MINUTES_TO_LOWER = 5
"""After which the arrivals before them keep no instance."""
CACHE_MINUTES = 6
"""After which the cached registry, at most five minutes old, equals the documents."""


@dataclass
class EventStorm:
    """Some workloads, and the events that happen to them in any order."""

    workloads: tuple[Workload, ...]
    delays: Delays = field(default_factory=Delays)
    cloud: Cloud = field(init=False)
    liveness: Liveness = field(init=False)
    fallback: Fallback = field(init=False)
    running: list[Invocation] = field(default_factory=list)
    """The running handlers. The last one is the innermost, which makes the calls."""
    pending_steps: list[tuple[int, Step]] = field(default_factory=list)
    """(calls that pass first, the step that then happens inside a handler)."""
    timeline: list[tuple[str, datetime, str, object]] = field(default_factory=list)
    """(workload, when, what, details) of every act, decision and point."""
    last_tick: Event | None = None
    reached: collections.Counter[str] = field(default_factory=collections.Counter)
    """How often each kind of step, decision, limit and failure occurred."""

    def __post_init__(self) -> None:
        self.cloud = Cloud(self.workloads, self.delays)
        self.liveness = Liveness(self.cloud)
        self.fallback = Fallback(self.cloud)
        self.cloud.account.calls.between = self._run_pending_step

    # --- steps --------------------------------------------------------------------------------------------

    def run_step(self, step: Step) -> None:
        """Run one step, and check every invocation that it starts."""
        self.reached[f"step: {step.what}"] += 1
        served = self._served(step)
        if step.what in STEPS:
            STEPS[step.what](self.cloud, served, step.amount)
            if step.what == "minute without tick":  # AWS's own policies run without it
                self._run_fallback()
        else:
            self._deliveries()[step.what](step)
        self._hand_back()

    def _hand_back(self) -> None:
        """AWS executes the scheduled actions that are due, and every raised minimum has one that is not."""
        minimums = self.cloud.minimums
        minimums.hand_back()
        self.reached[HANDED_BACK] = minimums.handed_back
        if not self.running:
            minimums.settle()
        self._check_minimums()

    def _check_minimums(self) -> None:
        if any(one.meets_others for one in self.running):
            return  # the last of them corrects what the others have done
        violations = list(self.cloud.minimums.violations())
        if self.running:
            self.running[-1].violations += violations
        else:
            assert not violations, "\n".join(violations)

    def _deliveries(self) -> dict[str, Callable[[Step], None]]:
        return {
            "minute": lambda _: self.minute(),
            "deliver": lambda step: self._deliver(self._events_for(step), step.amount, keep=False),
            "deliver again": lambda step: self._deliver(self._events_for(step), step.amount, keep=True),
            "deliver a tick": lambda step: self._deliver(
                self.cloud.undelivered[PLANE], step.amount, keep=False
            ),
            "tick again": lambda _: self._tick_again(),
            "tick below a minute": lambda step: self._tick_below_a_minute(step.amount, keep=False),
            "tick below a minute again": lambda step: self._tick_below_a_minute(step.amount, keep=True),
            "lose": self._lose,
            "swap": lambda step: self._events_for(step).reverse(),
            "run out of time": self._run_out_of_time,
            "surge": self._ask,
            "end surge": self._ask,
        }

    def _served(self, step: Step) -> Workload:
        return self.workloads[step.workload_index % len(self.workloads)]

    def _ask(self, step: Step) -> None:
        """An operator gives a command of a surge, which waits for the answer."""
        asked = None if step.what == "end surge" else asked_surge(step.amount)
        if len(self.running) < MAX_DEPTH:
            self.invoke(Event(surge=SurgeRequest(workload=self._served(step).name, asked=asked)))

    def _events_for(self, step: Step) -> list[Event]:
        owners = [PLANE, *(served.name for served in self.workloads)]
        return self.cloud.undelivered[owners[(step.workload_index + 1) % len(owners)]]

    def _deliver(self, events: list[Event], which: int, *, keep: bool) -> None:
        """Deliver one of the events, in any order, perhaps more than once."""
        if not events or len(self.running) >= MAX_DEPTH:
            return
        event = events[which % len(events)]
        if not keep:
            events.remove(event)
        self.invoke(event)

    def _tick_again(self) -> None:
        """The scheduler delivers a tick at least once, so perhaps again."""
        if self.last_tick and len(self.running) < MAX_DEPTH:
            self.invoke(self.last_tick)

    def _tick_below_a_minute(self, which: int, *, keep: bool) -> None:
        """SQS delivers one of the queued ticks, before others or not, perhaps once more."""
        queued = self.cloud.account.tick_queue.queued
        if queued and len(self.running) < MAX_DEPTH:
            due, body = queued[which % len(queued)]
            if not keep:
                queued.remove((due, body))
            self.invoke(Event(tick_below_a_minute=body))

    def _serve_due_ticks(self) -> None:
        """The rest of this minute passes, with the ticks that are due in it."""
        queue, clock = self.cloud.account.tick_queue, self.cloud.account.clock
        until = minute_of(clock()) + MINUTE
        due = sorted(each for each in queue.queued if each[0] < until)
        queue.queued = [each for each in queue.queued if each[0] >= until]
        for moment, body in due:
            if len(self.running) < MAX_DEPTH:
                clock.at = max(clock(), moment)
                self.invoke(Event(tick_below_a_minute=body))

    def _lose(self, step: Step) -> None:
        if events := self._events_for(step):
            events.pop(step.amount % len(events))

    def _run_out_of_time(self, _: Step) -> None:
        if self.running:
            self.running[-1].remaining = 0

    def minute(self) -> None:
        """An ordinary minute: its tick starts within it, with the scheduler's delay."""
        self._serve_due_ticks()
        event = self.cloud.next_minute()
        self._run_fallback()
        if len(self.running) < MAX_DEPTH and event.tick:
            self.cloud.undelivered[PLANE].remove(event)
            self.cloud.account.clock.advance(seconds=self.cloud.lateness_s(event.tick))
            self.invoke(event)

    def _run_fallback(self) -> None:
        for what, violation in self.fallback.evaluate(minute_of(self.cloud.account.clock())):
            self.reached[what] += 1
            if violation and self.running:
                self.running[-1].violations.append(violation)
            else:
                assert violation is None, violation

    def _run_pending_step(self) -> None:
        self._check_minimums()
        if not self.pending_steps or not self.running:
            return
        wait, step = self.pending_steps[0]
        if wait > 0:
            self.pending_steps[0] = (wait - 1, step)
            return
        self.pending_steps.pop(0)
        self.reached["inside a handler"] += 1
        self.liveness.snapshot()  # the handler itself may have acted since
        self.run_step(step)
        self.liveness.snapshot()

    # --- invocations --------------------------------------------------------------------------------------

    def invoke(self, event: Event) -> None:
        """Run the use case for the event."""
        self.liveness.snapshot()
        self.last_tick = event if event.tick else self.last_tick
        if event.tick:
            self.reached[TOO_SOON] += any(
                self.liveness.unreadable(served, event) for served in self.workloads
            )
        run, began = Invocation(self.cloud, event), self.liveness.moment
        proofs = self.liveness.proofs(event) if event.tick or event.alarm else {}
        if run.is_surge:
            for other in [one for one in self.running if one.is_surge]:
                run.meets_others = other.meets_others = True
        self.running.append(run)
        error: Exception | None = None
        try:
            _use_case(event, run)
        except Exception as failure:  # noqa: BLE001 - the audit checks it
            error = failure
        finally:
            self.running.pop()
        self.liveness.snapshot()
        audit(run, error)
        if event.tick is not None:
            run.violations += self.liveness.after_tick(run, began, proofs)
        if event.alarm is not None:
            run.violations += self.liveness.after_alarm(run, began, proofs)
        if error is not None and event.alarm and event.attempts > 1:  # Lambda retries later
            self.cloud.post(event.alarm.workload, replace(event, attempts=event.attempts - 1))
        self._record(run, error)
        if not self.running:
            self._hand_back()
        if self.running:
            self.running[-1].violations += run.violations  # raised when no handler runs any more
        else:
            assert not run.violations, "\n".join(run.violations)

    def _record(self, run: Invocation, error: Exception | None) -> None:
        now = self.cloud.account.clock()
        for decision, outcome in run.report.decisions:
            self.reached[f"{decision.kind} {outcome}: {decision.reason.name}"] += 1
            self.reached.update(f"limit: {limit.name}" for limit in decision.limits)
            self.reached[f"{decision.kind} {outcome} by {decision.trigger}"] += 1
            asked = (decision.trigger, decision.reason, amount(decision))
            boots = decision.boots if isinstance(decision, LearningDecision) else ()
            self.reached.update(WARM if boot.warm else COLD for boot in boots)
            self.timeline.append((decision.workload, now, f"{decision.kind} {outcome}", asked))
        for name, counter, reason in run.report.failures:
            self.reached[f"failure: {counter}"] += 1
            self.timeline.append((name, now, counter, reason))
        for action in run.actions:
            self.timeline.append(
                (action.workload, now, f"{action.kind} asked", (action.amount, action.taken))
            )
            if action.kind is Kind.SCALE and action.taken and action.workload in self.fallback.raised:
                self.fallback.raised.remove(action.workload)
                self.reached[TAKEN_OVER] += 1
        for name, points in (run.published or {}).items():
            what = {point.metric.name: point.value for point in points}
            self.timeline.append((name, now, "published", (points[0].at, what)))
        for published in run.report.published.values():
            self._record_arrivals(published)
        self.reached.update(f"noted: {counter}" for counter in run.report.counts)
        if run.event.tick and run.began_at - run.event.tick >= MINUTE:
            self.reached[LATE_SHUTDOWN] += any(action.kind is Kind.SHUTDOWN for action in run.actions)
        self.reached["invocations"] += 1
        self.reached["bootstraps that overwrote a higher count"] += run.overwrote
        if error is not None:
            self.reached["invocations that failed"] += 1

    def _record_arrivals(self, published: Published) -> None:
        demand = published.demand
        if isinstance(demand, Unknown):
            self.reached[UNCOUNTED] += 1
        elif demand is not None:
            self.reached[COUNTED if demand.load.arrivals_per_s else NONE_ARRIVE] += 1
            self.reached[NOT_RENEWED] += bool(demand.not_renewed)

    # --- the end ------------------------------------------------------------------------------------------

    def end_and_check(self) -> None:
        """Repair every fault; check that a message starts each fleet, and an empty queue shuts it down."""
        self.pending_steps.clear()
        self.cloud.undelivered.clear()
        self.cloud.account.tick_queue.queued.clear()
        self._end_surges()
        for served in self.workloads:
            repair(self.cloud, served, 1)
            arrive(self.cloud, served, 1)
        repair_plane(self.cloud, self.workloads[0], 1)
        self.cloud.account.clock.advance(minutes=CACHE_MINUTES)
        recorded_before = len(self.timeline)
        for _ in range(2):
            self.minute()
        for served in self.workloads:
            assert self.cloud.capacity(served).desired > 0, (
                f"{served.name} is still at zero after two healthy ticks"
            )
        self._check_engine_takes_over()
        for served in self.workloads:
            drain(self.cloud, served, 1)
        self.cloud.account.fleets.settle()
        idle_minutes = max(self.cloud.document(served).idle_minutes for served in self.workloads)
        for _ in range(idle_minutes + 2 + self.delays.unreadable_in_a_row):
            self.minute()
        for served in self.workloads:
            capacity, stored = self.cloud.capacity(served), self.cloud.account.states.stored.get(served.name)
            floor = floor_of(served, stored, self.cloud.account.clock())
            assert floor is not None
            lowest = max(served.bounds.min, floor)
            assert capacity.desired == lowest, f"{served.name} is still at {capacity}, its floor is {floor}"
        failures = [logged for logged in self.timeline[recorded_before:] if isinstance(logged[2], Counter)]
        assert not failures, f"failures although every fault is repaired: {failures}"
        self.reached["interleavings"] += 1

    def _end_surges(self) -> None:
        """Let AWS end every surge."""
        stored = [each for own in self.cloud.account.surges.stored.values() for each in own.values()]
        clock = self.cloud.account.clock
        clock.at = max([clock.at, *(each.until + MAX_LATE for each in stored)])
        self._hand_back()
        assert not any(self.cloud.account.surges.stored.values())

    def _check_engine_takes_over(self) -> None:
        """The engine lowers a fleet that something else has raised, while a message is in flight."""
        lowered = [served for served in self.workloads if self._lowers_at_once(served)]
        for served in lowered:
            self.cloud.change(served, desired=served.bounds.max, running=served.bounds.max)
            self.cloud.account.queues.backlogs[served.queue_url] = Backlog(visible=0, in_flight=1, delayed=0)
        for _ in range(MINUTES_TO_LOWER if lowered else 0):
            self.minute()
        for served in filter(self._lowers_at_once, lowered):  # a boot measured meanwhile may ask for a floor
            capacity = self.cloud.capacity(served)
            needed = max(2, served.bounds.min)  # the message, and one for the rate at which such end
            assert capacity.desired <= needed, f"the engine left {served.name} at {capacity} for one message"

    def _lowers_at_once(self, served: Workload) -> bool:
        """Whether the engine holds no floor, and may end idle instances without waiting."""
        deadline, stored = served.deadline, self.cloud.account.states.stored.get(served.name)
        if deadline is None or deadline.busy_instances is BusyInstances.UNPROTECTED:
            return False
        return not is_shorter_than_a_boot(served, stored)


def _use_case(event: Event, run: Invocation) -> None:
    if event.tick_below_a_minute is not None:
        serve_deadline_ticks([event.tick_below_a_minute], run.ports, run.report, run.remaining_s)
    elif event.tick is not None:
        publish_backlog(event.tick, run.ports, run.report, run.remaining_s)
    elif event.retune is not None:
        retune_targets(event.retune, run.ports, run.report, run.remaining_s)
    elif event.surge is not None:
        on_surge_event(event.surge, run.ports, run.report, run.remaining_s)
    elif event.alarm is not None and event.alarm.name.endswith(CRITICAL):
        on_surge_event(event.alarm, run.ports, run.report, run.remaining_s)
    elif event.alarm is not None:
        bootstraps = event.alarm.name.endswith("bootstrap")
        on_alarm = on_bootstrap_alarm if bootstraps else on_shutdown_alarm
        on_alarm(event.alarm, run.ports, run.report, run.remaining_s)
