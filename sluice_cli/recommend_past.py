"""The past that `sluice recommend` works on: a queue's history from CloudWatch, or a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from sluice.core.model import Mode, Unknown, Workload
from sluice.ports import Series
from sluice_cli.gap_sentences import gap_sentences, span
from sluice_cli.usage_errors import UsageError
from sluice_cli.workloads import CHECKOUT, parameters
from sluice_operator.account import Account
from sluice_operator.aws import workload_stack
from sluice_operator.core.queue_history import Arrivals
from sluice_operator.history import (
    INGESTION_DELAY,
    MINUTE_S,
    QueueHistory,
    read_history,
    read_share_in_time,
    start_of_period,
)
from sluice_operator.status import registered_workload
from sluice_sim import template
from sluice_sim.promise import promise_s
from sluice_sim.simulator.queue_kernel import Floats
from sluice_sim.study.advice import Happened, Past
from sluice_sim.study.experiment import THREE_MINUTES, Experiment, Generated, LoadSettings, trace_of
from sluice_sim.study.reproduction import Minutes
from sluice_sim.template.deployment import workload_parameters
from sluice_sim.workloads import traces
from sluice_sim.workloads.service_times import COLUMN, WEIGHT_COLUMN, Boot
from sluice_sim.workloads.traces import DAY_S, Trace

DAY = timedelta(days=1)
MIN_DAYS = 2
TWO_DAYS = "and a recommendation takes two at least: one to tune on, one to judge by"
READ_LIMIT_S = 120.0
HALF_A_MINUTE_S = 30.0
"""CloudWatch's values by the minute tell a boot's length that well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLoad:
    """What a user gives in place of a history."""

    trace: Path | Generated
    duration_s: float
    variation: float
    durations: Path | None


def past_of_queue(
    account: Account, name: str, days: int, folder: Path, on_step: Callable[[str], None]
) -> Past:
    """The last days of a registered workload; UsageError or SluiceError says why they cannot be used."""
    on_step("reading the registry")
    workload = registered_workload(account.ports.registry, name, lambda: READ_LIMIT_S)
    if workload.mode is not Mode.ACTIVE:
        raise UsageError(
            f"{name} is in mode {workload.mode}: Sluice does not scale it, so its settings have no past"
        )
    until = start_of_period(account.ports.now() - INGESTION_DELAY, MINUTE_S)
    on_step(f"reading {days} days of metrics")
    metrics = account.ports.metrics
    history = read_history(metrics, workload, until - timedelta(days=days), until)
    whole = replace(history, arrivals=_whole_days(history.arrivals, name))
    return past_of_history(account, workload, whole, folder)


def past_of_history(account: Account, workload: Workload, history: QueueHistory, folder: Path) -> Past:
    """All of a history, with the present settings of the workload's document and stack."""
    came, metrics = history.arrivals, account.ports.metrics
    of_stack = workload_stack.parameters(account.clients("cloudformation"), workload.stack_id, workload.name)
    mean_s = _mean_s(history)
    promised_s = promise_s(workload, mean_s, max(1, round(workload.target.concurrency_per_instance)))
    share = read_share_in_time(metrics, workload, promised_s, came.start, came.end)
    trace = Trace(
        interval_s=float(MINUTE_S),
        arrivals=np.round(came.counts).astype(np.int64),
        start_s=came.start.timestamp(),
    )
    return Past(
        experiment=Experiment(
            root=CHECKOUT,
            parameters=_parameters(workload, of_stack),
            policy="sluice",
            trace=_written(trace, folder),
            durations=_durations(history, folder),
            boot=_boot(history, workload),
            promise_s=promised_s,
        ),
        trace=trace,
        happened=Happened(
            minutes=Minutes(
                desired=_by_minute(history.desired, came), running=_by_minute(history.running, came)
            ),
            share=share,
        ),
        notes=tuple(_notes(history, came, workload, of_stack)),
    )


