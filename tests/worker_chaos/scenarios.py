"""The scenarios, and the invariants of each.

Owns the setups: which workers process what, what goes wrong meanwhile, and which invariants are checked.
"""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sluice_worker.aws.dead_letter import REASON
from tests.worker_chaos import invariants
from tests.worker_chaos.faults import Plan, every_fault, harmless_faults
from tests.worker_chaos.fleet import BEFORE_IT_BEGAN, Fleet, Member, WorkerSet
from tests.worker_chaos.handlers import DIED, Do
from tests.worker_chaos.invariants import Calls, Deaths
from tests.worker_chaos.run import Verdict, ends_well, run
from tests.worker_chaos.stage import Instruction, Stage, is_poison, key, orders

VISIBILITY_S = 4
QUICKLY = (
    *("--visibility-s", str(VISIBILITY_S)),
    *("--interval-s", "1"),
    *("--report-s", "3600"),
    *("--min-concurrency", "4"),
    *("--max-concurrency", "10"),
    *("--backoff-s", "1"),
)
BOTH = (signal.SIGKILL, signal.SIGTERM)
POLITE = (signal.SIGTERM,)
LONG_S = 1.5 * VISIBILITY_S
LONG_EVERY = 200
"""One message in so many takes longer than the visibility timeout: without a heartbeat it is processed
twice."""
MAX_RECEIPTS = 50
"""Far more than a message that is not poison needs, however often it is released."""


def three_commands(*options: str, ends: Sequence[signal.Signals] = (), every: int = 500) -> WorkerSet:
    """Two commands with one process, and one with two."""
    options = (*QUICKLY, *options)
    return WorkerSet(
        members=[Member(options), Member(options), Member(options, processes=2)], ends=ends, every=every
    )


# ---- a standard queue --------------------------------------------------------------------------------------


def kills_and_faults(stage: Stage, count: int) -> Verdict:
    """Processes killed and drained at random, every fault: all processed, again only after a kill."""
    return _standard(stage, count, every_fault(stage.seed), BOTH)


def drains_alone(stage: Stage, count: int) -> Verdict:
    """Processes drained at random: all processed once."""
    return _standard(stage, count, Plan(), POLITE)


def drains_and_faults(stage: Stage, count: int) -> Verdict:
    """Processes drained at random, refusals, lost requests, outages: all processed once."""
    return _standard(stage, count, harmless_faults(stage.seed), POLITE)


