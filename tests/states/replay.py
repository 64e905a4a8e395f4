"""The real use cases, one call at a time: an invocation is what started it and the answers that it has had.

`next_call` runs the use case from its beginning over ports that give those answers, up to the first call
without one. A use case decides by nothing else, so the same answers lead to the same call, which is
computed once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NoReturn

from sluice.core.minutes import MINUTE
from sluice.core.model import (
    AnyDecision,
    Backlog,
    Bounds,
    Capacity,
    DataPoint,
    Fleet,
    StaticTarget,
    Unknown,
    Workload,
)
from sluice.core.pause import BOTH, Direction, Pause
from sluice.core.surge import Asked, ScheduledActions, Surge
from sluice.errors import ConfigError, SluiceError, TransientError
from sluice.events import SurgeRequest
from sluice.ports import NO_TICK_S, Outcome, Ports, RemainingS, Series, SeriesQuery, StoredState
from sluice.usecases import alarms, surge_requests, tick
from tests.states.model import IDLE_MINUTES, SURGES, Answer, Kind, StoredSurge
from tests.support.builders import MINUTE_NOW as NOW
from tests.support.builders import alarm, plenty, workload
from tests.support.fakes import FakePolicies, FakeRegistry, RecordingReport

NAME = "transcription"
HOLD_S = 300
"""The shortest that a surge holds."""
FAILED = Unknown(reason="AWS does not answer")
PAUSES = {"in": frozenset({Direction.IN}), "out": frozenset({Direction.OUT}), "both": BOTH}


@dataclass(frozen=True)
class Call:
    """What an invocation asks AWS next; `detail` in minutes since the invocation began."""

    name: str
    detail: Any = None

    @property
    def changes(self) -> bool:
        """Whether it changes anything that others see."""
        return self.name in ("publish", "set_desired", "schedule_end", "cancel", "set_minimum")


@dataclass(frozen=True)
class End:
    """How an invocation has ended."""

    decisions: tuple[tuple[AnyDecision, Outcome], ...]
    error: Exception | None


class _Unanswered(BaseException):
    def __init__(self, call: Call) -> None:
        self.call = call


@cache
def served(minimum: int, instances: int) -> Workload:
    """One instance for each message, so that a wrong count shows as a wrong size."""
    return workload(
        NAME,
        min_instances=minimum,
        max_instances=instances,
        bootstrap="backlog",
        idle_minutes=IDLE_MINUTES,
        target=StaticTarget(messages_per_instance=1),
    )


@cache
def next_call(kind: Kind, answers: tuple[Answer, ...], minimum: int, instances: int) -> Call | End:
    """The call that comes after these answers, or the end."""
    script, report = _Script(answers), RecordingReport()
    document = served(minimum, instances)
    error = None
    try:
        _run(kind, script.ports(document), report)
    except _Unanswered as unanswered:
        return unanswered.call
    except SluiceError as failure:
        error = failure
    return End(decisions=tuple(report.decisions), error=error)


def _run(kind: Kind, ports: Ports, report: RecordingReport) -> None:
    match kind:
        case Kind.TICK:
            tick.publish_backlog(NOW, ports, report, plenty)
        case Kind.LATE_TICK:
            tick.publish_backlog(NOW - MINUTE, ports, report, plenty)
        case Kind.BOOTSTRAP_ALARM:
            alarms.on_bootstrap_alarm(alarm("bootstrap", NAME), ports, report, plenty)
        case Kind.SHUTDOWN_ALARM:
            alarms.on_shutdown_alarm(alarm("shutdown", NAME), ports, report, plenty)
        case _:
            by, to = SURGES[kind]
            asked = Asked(by=by, hold_s=HOLD_S, to=to) if to else None
            surge_requests.on_surge_event(SurgeRequest(workload=NAME, asked=asked), ports, report, plenty)


class _Script:
    """The answers of one invocation, in order."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers, self.given, self.minute = answers, 0, 0

    def ask(self, name: str, detail: object = None) -> Any:
        if self.given == len(self.answers):
            raise _Unanswered(Call(name, detail))
        answer = self.answers[self.given]
        assert answer.call == name, f"{name} is asked where {answer} was given"
        self.given, self.minute = self.given + 1, answer.minute
        return answer.value

    def change(self, name: str, detail: object) -> None:
        match self.ask(name, detail):
            case "done":
                return
            case "refused":
                raise ConfigError(f"ValidationError: AWS refuses {name} {detail}")
            case lost:
                raise TransientError(f"{name} {detail}: {lost}")

    def now(self) -> datetime:
        return NOW + MINUTE * self.minute

    def ports(self, document: Workload) -> Ports:
        return Ports(
            queues=_Queues(self),
            fleets=_Fleets(self, document),
            metrics=_Metrics(self),
            policies=FakePolicies(),
            registry=FakeRegistry(registered={document.name: document}),
            namespace="Sluice",
            now=self.now,
            states=_States(self),  # type: ignore[arg-type]
            surges=_Surges(self),
        )


