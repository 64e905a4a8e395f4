"""Findings about a run beyond its numbers, as sentences: the same in text, JSON and report.

Says whether the promise was kept and, if not, what would help.
"""

from __future__ import annotations

from collections.abc import Iterator

from sluice.core.model import DynamicTarget, StaticTarget, TrackedMetric, Workload
from sluice_sim.policies import named
from sluice_sim.study.experiment import (
    TICK,
    Experiment,
    overridden,
)
from sluice_sim.study.result import (
    MIN_LOAD,
    Result,
)

SEEN_AFTER_S = 60.0
"""Seconds until a policy without ticks observes an arrival: CloudWatch's resolution."""
SAME_LOAD = 1.25
"""Ratio from which a configured offered load counts as wrong, in either direction."""


def with_findings(numbers: Result, experiment: Experiment) -> Result:
    """The same numbers, with `promise_kept` and `warnings` filled in."""
    attained = numbers["attainment"]
    kept = None if attained is None else attained >= 1 - experiment.late_ratio
    return {
        **numbers,
        "promise_kept": kept,
        "warnings": [
            *_of_the_promise(numbers, experiment, kept=kept),
            *_of_the_arrivals(numbers, experiment, kept=kept),
            *_of_the_run(numbers, experiment),
        ],
    }


def _of_the_promise(numbers: Result, experiment: Experiment, *, kept: bool | None) -> Iterator[str]:
    bounds = experiment.deployed().workload.bounds
    if kept is False and numbers["promise_s"] < experiment.shortest_boot_s + _seen_after_s(experiment):
        yield _no_time_to_boot(numbers["promise_s"], experiment, bounds.min)
    if numbers["attainable"] is False:
        yield (
            f"{bounds.max} instances cannot keep the promise even where they run from the first message on: "
            "raise MaxCapacity. The lower bound is that of an unlimited fleet."
        )


def _of_the_arrivals(numbers: Result, experiment: Experiment, *, kept: bool | None) -> Iterator[str]:
    """Whether target tracking counts arrivals, and with the right processing time."""
    if experiment.policy != "sluice":
        return
    workload = experiment.deployed().workload
    if workload.tracking.metric is TrackedMetric.EFFECTIVE:
        yield from _wrong_load(numbers, experiment, workload)
    elif kept is False and numbers["mean_load"] >= MIN_LOAD:
        yield (
            "Target tracking follows the backlog alone: the fleet has no capacity for what keeps arriving "
            "before a backlog has built up, and loses it once the backlog is gone. What helps: "
            f"{_counting_arrivals(workload, numbers['mean_processing_s'])}, by which arrivals count too."
        )


def _counting_arrivals(workload: Workload, processing_s: float) -> str:
    effective = f"TrackedMetric={TrackedMetric.EFFECTIVE}"
    if isinstance(workload.target, DynamicTarget):
        return effective
    return f"ProcessingSeconds={processing_s:.4g} with {effective}"


def _wrong_load(numbers: Result, experiment: Experiment, workload: Workload) -> Iterator[str]:
    """A configured offered load that differs from the simulated one."""
    tracking, target = workload.tracking, workload.target
    processing_s, slots = numbers["mean_processing_s"], experiment.slots_per_instance
    given_s = tracking.processing_s if isinstance(target, StaticTarget) else None
    counted_s = given_s or processing_s
    ratio = (counted_s / target.concurrency_per_instance) / (processing_s / slots)
    if not numbers["messages"] or 1 / SAME_LOAD <= ratio <= SAME_LOAD:
        return
    means = [f"ProcessingSeconds={given_s:g}"] if given_s else []
    means.append(f"ConcurrencyPerInstance={target.concurrency_per_instance:g}")
    helps = [f"ProcessingSeconds={processing_s:.4g}"] if given_s else []
    helps += [f"ConcurrencyPerInstance={slots}"] if slots != target.concurrency_per_instance else []
    yield (
        f"A message takes {processing_s:.4g} s, and an instance works on {slots} at a time; the workload "
        f"says {' and '.join(means)}. What arrives counts for {ratio:.2g} times the instances that it keeps "
        f"busy. What helps: {' and '.join(helps)}."
    )


def _no_time_to_boot(promise_s: float, experiment: Experiment, minimum: int) -> str:
    boot_s, seen_s = experiment.boot.min_s, _seen_after_s(experiment)
    subject = "a fleet at 0" if minimum == 0 else "an instance launched for them"
    more = "one or more" if minimum == 0 else f"more than {minimum}"
    return (
        f"A promise of {promise_s:g} s leaves no time for a boot of {boot_s:g} s and up to {seen_s:g} s "
        f"until messages are seen: {subject} cannot start them all in time, whatever MaxCapacity. "
        f"What helps: a promise above {boot_s + seen_s:g} s, a MinCapacity of {more}, or shorter boots "
        "(a warm pool, an image that holds what is installed)."
    )


def _seen_after_s(experiment: Experiment) -> float:
    if experiment.tick_s is not None:
        return experiment.tick_s
    return float(getattr(named(experiment.policy), TICK, SEEN_AFTER_S))


def _of_the_run(numbers: Result, experiment: Experiment) -> Iterator[str]:
    if limits := numbers["target_limits"]:
        yield (
            f"The target of {numbers['target_per_instance']:.4g} messages per instance is not what the "
            f"promise allows; what decides is {' and '.join(limits)}: {numbers['target_because']}."
        )
    for setting in overridden(experiment):
        yield f"{setting}."
    if failed := numbers["failed_attempts"]:
        workload = experiment.deployed().workload
        at_most = workload.bounds.max * experiment.slots_per_instance
        guard = ", or the guard by GuardFailedPercent" if workload.guard is None else ""
        yield (
            f"{failed:,} of {numbers['attempts']:,} attempts failed: the downstream serves "
            f"{experiment.downstream_capacity:,} messages at a time, and the fleet may send {at_most:,}. "
            f"What helps: a smaller MaxCapacity{guard}."
        )
    if dead := numbers["dead_letters"]:
        yield _dead_lettered(dead, experiment, by_downstream=bool(numbers["failed_attempts"]))
    if left := numbers["messages"] - numbers["processed"] - dead:
        yield f"{left:,} messages were not processed when the run ended, a week after the trace."
    if refused := numbers["launches_refused"]:
        yield f"{refused:,} launches found no capacity and were tried again."


def _dead_lettered(dead: int, experiment: Experiment, *, by_downstream: bool) -> str:
    ended = f"{dead:,} messages ended in the dead-letter queue"
    if by_downstream and not experiment.interruptions_per_instance_hour:
        return f"{ended}: they failed {experiment.max_receives} times."
    return (
        f"{ended}: the instance that had them was gone before they were done, {experiment.max_receives} "
        "times. Scale in with drain or protect, or raise --max-receives."
    )