def _standard(stage: Stage, count: int, plan: Plan, ends: Sequence[signal.Signals]) -> Verdict:
    dead = stage.cloud.create("standard-dead")
    url = stage.cloud.create("standard", dead_letters=dead, max_receipts=MAX_RECEIPTS)
    messages = [
        {
            **order,
            "s": LONG_S if place % LONG_EVERY == LONG_EVERY // 2 else _briefly(stage.chance),
        }
        for place, order in enumerate(orders("standard", count))
    ]

    def judge(fleet: Fleet, calls: Calls, deaths: Deaths) -> Iterator[str]:
        yield from invariants.repeated_only_for_a_reason(calls, deaths)
        yield from _no_letters(stage, dead)
        yield from ends_well(fleet)

    workers = three_commands("--queue", url, ends=ends, every=max(count // 20, 30))
    return run(stage, workers, plan, {url: messages}, judge)


def _briefly(chance: random.Random) -> float:
    return 0.02 * chance.random()


# ---- a FIFO queue ------------------------------------------------------------------------------------------


RAISING_SHARE = 0.02


def groups(stage: Stage, count: int) -> Verdict:
    """Kills, drains and every fault over a FIFO queue: each group in order, one at a time."""
    dead = stage.cloud.create("groups-dead.fifo")
    url = stage.cloud.create("groups.fifo", dead_letters=dead, max_receipts=MAX_RECEIPTS)
    messages = [
        {
            **order,
            "s": _briefly(stage.chance),
            "do": Do.RAISE_ONCE if stage.chance.random() < RAISING_SHARE else Do.WORK,
        }
        for order in orders("groups", count, groups=max(count // 40, 2))
    ]

    def judge(fleet: Fleet, calls: Calls, deaths: Deaths) -> Iterator[str]:
        yield from invariants.in_order(stage.records.spans, deaths)
        yield from _no_letters(stage, dead)
        yield from ends_well(fleet)

    workers = three_commands("--queue", url, ends=BOTH, every=max(count // 20, 30))
    return run(stage, workers, every_fault(stage.seed), {url: messages}, judge)


def _no_letters(stage: Stage, url: str) -> Iterator[str]:
    depths = stage.cloud.depths(url)
    if not depths.empty:
        yield f"the dead-letter queue {url} holds {depths}"


# ---- poison ------------------------------------------------------------------------------------------------

MAX_ATTEMPTS = 3


def poison(stage: Stage, count: int) -> Verdict:
    """Messages that always fail end among the dead letters, by either policy, and stop nobody."""
    redriven, sent = stage.cloud.create("redriven-dead"), stage.cloud.create("sent-dead")
    redrive = stage.cloud.create("redrive", dead_letters=redriven, max_receipts=MAX_ATTEMPTS)
    by_worker = stage.cloud.create("by-worker")
    messages = {
        url: [
            {**order, "do": {7: Do.RAISE, 13: Do.REJECT}.get(place % 20, Do.WORK)}
            for place, order in enumerate(orders(name, count // 2))
        ]
        for name, url in (("redrive", redrive), ("by-worker", by_worker))
    }
    dead_letter_options = ("--max-attempts", str(MAX_ATTEMPTS), "--dead-letter-queue", sent)
    workers = WorkerSet(
        members=[
            Member((*QUICKLY, "--queue", redrive)),
            Member((*QUICKLY, "--queue", by_worker, *dead_letter_options), processes=2),
        ]
    )

    def judge(fleet: Fleet, calls: Calls, deaths: Deaths) -> Iterator[str]:
        yield from _letters(stage, redriven, messages[redrive], {None})
        yield from _letters(stage, sent, messages[by_worker], {"RuntimeError: poison", "Reject: said so"})
        tries = [len(calls[key(order)]) for order in messages[redrive] if is_poison(order)]
        if max(tries) > MAX_ATTEMPTS:
            yield f"poison was worked on {max(tries)} times where its queue allows {MAX_ATTEMPTS}"
        healthy = {key(order) for each in messages.values() for order in each if not is_poison(order)}
        yield from invariants.repeated_only_for_a_reason(
            {each: calls[each] for each in healthy if each in calls}, deaths
        )
        yield from ends_well(fleet)

    return run(stage, workers, harmless_faults(stage.seed), messages, judge)


def _letters(
    stage: Stage, url: str, messages: Sequence[Instruction], reasons: set[str | None]
) -> Iterator[str]:
    """Exactly the poison is among the dead letters, for these reasons."""
    letters = stage.cloud.contents(url)
    found = {key(json.loads(letter["Body"])) for letter in letters}
    sent = {key(order) for order in messages if is_poison(order)}
    if found != sent:
        missing, strange = len(sent - found), len(found - sent)
        yield f"of {len(sent)} poisoned messages {missing} are not in {url}, and {strange} others are"
    options = Counter(
        letter.get("MessageAttributes", {}).get(REASON, {}).get("StringValue") for letter in letters
    )
    if set(options) != reasons:
        yield f"the reasons in {url} are {dict(options)}"


# ---- handlers that misbehave -------------------------------------------------------------------------------

MISDEEDS = (Do.RAISE_ONCE, Do.EXIT_ONCE, Do.INTERRUPT_ONCE, Do.DIE_ONCE, Do.HANG_ONCE, Do.LATE_ONCE)
DEADLINE_S = 2
EXHAUSTED = 1
"""The exit status of a worker whose every slot is held by a handler that hangs."""


def misbehaviour(stage: Stage, count: int) -> Verdict:
    """Handlers that hang, raise whatever, end their process or come back late: the others' work goes on."""
    url = stage.cloud.create("misbehaviour")
    messages = [
        {**order, "do": MISDEEDS[place % 40], "s": 1.5 * DEADLINE_S} if place % 40 < len(MISDEEDS) else order
        for place, order in enumerate(orders("misbehaviour", count))
    ]
    impatient = (
        *("--max-processing-s", str(DEADLINE_S), "--grace-s", str(2 * DEADLINE_S)),
        *("--min-concurrency", "3", "--max-concurrency", "3"),
    )

    def judge(fleet: Fleet, calls: Calls, deaths: Deaths) -> Iterator[str]:
        allowed = {("itself", EXHAUSTED), ("itself", DIED), ("SIGTERM", 0), ("SIGTERM", EXHAUSTED)}
        if strange := {each for each in fleet.statuses if each[0] != BEFORE_IT_BEGAN} - allowed:
            yield f"workers ended in ways that no handler explains: {sorted(strange)}"

    return run(stage, three_commands("--queue", url, *impatient), Plan(), {url: messages}, judge)


# ---- priorities --------------------------------------------------------------------------------------------

STARVING_S = 2.0
PATIENCE = 3.0
"""Times what counts as starving: low priority has to be received before it is begun, on a busy machine."""
HIGH_SHARE = 0.8
FEWEST_HIGH = 300
"""Below it the share says little: with few messages, what begins while slots stand idle, and the turns of
those that starve on a machine that stalls for seconds, are a fifth of all."""


def priorities(stage: Stage, count: int) -> Verdict:
    """Much of high priority over less of medium and low: high goes first, and low is not forgotten."""
    count = max(count, FEWEST_HIGH)
    levels = ("high", "medium", "low")
    urls = {level: stage.cloud.create(level) for level in levels}
    messages = {
        urls[level]: orders(level, count if level == "high" else count // 3, s=0.05) for level in levels
    }
    options = [part for level in levels for part in ("--queue", f"{urls[level]}={level}")]
    options = (*QUICKLY, "--starving-after-s", str(STARVING_S), "--prefetch-s", "0.2", *options)

    def judge(fleet: Fleet, calls: Calls, deaths: Deaths) -> Iterator[str]:
        begun = sorted((spans[0] for spans in calls.values()), key=lambda span: span.began_at)
        last = max(place for place, span in enumerate(begun) if span.queue == "high")
        while_high = begun[: last + 1]
        share = sum(span.queue == "high" for span in while_high) / len(while_high)
        if share < HIGH_SHARE:
            yield f"only {share:.0%} of what was begun while high priority waited was of high priority"
        for level in levels[1:]:
            times = [span.began_at for span in while_high if span.queue == level]
            gaps = pairwise([while_high[0].began_at, *times, while_high[-1].began_at])
            longest_s = max(after - before for before, after in gaps)
            if longest_s > PATIENCE * STARVING_S:
                yield f"{level} priority was forgotten for {longest_s:.1f} s; starving are {STARVING_S:g} s"
        yield from invariants.repeated_only_for_a_reason(calls, deaths)
        yield from ends_well(fleet)

    workers = WorkerSet(members=[Member(options), Member(options)])
    return run(stage, workers, Plan(), messages, judge, beforehand=True)