def past_of_trace(name: str, load: GivenLoad, folder: Path) -> Past:
    """A trace, cut to whole days, with the present settings of an environment or a document."""
    settings = LoadSettings(
        trace=load.trace,
        duration_s=load.duration_s,
        variation=load.variation,
        durations=load.durations,
        groups=None,
        seed=0,
    )
    whole = trace_of(settings)
    days = int(whole.interval_s * whole.arrivals.size / DAY_S + 1e-9)
    if days < MIN_DAYS:
        raise UsageError(
            f"--trace {load.trace}: it lasts {whole.interval_s * whole.arrivals.size / DAY_S:.1f} days, "
            f"{TWO_DAYS}"
        )
    trace = traces.part(whole, 0, days * DAY_S)
    return Past(
        experiment=Experiment(
            root=CHECKOUT,
            parameters=parameters(name),
            policy="sluice",
            trace=_written(trace, folder),
            duration_s=load.duration_s,
            variation=load.variation,
            durations=load.durations,
        ),
        trace=trace,
        happened=None,
        notes=("What really happened is not known of a trace: the simulation is not checked against it.",),
    )


def _whole_days(came: Arrivals, name: str) -> Arrivals:
    """The last whole days of the stretch."""
    days = (came.end - came.start) // DAY
    if days < MIN_DAYS:
        why = f", the longest time without a gap ({', '.join(map(span, came.breaks))})" if came.breaks else ""
        raise UsageError(
            f"{name}: CloudWatch has {(came.end - came.start) / DAY:.1f} days of its queue{why}, {TWO_DAYS}; "
            "come back later, or use `sluice simulate`"
        )
    size = days * DAY // came.period
    return Arrivals(
        start=came.end - days * DAY,
        period=came.period,
        counts=came.counts[-size:],
        filled=came.filled,
        silences=came.silences,
        breaks=came.breaks,
    )


def _parameters(workload: Workload, of_stack: Mapping[str, str] | Unknown) -> dict[str, str]:
    """Those of the document, and of its stack where that still is a `workload.yaml` that can be read.

    The stack also has what the document does not hold, such as cooldowns and warm-up times. A parameter that
    this release's template does not have is left out.
    """
    described = workload_parameters(workload)
    if isinstance(of_stack, Unknown):
        return described
    declared = template.load(CHECKOUT / "workload.yaml")["Parameters"]
    return described | {name: text for name, text in of_stack.items() if name in declared}


def _notes(
    history: QueueHistory, came: Arrivals, workload: Workload, of_stack: Mapping[str, str] | Unknown
) -> Iterator[str]:
    if isinstance(of_stack, Unknown):
        yield (
            "Cooldowns, warm-up times and what else is not in the workload's document are taken to be the "
            f"template's defaults: {of_stack.reason}."
        )
    yield from gap_sentences(came)
    if history.boot_s is None:
        yield f"No instance was launched: a boot is taken to last {_boot(history, workload).mean_s:g} s."
    else:
        boot = _boot(history, workload)
        yield (
            f"A boot took {history.boot_s:.0f} s on average, by the desired and the running instances, which "
            f"are known by the minute: {boot.min_s:.0f} to {boot.max_s:.0f} s are simulated."
        )


def _boot(history: QueueHistory, workload: Workload) -> Boot:
    if history.boot_s is not None:
        # One value for all would be in step with the alarms, which are evaluated once a minute, too: each new
        # instance would count at the very evaluation that launches more.
        return Boot(min_s=max(0.0, history.boot_s - HALF_A_MINUTE_S), max_s=history.boot_s + HALF_A_MINUTE_S)
    if workload.deadline is not None:
        return Boot(min_s=workload.deadline.boot_s, max_s=workload.deadline.boot_s)
    return THREE_MINUTES


def _mean_s(history: QueueHistory) -> float:
    messages = sum(each.messages for each in history.processing_times)
    return sum(each.seconds * each.messages for each in history.processing_times) / messages


def _by_minute(series: Series, came: Arrivals) -> Floats:
    """NaN where there is no value."""
    return np.array(
        [series.get(came.start + came.period * place, np.nan) for place in range(len(came.counts))]
    )


def _written(trace: Trace, folder: Path) -> Path:
    path = folder / "trace.csv"
    traces.write(trace, path)
    return path


def _durations(history: QueueHistory, folder: Path) -> Path:
    path = folder / "durations.csv"
    rows = [f"{each.seconds:.6g},{each.messages:.6g}" for each in history.processing_times]
    path.write_text("\n".join([f"{COLUMN},{WEIGHT_COLUMN}", *rows]) + "\n", encoding="utf-8")
    return path
