"""From the command line of `sluice plan`, and what CloudWatch has, to the demand that is planned for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sluice.core.model import DynamicTarget, Workload
from sluice_cli.plan_history import HistoryReader, require_plausible
from sluice_cli.usage_errors import UsageError
from sluice_operator.core.demand import Arrivals, Demand
from sluice_sim.study.experiment import Generated
from sluice_sim.workloads import generators, traces

DEFAULT_NAME = "workload"
MAX_NAME_LENGTH = 64
"""workload.yaml's Name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The command line."""

    workload: str | None
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the environment."""
        chosen: str = self.options["name"] or self.workload or _as_name(self.options["queue_name"])
        return chosen

    @property
    def has_source(self) -> bool:
        """Whether anything says what arrives."""
        return any(self._sources().values())

    def require_one_source(self) -> None:
        """UsageError unless one thing says what arrives."""
        found = [name for name, is_given in self._sources().items() if is_given]
        if len(found) != 1:
            several = f"{' and '.join(found)} each say what arrives: give only one" if found else ""
            raise UsageError(
                several
                or "nothing says what arrives: give --arrivals 600000/day, --trace FILE, --queue NAME or a "
                "WORKLOAD"
            )

    def require_what_is_embedded(self) -> None:
        """UsageError for an option beside --embedded that the embedded account has no use for."""
        options = self.options
        if not options["embedded"]:
            return
        if options["profile"] or options["region"]:
            raise UsageError("--embedded reads no account of yours: leave --profile and --region out")
        if options["refresh_prices"]:
            raise UsageError("the embedded AWS has no price list: leave --embedded or --refresh-prices out")
        for name in ("--arrivals", "--trace"):
            if self._sources()[name]:
                raise UsageError(f"{name} reads no account: leave --embedded out")

    def _sources(self) -> dict[str, bool]:
        options = self.options
        return {
            "--arrivals": options["arrivals_per_s"] is not None,
            "--trace": options["trace"] is not None,
            "--queue": options["queue_name"] is not None,
            "WORKLOAD": self.workload is not None
            and all(options[each] is None for each in ("arrivals_per_s", "trace", "queue_name")),
        }


def _as_name(queue: str | None) -> str:
    """A workload's name for a queue's, which may have underscores and `.fifo`, and begin with a digit."""
    name = (queue or "").removesuffix(".fifo").replace("_", "-").lstrip("-0123456789")[:MAX_NAME_LENGTH]
    return name or DEFAULT_NAME


def arrivals_of(given: Given, described: Workload | None) -> tuple[Arrivals, Mapping[str, float], list[str]]:
    """(what arrives, what the workers measured, what to know about it)."""
    options = given.options
    if options["arrivals_per_s"] is not None:
        return Arrivals(per_s=options["arrivals_per_s"]), {}, []
    if options["trace"] is not None:
        trace = _trace(options["trace"])
        return Arrivals.counted(trace.arrivals.tolist(), trace.interval_s), {}, []
    reader = HistoryReader(options["days"], profile=options["profile"], region=options["region"])
    if options["queue_name"] is not None:
        history = reader.queue(options["queue_name"])
        return history.arrivals, {}, [*history.notes]
    assert described is not None
    history = reader.queue(described.queue_name)
    if options["processing_s"] is not None:
        return history.arrivals, {}, [*history.notes]
    times = reader.processing_times(described)
    require_plausible(described, history, times, _concurrency(options, described))
    notes = [*history.notes]
    if times.cv is None:
        notes.append("CloudWatch has no percentiles of the processing times: their spread is taken as 0")
    return (
        history.arrivals,
        {"mean_s": times.mean_s, "cv": times.cv or 0.0, "longest_s": times.longest_s},
        notes,
    )


def _trace(source: Path | Generated) -> traces.Trace:
    if isinstance(source, Path):
        return traces.read(source)
    return generators.generate(
        source.shape, days=source.days, per_day=source.per_day, interval_s=source.interval_s, seed=0
    )


def demand_of(
    options: Mapping[str, Any], described: Workload | None, arrivals: Arrivals, measured: Mapping[str, float]
) -> Demand:
    """What is given, then what the workload says or its workers measured, then the defaults; UsageError."""
    deadline = described.deadline if described is not None else None
    target = described.target if described is not None else None
    promise_s = options["promise_s"]
    if promise_s is None and deadline is not None:
        promise_s = deadline.promise_s
    if promise_s is None and isinstance(target, DynamicTarget):
        promise_s = target.acceptable_latency_s
    if promise_s is None:
        raise UsageError("no promise: give --promise 5m, the time that a message may wait for its start")
    processing_s = options["processing_s"] or measured.get("mean_s")
    if processing_s is None:
        raise UsageError("no processing time: give --processing 2s, the time that a message takes on average")
    given_cv = click.get_current_context().get_parameter_source("processing_cv")
    spread = options["processing_cv"] if given_cv is not ParameterSource.DEFAULT else measured.get("cv", 0.0)
    longest_s = options["longest_s"] or measured.get("longest_s")
    if longest_s is not None and longest_s < processing_s:
        raise UsageError(
            f"--longest: {longest_s:g} s is shorter than the mean of {processing_s:g} s: check their units"
        )
    if options["drain_within_s"] is not None and not options["backlog"]:
        raise UsageError("--drain-in says when a backlog shall be gone: give --backlog, too")
    return Demand(
        arrivals=arrivals,
        processing_s=processing_s,
        processing_cv=spread,
        longest_s=longest_s,
        concurrency=_concurrency(options, described),
        promise_s=promise_s,
        promise_percent=options["percent"] or (deadline.promise_percent if deadline is not None else 99.0),
        boot_s=_first(options["boot_s"], deadline.boot_s if deadline is not None else None, 180.0),
        backlog=options["backlog"],
        drain_within_s=options["drain_within_s"],
        maximum=options["maximum"],
    )


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _concurrency(options: Mapping[str, Any], described: Workload | None) -> int:
    if options["concurrency"] is not None:
        return int(options["concurrency"])
    return max(1, round(described.target.concurrency_per_instance)) if described is not None else 1


def require_something(demand: Demand) -> None:
    """UsageError if there is nothing to plan for."""
    if not demand.arrivals.per_s and not demand.backlog:
        raise UsageError(
            "nothing arrives and nothing waits, so there is nothing to plan: give --backlog, too"
        )
