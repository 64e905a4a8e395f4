"""One run of a scenario: send, work, end, judge.

Owns the steps that every scenario shares, including its verdict.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tests.worker_chaos import invariants
from tests.worker_chaos.faults import Plan
from tests.worker_chaos.fleet import Fleet, WorkerSet
from tests.worker_chaos.invariants import Calls, Deaths
from tests.worker_chaos.stage import Instruction, Stage, is_poison, key

Judge = Callable[[Fleet, Calls, Deaths], Iterator[str]]
"""Checks the invariants of one scenario beside those of all; yields a sentence for each violation."""


@dataclass(slots=True, kw_only=True)
class Verdict:
    """The result of a run: `broken` has sentences, everything else is counted."""

    name: str = ""
    seed: int
    broken: list[str]
    messages: int
    begun_again: dict[str, int]
    """The reasons why messages were begun more than once."""
    twice: int
    """Messages completed more than once."""
    ended: dict[str, int]
    """Processes by what ended them, except for those that drained when all was done."""
    statuses: dict[str, int]
    requests: int
    faults: dict[str, int]
    duration_s: float


def run(
    stage: Stage,
    workers: WorkerSet,
    plan: Plan,
    messages: Mapping[str, Sequence[Instruction]],
    judge: Judge,
    *,
    beforehand: bool = False,
) -> Verdict:
    """Run it over `messages`, by queue; with `beforehand`, all are sent before any worker starts."""
    began_at = time.monotonic()
    everything = [order for each in messages.values() for order in each]
    waiting = [key(order) for order in everything if not is_poison(order)]
    stage.cloud.plan(plan)
    for url, each in messages.items():
        if beforehand:
            stage.cloud.send(url, each)
        else:
            stage.feed(url, each)
    with stage.workers(replace(workers, mutation=stage.mutation)) as fleet:
        broken = stage.run_until_done(fleet, waiting, list(messages))
        ended = dict(fleet.ended)
        if not broken:
            broken += fleet.drain()
    stage.records.read()
    calls, deaths = stage.records.by_message(), {**stage.records.died, **fleet.deaths}
    broken += invariants.none_lost(waiting, stage.records.completed)
    broken += judge(fleet, calls, deaths)
    done = stage.cloud.done()
    stage.cloud.plan(Plan())
    faults: Counter[str] = Counter()
    for _, kind, times in done["faults"]:
        faults[kind] += times
    return Verdict(
        seed=stage.seed,
        broken=broken,
        messages=len(everything),
        begun_again=dict(invariants.repeats(calls, deaths)),
        twice=len(invariants.twice(calls)),
        ended=ended,
        statuses={f"{by} {status}": times for (by, status), times in sorted(fleet.statuses.items())},
        requests=sum(done["requests"].values()),
        faults=dict(faults),
        duration_s=round(time.monotonic() - began_at, 1),
    )


def ends_well(fleet: Fleet) -> Iterator[str]:
    """No process ended by itself, and those that were sent SIGTERM exited with 0."""
    wrong = [
        f"{times} with {status} after {by}"
        for (by, status), times in fleet.statuses.items()
        if by == "itself" or (by == "SIGTERM" and status != 0)
    ]
    if wrong:
        yield f"workers ended out of order: {', '.join(wrong)}"
