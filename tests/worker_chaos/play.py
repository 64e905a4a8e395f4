"""One play of a scenario: send, work, end, judge.

Owns what every scenario has in common, its verdict included.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tests.worker_chaos import promises
from tests.worker_chaos.faults import Plan
from tests.worker_chaos.fleet import Crew, Fleet
from tests.worker_chaos.promises import Calls, Deaths
from tests.worker_chaos.stage import Order, Stage, is_poison, key

Judge = Callable[[Fleet, Calls, Deaths], Iterator[str]]
"""What a scenario promises beyond what all do; yields a sentence for each broken promise."""


@dataclass(slots=True, kw_only=True)
class Verdict:
    """How a play went: `broken` are sentences, all else is counted."""

    name: str = ""
    seed: int
    broken: list[str]
    messages: int
    begun_again: dict[str, int]
    """Why messages were begun more than once."""
    twice: int
    """Messages completed more than once."""
    ended: dict[str, int]
    """Processes by what ended them; those that drained when all was done are left out."""
    statuses: dict[str, int]
    requests: int
    faults: dict[str, int]
    duration_s: float


def play(
    stage: Stage,
    crew: Crew,
    plan: Plan,
    messages: Mapping[str, Sequence[Order]],
    judge: Judge,
    *,
    beforehand: bool = False,
) -> Verdict:
    """Play it over `messages`, by queue; `beforehand`: all of them wait before anybody works."""
    began_at = time.monotonic()
    everything = [order for each in messages.values() for order in each]
    waiting = [key(order) for order in everything if not is_poison(order)]
    stage.cloud.plan(plan)
    for url, each in messages.items():
        if beforehand:
            stage.cloud.send(url, each)
        else:
            stage.feed(url, each)
    with stage.crew(replace(crew, mutation=stage.mutation)) as fleet:
        broken = stage.play(fleet, waiting, list(messages))
        ended = dict(fleet.ended)
        if not broken:
            broken += fleet.drain()
    stage.records.read()
    calls, deaths = stage.records.by_message(), {**stage.records.died, **fleet.deaths}
    broken += promises.none_lost(waiting, stage.records.completed)
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
        begun_again=dict(promises.repeats(calls, deaths)),
        twice=len(promises.twice(calls)),
        ended=ended,
        statuses={f"{by} {status}": times for (by, status), times in sorted(fleet.statuses.items())},
        requests=sum(done["requests"].values()),
        faults=dict(faults),
        duration_s=round(time.monotonic() - began_at, 1),
    )


def ends_well(fleet: Fleet) -> Iterator[str]:
    """Nobody ended by itself, and whoever was told to go said 0."""
    wrong = [
        f"{times} with {status} after {by}"
        for (by, status), times in fleet.statuses.items()
        if by == "itself" or (by == "SIGTERM" and status != 0)
    ]
    if wrong:
        yield f"workers ended out of order: {', '.join(wrong)}"
