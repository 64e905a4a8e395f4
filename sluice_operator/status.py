"""Reads what `sluice status` shows: every workload, or some, in as few calls as AWS allows."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sluice.core.model import (
    BACKLOG_PER_INSTANCE,
    EFFECTIVE_BACKLOG_PER_INSTANCE,
    Backlog,
    Metric,
    Observation,
    StaticTarget,
    Unknown,
    Workload,
)
from sluice.core.pause import Pause
from sluice.core.schedules import InForce
from sluice.errors import ConfigError, SluiceError
from sluice.ports import Ports, Registered, Registry, RemainingS, Series, SeriesQuery, StoredState
from sluice.usecases.learn import SAMPLES, in_time
from sluice.usecases.observe import observe
from sluice.usecases.published_backlog import published_metric
from sluice_operator.aws.decisions import LoggedDecisions
from sluice_operator.core.conditions import Condition, conditions, refused
from sluice_operator.core.readings import LoggedDecision, Point, Readings, Starts, promise_s
from sluice_operator.core.schedules import schedule_in_force

MINUTE_S, STARTS_PERIOD_S = 60, 300
RECENT = timedelta(minutes=10)
HOUR = timedelta(hours=1)
RATE_OVER = timedelta(minutes=5)
SQS_METRICS_DELAY = timedelta(minutes=2)
"""SQS's metrics of a minute can be read one to three minutes after its start (observed)."""
DECISIONS_SINCE = timedelta(hours=6)
"""Logs Insights bills by the bytes it scans."""
KINDS_OF_READS = 6
"""Queues and fleets, two spans of metrics, targets, states and decisions: each has a thread that waits."""
METRICS_KEPT_S = 60
"""GetMetricData is billed by the metric and has a new value a minute: `--watch` asks no more often."""


