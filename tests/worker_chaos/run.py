"""One run of a scenario: send, process, end, check.

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
from tests.worker_chaos.scenario_environment import Environment, Instruction, is_poison, key

Check = Callable[[Fleet, Calls, Deaths], Iterator[str]]
"""Checks one scenario's invariants in addition to those of all; yields a sentence for each violation."""


@dataclass(slots=True, kw_only=True)
class Verdict:
    """The result of a run: `broken` has sentences, everything else is counted."""

    name: str = ""
    seed: int
    broken: list[str]
    messages: int
    started_again: dict[str, int]
    """The reasons why messages were started more than once."""
    twice: int
    """Messages completed more than once."""
    ended: dict[str, int]
    """Processes by what ended them, except for those that drained when all was done."""
    statuses: dict[str, int]
    requests: int
    faults: dict[str, int]
    duration_s: float


def run(
    env: Environment,
    workers: WorkerSet,
    plan: Plan,
    messages: Mapping[str, Sequence[Instruction]],
    check: Check,
    *,
    send_first: bool = False,
) -> Verdict:
    """Run a scenario over `messages`, by queue; `send_first` sends all before any worker starts."""
    began_at = time.monotonic()
    all_messages = [instruction for each in messages.values() for instruction in each]
    waiting = [key(instruction) for instruction in all_messages if not is_poison(instruction)]
    env.cloud.plan(plan)
    for url, each in messages.items():
        if send_first:
            env.cloud.send(url, each)
        else:
            env.feed(url, each)
    with env.workers(replace(workers, mutation=env.mutation)) as fleet:
        broken = env.run_until_done(fleet, waiting, list(messages))
        ended = dict(fleet.ended)
        if not broken:
            broken += fleet.drain()
    env.records.read()
    calls, deaths = env.records.by_message(), {**env.records.died, **fleet.deaths}
    broken += invariants.none_lost(waiting, env.records.completed)
    broken += check(fleet, calls, deaths)
    done = env.cloud.done()
    env.cloud.plan(Plan())
    faults: Counter[str] = Counter()
    for _, kind, times in done["faults"]:
        faults[kind] += times
    return Verdict(
        seed=env.seed,
        broken=broken,
        messages=len(all_messages),
        started_again=dict(invariants.repeats(calls, deaths)),
        twice=len(invariants.twice(calls)),
        ended=ended,
        statuses={f"{by} {status}": times for (by, status), times in sorted(fleet.statuses.items())},
        requests=sum(done["requests"].values()),
        faults=dict(faults),
        duration_s=round(time.monotonic() - began_at, 1),
    )


def exits_cleanly(fleet: Fleet) -> Iterator[str]:
    """No process ended by itself, and those that were sent SIGTERM exited with 0."""
    wrong = [
        f"{times} with {status} after {by}"
        for (by, status), times in fleet.statuses.items()
        if by == "itself" or (by == "SIGTERM" and status != 0)
    ]
    if wrong:
        yield f"workers ended unexpectedly: {', '.join(wrong)}"