def since_start(moment: datetime) -> int:
    return (moment - NOW) // MINUTE


@dataclass
class _Queues:
    script: _Script

    def read(self, queue_urls: Collection[str], remaining_s: RemainingS) -> Mapping[str, Backlog | Unknown]:
        counts = self.script.ask("queue")
        found = FAILED if counts is None else Backlog(visible=counts[0], in_flight=counts[1], delayed=0)
        return dict.fromkeys(queue_urls, found)

    def send(self, queue_url: str, bodies: Sequence[str]) -> NoReturn:
        raise AssertionError(f"sent {bodies} to {queue_url}")


@dataclass
class _Fleets:
    script: _Script
    document: Workload

    def read(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, Capacity | Unknown]:
        return dict.fromkeys(fleets, capacity_of(self.script.ask("fleet"), self.document))

    def set_desired(self, fleet: Fleet, instances: int) -> None:
        self.script.change("set_desired", instances)


def capacity_of(counts: tuple[int, int, int] | None, document: Workload) -> Capacity | Unknown:
    if counts is None:
        return FAILED
    desired, running, minimum = counts
    return Capacity(desired=desired, running=running, bounds=Bounds(min=minimum, max=document.bounds.max))


@dataclass
class _Metrics:
    script: _Script

    def publish(self, points: Mapping[str, Sequence[DataPoint]]) -> Mapping[str, str]:
        for point in points.get(NAME, ()):
            self.script.change("publish", (since_start(point.at), point.value))
        return {}

    def read(
        self, queries: Mapping[str, SeriesQuery], start: datetime, end: datetime, remaining_s: RemainingS
    ) -> Mapping[str, Series | Unknown]:
        found = self.script.ask("proof", (since_start(start), since_start(end)))
        if found is None:
            return dict.fromkeys(queries, FAILED)
        series = {NOW + MINUTE * minute: float(value) for minute, value in found}
        return dict.fromkeys(queries, series)


@dataclass
class _States:
    script: _Script

    def read(
        self, workloads: Collection[str], remaining_s: RemainingS
    ) -> Mapping[str, StoredState | Unknown | None]:
        held = self.script.ask("pause")
        return dict.fromkeys(workloads, FAILED if held is None else _stored(held))


@cache
def _stored(held: str) -> StoredState | None:
    if not held:
        return None
    pause = Pause(directions=PAUSES[held], by="alice", at=NOW - timedelta(hours=1))
    return StoredState(tick_s=NO_TICK_S, state=None, pause=pause)


@dataclass
class _Surges:
    script: _Script

    def read(self, fleet: Fleet) -> ScheduledActions:
        surges = tuple(map(_surge, self.script.ask("surges")))
        return ScheduledActions(surges=surges, taken=frozenset(each.until for each in surges))

    def schedule_end(self, fleet: Fleet, surge: Surge) -> None:
        self.script.change("schedule_end", _as_stored(surge))

    def cancel(self, fleet: Fleet, surge: Surge) -> None:
        self.script.change("cancel", _as_stored(surge))

    def set_minimum(self, fleet: Fleet, instances: int) -> None:
        self.script.change("set_minimum", instances)


def _surge(stored: StoredSurge) -> Surge:
    return Surge(
        workload=NAME,
        instances=stored.instances,
        until=NOW + MINUTE * stored.left,
        by=stored.by,
        minimum_before=stored.before,
    )


def _as_stored(surge: Surge) -> StoredSurge:
    return StoredSurge(surge.by, surge.instances, since_start(surge.until), surge.minimum_before)