class NotRegisteredError(ConfigError):
    """A workload was asked for that is not registered; `known` has the names of those that are."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.known = known
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        meant = f"did you mean {' or '.join(near)}?" if near else "`sluice status` lists all that are"
        super().__init__(f"{name}: no such workload is registered: {meant}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadStatus:
    """One workload: what was read and its conditions; without readings if its document is refused."""

    name: str
    readings: Readings | None
    conditions: tuple[Condition, ...]

    @property
    def wrong(self) -> bool:
        """Whether a condition is wrong."""
        return any(condition.wrong for condition in self.conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metrics:
    """What is billed by the metric or the byte, and renewed once a minute."""

    at: datetime
    names: frozenset[str]
    recent: Mapping[str, Series | Unknown]
    hour: Mapping[str, Series | Unknown]
    targets: Mapping[str, float | Unknown]
    states: Mapping[str, StoredState | Unknown | None]
    decisions: Mapping[str, LoggedDecision | Unknown | None]


class StatusReader:
    """Reads the status of workloads; repeated reads renew the metrics once a minute."""

    def __init__(
        self,
        ports: Ports,
        decisions: LoggedDecisions,
        aws_holds: Callable[[Workload, Pause], bool] = lambda *_: True,
    ) -> None:
        self._ports, self._decisions, self._aws_holds = ports, decisions, aws_holds
        self._metrics: _Metrics | None = None

    def read(
        self,
        names: Sequence[str],
        remaining_s: RemainingS,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> list[WorkloadStatus]:
        """These workloads, or all without names; raises ConfigError for a name that is not registered."""
        on_step("reading the registry")
        chosen = chosen_workloads(self._ports.registry, names, remaining_s)
        served = chosen.served
        on_step(f"reading the queues, fleets and metrics of {len(served)} workloads")
        pool = ThreadPoolExecutor(KINDS_OF_READS)
        try:
            observing = pool.submit(observe, self._ports, served.values(), remaining_s)
            metrics = self._renewed(pool, served, remaining_s)
            observed = observing.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        now = self._ports.now()
        found = []
        for name in chosen.names:
            if name not in served:
                reason = refused(chosen.refused[name])
                found.append(WorkloadStatus(name=name, readings=None, conditions=reason))
                continue
            read = self._with_pause(_readings(served[name], observed[name], metrics, now), metrics)
            read = self._with_surge(read, now)
            found.append(WorkloadStatus(name=name, readings=read, conditions=conditions(read, now)))
        return found

    def _with_pause(self, readings: Readings, metrics: _Metrics) -> Readings:
        """With the pause in force, and whether AWS holds its policy for it: a call or two for each pause."""
        stored = metrics.states[readings.workload.name]
        if isinstance(stored, Unknown):
            return replace(readings, pause=stored, switch=stored)
        if stored:
            readings = replace(readings, switch=stored.switch)
        if stored and readings.workload.guard is not None:
            readings = replace(readings, guard=stored.guard_in_force(self._ports.now()))
        pause = stored.in_force(self._ports.now()) if stored else None
        if pause is None:
            return readings
        try:
            holds: bool | Unknown = self._aws_holds(readings.workload, pause)
        except SluiceError as failure:
            holds = Unknown(reason=str(failure))
        return replace(readings, pause=pause, aws_holds=holds)

    def _with_surge(self, readings: Readings, now: datetime) -> Readings:
        """With the surge in force: a call for each fleet whose minimum is above the owner's."""
        capacity, fleet = readings.observation.capacity, readings.workload.fleet
        surges = self._ports.surges
        if surges is None or isinstance(capacity, Unknown) or capacity.bounds is None:
            return readings
        held = schedule_in_force(readings.workload, now)
        usual = held.schedule if isinstance(held, InForce) else readings.workload
        if capacity.bounds.min <= usual.bounds.min:
            return readings
        try:
            return replace(readings, surge=surges.read(fleet).in_force(now))
        except SluiceError as failure:
            return replace(readings, surge=Unknown(reason=str(failure)))

    def _renewed(
        self, pool: Executor, workloads: Mapping[str, Workload], remaining_s: RemainingS
    ) -> _Metrics:
        """The metrics of this minute, each kind read beside the others."""
        now, ports, kept = self._ports.now(), self._ports, self._metrics
        if (
            kept is not None
            and kept.names == workloads.keys()
            and (now - kept.at).total_seconds() < METRICS_KEPT_S
        ):
            return kept
        tracking = {
            name: workload
            for name, workload in workloads.items()
            if workload.policy_arn and not workload.deadline
        }
        recent = {
            f"{name} {what}": SeriesQuery(metric=metric, statistic=statistic, period_s=MINUTE_S)
            for name, workload in workloads.items()
            for what, (metric, statistic) in _recent_queries(ports, workload).items()
        }
        hour = {
            f"{name} {statistic}": SeriesQuery(
                metric=workload.wait_metric, statistic=statistic, period_s=STARTS_PERIOD_S
            )
            for name, workload in workloads.items()
            if (promised_s := promise_s(workload)) is not None
            for statistic in (in_time(promised_s), SAMPLES)
        }
        end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        since = now - DECISIONS_SINCE
        recent_read = pool.submit(ports.metrics.read, recent, end - RECENT, end, remaining_s)
        hour_read = pool.submit(ports.metrics.read, hour, end - HOUR, end, remaining_s)
        targets = pool.submit(ports.policies.targets, tracking, remaining_s)
        states = pool.submit(_states, ports, list(workloads), remaining_s)
        decisions = pool.submit(self._decisions.latest, list(workloads), since, now, remaining_s)
        self._metrics = _Metrics(
            at=now,
            names=frozenset(workloads),
            recent=recent_read.result(),
            hour=hour_read.result(),
            targets=targets.result(),
            states=states.result(),
            decisions=decisions.result(),
        )
        return self._metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenWorkloads:
    """The workloads that a command is about."""

    names: Sequence[str]
    served: Mapping[str, Workload]
    """Those of them that may be served, by name."""
    refused: Mapping[str, str]
    """Name of each workload that is not served -> the reason."""


def chosen_workloads(registry: Registry, names: Sequence[str], remaining_s: RemainingS) -> ChosenWorkloads:
    """These workloads, or all without names; raises ConfigError for a name that is not registered."""
    registered = registry.all(remaining_s, fresh=True)
    chosen = chosen_names(registered, names)
    served = {workload.name: workload for workload in registered.workloads if workload.name in chosen}
    return ChosenWorkloads(names=chosen, served=served, refused=registered.refused)


def chosen_names(registered: Registered, names: Sequence[str]) -> list[str]:
    """These names, or all registered without any; raises NotRegisteredError for one that is not."""
    known = sorted({workload.name for workload in registered.workloads} | registered.refused.keys())
    for name in names:
        if name not in known:
            raise NotRegisteredError(name, known)
    return list(dict.fromkeys(names)) or known


def registered_workload(registry: Registry, name: str, remaining_s: RemainingS) -> Workload:
    """The registered workload of this name; raises ConfigError for one that is absent or refused."""
    registered = registry.all(remaining_s, fresh=True)
    chosen_names(registered, [name])
    if name in registered.refused:
        raise ConfigError("; ".join(each.message for each in refused(registered.refused[name]) if each.wrong))
    [workload] = [each for each in registered.workloads if each.name == name]
    return workload


