"""Decisions and failures as log lines, metrics and sentences.

Logs, the command and the simulator all take the sentences and the field names from here.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import partial
from traceback import walk_tb
from typing import Any, Self

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from sluice.core.model import (
    AnyDecision,
    Backlog,
    Capacity,
    Decision,
    Durations,
    Fleet,
    GuardDecision,
    Kind,
    LearningDecision,
    Observation,
    Published,
    Reason,
    TargetDecision,
    Unknown,
    Workload,
)
from sluice.decision_events import DecisionEvents, Unsent
from sluice.errors import SluiceError, attempt, failure_message
from sluice.ports import Counter, Outcome, RemainingS


def sentence(decision: AnyDecision, outcome: Outcome) -> str:
    """The decision as a sentence: what, why, and what limited it."""
    reason = decision.reason + (f" ({decision.detail})" if decision.detail else "")
    limits = f" [{'; '.join(decision.limits)}]" if decision.limits else ""
    return f"{_verdict(decision, outcome)}: {reason}{limits}{_boots(decision)}"


def fields(decision: AnyDecision, outcome: Outcome) -> dict[str, Any]:
    """The decision as flat log fields; a failed reading becomes the reason of its failure."""
    logged: dict[str, Any] = {
        "workload": decision.workload,
        "decision": decision.kind.value,
        "trigger": decision.trigger.value,
        "outcome": outcome.value,
        "reason": decision.reason.name.lower(),
        "limits": [limit.name.lower() for limit in decision.limits],
    }
    if isinstance(decision, LearningDecision):
        return logged | {
            "margin_s": decision.margin_s,
            "present_margin_s": decision.current_s,
            "processing_s": decision.processing_s,
            "variation": decision.variation,
            **{
                f"{'warm' if boot.warm else 'cold'}_boot_{statistic}_s": seconds
                for boot in decision.boots
                for statistic, seconds in (("mean", boot.mean_s), ("p90", boot.p90_s))
            },
        }
    if isinstance(decision, GuardDecision):
        return logged | {
            "engages": decision.engages,
            "until": None if decision.until is None else decision.until.isoformat(),
            "failed_percent": decision.failed_percent,
            "ended_messages": decision.ended_messages,
            "dead_letters_per_minute": decision.dead_letters_per_minute,
            "alarm": decision.alarm,
        }
    if isinstance(decision, Decision):
        return logged | {"desired": decision.desired} | observation_fields(decision.observation)
    return logged | {
        "target": decision.target,
        "present_target": decision.current,
        "processing": _processing(decision.durations),
    }


def observation_fields(observation: Observation) -> dict[str, Any]:
    """The observation as flat log fields."""
    backlog, capacity = observation.backlog, observation.capacity
    logged: dict[str, Any] = {}
    if isinstance(backlog, Backlog):
        logged |= asdict(backlog)
    else:
        logged["backlog_unknown"] = backlog.reason
    if isinstance(capacity, Capacity):
        logged |= {"desired_now": capacity.desired, "running": capacity.running}
        if capacity.bounds:
            logged |= {"fleet_min": capacity.bounds.min, "fleet_max": capacity.bounds.max}
    else:
        logged["capacity_unknown"] = capacity.reason
    return logged


def published_sentence(published: Published) -> str:
    """What a tick published, and the readings behind its share for arrivals."""
    plain, demand = f"{published.backlog_per_instance:g} per instance", published.demand
    if demand is None:
        return plain
    if isinstance(demand, Unknown):
        return f"{plain}; the backlog alone is tracked: {demand.reason}"
    load = demand.load
    effective = (
        f"{published.effective_per_instance:.4g} effective: {load.arrivals_per_s:.4g} arrivals/s "
        f"x {load.processing_s:.4g} s / {load.concurrency_per_instance:g} = {load.instances:.4g} busy"
    )
    return "; ".join((plain, effective, *demand.not_renewed))


def published_fields(published: Published) -> dict[str, Any]:
    """What a tick published, as flat log fields."""
    logged: dict[str, Any] = {"backlog_per_instance": published.backlog_per_instance}
    demand = published.demand
    if demand is None:
        return logged
    logged["effective_backlog_per_instance"] = published.effective_per_instance
    if isinstance(demand, Unknown):
        return logged | {"demand_unknown": demand.reason}
    load = demand.load
    return logged | {
        "arrivals_per_s": load.arrivals_per_s,
        "processing_s": load.processing_s,
        "offered_load_instances": load.instances,
        "target": demand.target_per_instance,
        "not_renewed": list(demand.not_renewed),
    }


def _processing(durations: Durations | Unknown) -> dict[str, Any]:
    if isinstance(durations, Unknown):
        return {"unknown": durations.reason}
    # JSON has no NaN, and Logs Insights cannot query a line that is not JSON.
    seconds = durations.seconds if math.isfinite(durations.seconds) else None
    return asdict(durations) | {"seconds": seconds}


def _boots(decision: AnyDecision) -> str:
    """The measured boot times, if any, as the end of a sentence."""
    if not isinstance(decision, LearningDecision) or not decision.boots:
        return ""
    kinds = [
        f"{'warm pool' if boot.warm else 'cold'} mean {boot.mean_s:.0f} s, p90 {boot.p90_s:.0f} s"
        for boot in decision.boots
    ]
    return f"; boots: {'; '.join(kinds)}"


def _verdict(decision: AnyDecision, outcome: Outcome) -> str:
    if isinstance(decision, LearningDecision) and decision.margin_s is None:
        return f"margin of {decision.current_s:g} s holds"
    would = {Outcome.OBSERVED: "would be ", Outcome.FAILED: "failed "}.get(outcome, "")
    if isinstance(decision, LearningDecision):
        return f"{would}margin {decision.current_s:g} -> {decision.margin_s:g} s"
    if isinstance(decision, GuardDecision):
        if decision.engages is None:
            return f"{decision.kind} stays as it is"
        verb = "hold" if decision.engages else "release"
        verdicts = {Outcome.OBSERVED: f"would {verb}", Outcome.FAILED: f"failed to {verb}"}
        return f"{decision.kind} {verdicts.get(outcome, f'{verb}s')} scale-out"
    if isinstance(decision, TargetDecision):
        if decision.target is None:
            return f"{decision.kind} holds"
        current = f"{decision.current:.4g} -> " if decision.current is not None else ""
        return f"{would}{decision.kind} {current}{decision.target:.4g} per instance"
    if decision.reason is Reason.SURGE_ENDED:
        return f"{decision.kind} ends"
    what = ", ".join(filter(None, (decision.kind, decision.subject)))
    if decision.kind is Kind.SWITCH and decision.desired is None:
        verbs = {Outcome.ACTED: "", Outcome.FAILED: " leaves work to do"}
        return f"{what}{verbs.get(outcome, ' holds')}"
    if decision.desired is None:
        return f"{what} holds"
    now = decision.observation.capacity
    before = f"{now.desired} -> " if isinstance(now, Capacity) else ""
    return f"{would}{what} {before}{decision.desired}"


def _origin(defect: Exception) -> tuple[object, ...]:
    """What identifies a defect, whichever workload meets it: its type, and the line that raised it."""
    if isinstance(defect, ExceptionGroup):
        return tuple(_origin(each) for each in defect.exceptions)
    frames = list(walk_tb(defect.__traceback__))
    where = (frames[-1][0].f_code.co_filename, frames[-1][1]) if frames else (id(defect),)
    return type(defect), *where


class PowertoolsReport:
    """Implements `ports.Report` with structured logs and embedded metrics.

    A context for one invocation: what makes it fail is logged and counted before it reaches Lambda. Either
    way the events of its decisions are sent, within what is left of its time, and the metrics are flushed.
    """

    def __init__(
        self,
        logger: Logger,
        metrics: Metrics,
        events: DecisionEvents | None,
        remaining_s: RemainingS,
    ) -> None:
        """`events` is None if nobody listens; `remaining_s` is the time for sending them."""
        self._logger, self._metrics = logger, metrics
        self._events, self._remaining_s = events, remaining_s
        self._defects: set[tuple[object, ...]] = set()
        self._has_counted = False

    @property
    def defects(self) -> int:
        """How many different defects were logged."""
        return len(self._defects)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, failure: BaseException | None, trace: object) -> None:
        if failure is not None:
            understood = isinstance(failure, SluiceError)
            self._logger.error(
                failure_message(failure),
                extra={"failure": Counter.INVOCATION_FAILED.value},
                exc_info=None if understood else failure,
            )
            self._count(Counter.INVOCATION_FAILED, 1)
        if self._events is not None:
            self._send(self._events)
        # Powertools warns where there is nothing to flush; most ticks of the deadline engine count nothing.
        if self._has_counted:
            self._metrics.flush_metrics()

    def decided(self, decision: AnyDecision, outcome: Outcome, fleet: Fleet) -> None:
        """One line per decision, with the readings behind it; an event at the end, if it is one."""
        text = sentence(decision, outcome)
        self._logger.info(text, extra=fields(decision, outcome))
        self._count(Counter.DECISIONS, 1)
        if self._events is not None:
            self._events.add(decision, outcome, fleet, text)

    def observed(self, workload: Workload, observation: Observation, published: Published) -> None:
        """One line per workload and tick."""
        self._logger.info(
            f"{workload.name}: {published_sentence(published)}",
            extra={"workload": workload.name, "mode": workload.mode.value}
            | published_fields(published)
            | observation_fields(observation),
        )

    def failed(
        self, workload: str, counter: Counter, reason: str, *, defect: Exception | None = None
    ) -> None:
        """One error line per failure; a defect that hits a hundred workloads shows its stack trace once."""
        trace = None if defect is None or _origin(defect) in self._defects else defect
        if trace is not None:
            self._defects.add(_origin(trace))
        self._logger.error(reason, extra={"workload": workload, "failure": counter.value}, exc_info=trace)
        self._count(counter, 1)

    def event(self, counter: Counter, what: str, count: int = 1) -> None:
        """One line about the control plane itself."""
        self._logger.info(f"{counter}: {what}", extra={"count": count})
        self._count(counter, count)

    def _send(self, events: DecisionEvents) -> None:
        """Send the events; whatever goes wrong is one error line, and harms nothing that was decided."""
        unsent = attempt(partial(events.send, self._remaining_s))
        if unsent is None:
            return
        if not isinstance(unsent, Unsent):
            unsent = Unsent(events=1, reason=Unknown(reason=failure_message(unsent), defect=unsent))
        self._logger.error(
            f"{unsent.events} events are not sent: {unsent.reason.reason}",
            extra={"failure": Counter.EVENTS_NOT_SENT.value, "count": unsent.events},
            exc_info=unsent.reason.defect,
        )
        self._count(Counter.EVENTS_NOT_SENT, unsent.events)

    def _count(self, counter: Counter, count: int) -> None:
        self._has_counted = True
        self._metrics.add_metric(name=counter.value, unit=MetricUnit.Count, value=count)