def _states(
    ports: Ports, names: Sequence[str], remaining_s: RemainingS
) -> Mapping[str, StoredState | Unknown | None]:
    if not names:
        return {}
    if ports.states is None:
        reason = "the control plane's stack has no output EngineStateTable: update it to this release"
        return dict.fromkeys(names, Unknown(reason=reason))
    return ports.states.read(names, remaining_s)


def _recent_queries(ports: Ports, workload: Workload) -> Mapping[str, tuple[Metric, str]]:
    """What is read by the minute, by its name in `_readings`."""
    queries = {
        "published": (published_metric(ports, workload, BACKLOG_PER_INSTANCE), "Maximum"),
        "age": (workload.queue_metric("ApproximateAgeOfOldestMessage"), "Maximum"),
        "sent": (workload.queue_metric("NumberOfMessagesSent"), "Sum"),
        "deleted": (workload.queue_metric("NumberOfMessagesDeleted"), "Sum"),
    }
    if workload.publishes_effective:
        effective = published_metric(ports, workload, EFFECTIVE_BACKLOG_PER_INSTANCE)
        queries["effective"] = (effective, "Maximum")
    return queries


def _readings(workload: Workload, observation: Observation, metrics: _Metrics, now: datetime) -> Readings:
    def series(what: str) -> Series | Unknown:
        return metrics.recent[f"{workload.name} {what}"]

    age, published = newest_point(series("age")), newest_point(series("published"))
    tracked = newest_point(series("effective")) if workload.publishes_effective else published
    return Readings(
        workload=workload,
        observation=observation,
        # SQS's metric is a minute or two old: the oldest message of a queue that is empty now has gone.
        oldest_age_s=None if _is_empty(observation) else age.value if isinstance(age, Point) else age,
        backlog_per_instance=published,
        tracked=None if workload.deadline else tracked,
        target=_target(workload, metrics.targets),
        margin_s=_margin_s(workload, metrics.states),
        arrivals_per_s=_per_s(series("sent"), now),
        deletions_per_s=_per_s(series("deleted"), now),
        starts=_starts(workload, metrics.hour),
        last_decision=metrics.decisions[workload.name],
    )


def _is_empty(observation: Observation) -> bool:
    return isinstance(observation.backlog, Backlog) and not observation.backlog.total


def newest_point(series: Series | Unknown) -> Point | Unknown | None:
    """The newest value of the series; None if it has none."""
    if isinstance(series, Unknown):
        return series
    if not series:
        return None
    at = max(series)
    return Point(at=at, value=series[at])


def _target(workload: Workload, targets: Mapping[str, float | Unknown]) -> float | Unknown | None:
    """The policy's; without one, that of the settings."""
    if workload.deadline is not None:
        return None
    if workload.name in targets:
        return targets[workload.name]
    target = workload.target
    return target.messages_per_instance if isinstance(target, StaticTarget) else None


def _margin_s(
    workload: Workload, states: Mapping[str, StoredState | Unknown | None]
) -> float | Unknown | None:
    if workload.deadline is None:
        return None
    stored = states[workload.name]
    if isinstance(stored, Unknown):
        return stored
    return stored.learned.margin_s if stored and stored.learned else workload.deadline.margin_s


def _per_s(series: Series | Unknown, now: datetime) -> float | Unknown | None:
    """The mean over the last full minutes that can be read; None if AWS has no data point of them."""
    if isinstance(series, Unknown):
        return series
    end = now.replace(second=0, microsecond=0) - SQS_METRICS_DELAY
    counts = [count for at, count in series.items() if end - RATE_OVER <= at < end]
    return math.fsum(counts) / RATE_OVER.total_seconds() if counts else None


def _starts(workload: Workload, hour: Mapping[str, Series | Unknown]) -> Starts | Unknown | None:
    promised_s = promise_s(workload)
    if promised_s is None:
        return None
    percent, samples = hour[f"{workload.name} {in_time(promised_s)}"], hour[f"{workload.name} {SAMPLES}"]
    if isinstance(percent, Unknown):
        return percent
    if isinstance(samples, Unknown):
        return samples
    messages = math.fsum(count for at, count in samples.items() if at in percent)
    if not messages:
        return None
    in_time_messages = math.fsum(count * percent[at] / 100 for at, count in samples.items() if at in percent)
    return Starts(messages=messages, in_time_share=min(in_time_messages / messages, 1.0))
