"""The scenarios, and the invariants of each.

Owns the setups: which workers process what, what goes wrong meanwhile, and which invariants are checked.
"""

from __future__ import annotations

import json
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, pairwise

from sluice.core.model import Color
from sluice_worker.aws.dead_letter import REASON
from sluice_worker.core.draining_color import VALUES
from tests.worker_chaos import invariants
from tests.worker_chaos.faults import Plan, every_fault, harmless_faults
from tests.worker_chaos.fleet import BEFORE_IT_BEGAN, Fleet, Member, WorkerSet
from tests.worker_chaos.handlers import DIED, Do
from tests.worker_chaos.invariants import Calls, Deaths
from tests.worker_chaos.run import Verdict, exits_cleanly, run
from tests.worker_chaos.scenario_environment import Environment, Instruction, instructions, is_poison, key

VISIBILITY_S = 4
SHORT_TIMES = (
    *("--visibility-s", str(VISIBILITY_S)),
    *("--interval-s", "1"),
    *("--report-s", "3600"),
    *("--min-concurrency", "4"),
    *("--max-concurrency", "10"),
    *("--backoff-s", "1"),
)
KILL_OR_DRAIN = (signal.SIGKILL, signal.SIGTERM)
DRAIN_ONLY = (signal.SIGTERM,)
SLOW_MESSAGE_S = 1.5 * VISIBILITY_S
SLOW_MESSAGE_EVERY = 200
"""One message in so many takes longer than the visibility timeout: without a heartbeat it is processed
twice."""
MAX_RECEIPTS = 50
"""Far more receipts than a message needs that is not poison, however often it is released."""


def three_commands(*options: str, ends: Sequence[signal.Signals] = (), every: int = 500) -> WorkerSet:
    """Two commands with one process, and one with two."""
    options = (*SHORT_TIMES, *options)
    return WorkerSet(
        members=[Member(options), Member(options), Member(options, processes=2)], ends=ends, every=every
    )


# ---- a standard queue --------------------------------------------------------------------------------------


def kills_and_faults(env: Environment, count: int) -> Verdict:
    """Kills, drains and every fault: every message is processed, and processed again only after a kill."""
    return _standard(env, count, every_fault(env.seed), KILL_OR_DRAIN)


def drains_alone(env: Environment, count: int) -> Verdict:
    """Drains: every message is processed once."""
    return _standard(env, count, Plan(), DRAIN_ONLY)


def drains_and_faults(env: Environment, count: int) -> Verdict:
    """Drains, refusals, lost requests and outages: every message is processed once."""
    return _standard(env, count, harmless_faults(env.seed), DRAIN_ONLY)


def _standard(env: Environment, count: int, plan: Plan, ends: Sequence[signal.Signals]) -> Verdict:
    dead = env.cloud.create("standard-dead")
    url = env.cloud.create("standard", dead_letters=dead, max_receipts=MAX_RECEIPTS)
    messages = [
        {
            **instruction,
            "s": SLOW_MESSAGE_S
            if place % SLOW_MESSAGE_EVERY == SLOW_MESSAGE_EVERY // 2
            else _short_duration_s(env.chance),
        }
        for place, instruction in enumerate(instructions("standard", count))
    ]

    def check(fleet: Fleet, calls: Calls, deaths: Deaths) -> Iterator[str]:
        yield from invariants.repeated_only_for_a_reason(calls, deaths)
        yield from _no_dead_letters(env, dead)
        yield from exits_cleanly(fleet)

    workers = three_commands("--queue", url, ends=ends, every=max(count // 20, 30))
    return run(env, workers, plan, {url: messages}, check)


def _short_duration_s(chance: random.Random) -> float:
    return 0.02 * chance.random()


# ---- a FIFO queue ------------------------------------------------------------------------------------------


RAISING_SHARE = 0.02


def groups(env: Environment, count: int) -> Verdict:
    """Kills, drains and every fault over a FIFO queue: each group is processed in order, one at a time."""
    dead = env.cloud.create("groups-dead.fifo")
    url = env.cloud.create("groups.fifo", dead_letters=dead, max_receipts=MAX_RECEIPTS)
    messages = [
        {
            **instruction,
            "s": _short_duration_s(env.chance),
            "do": Do.RAISE_ONCE if env.chance.random() < RAISING_SHARE else Do.WORK,
        }
        for instruction in instructions("groups", count, groups=max(count // 40, 2))
    ]

    def check(fleet: Fleet, calls: Calls, deaths: Deaths) -> Iterator[str]:
        yield from invariants.in_order(env.records.spans, deaths)
        yield from _no_dead_letters(env, dead)
        yield from exits_cleanly(fleet)

    workers = three_commands("--queue", url, ends=KILL_OR_DRAIN, every=max(count // 20, 30))
    return run(env, workers, every_fault(env.seed), {url: messages}, check)


def _no_dead_letters(env: Environment, url: str) -> Iterator[str]:
    depths = env.cloud.depths(url)
    if not depths.empty:
        yield f"the dead-letter queue {url} holds {depths}"


# ---- two colors --------------------------------------------------------------------------------------------

DRAINING_COLOR = "/sluice/workloads/colors/draining-color"
QUICK_READS = "tests.worker.process.quick_reads"
"""The worker, which reads the parameter several times while a scenario runs."""
MAX_COLOR_S = 2.0
COLOR_MESSAGE_S = 0.8
COLOR_GROUP = 10
"""Messages of a group, one after the other: the color changes several times meanwhile."""


def colors(env: Environment, count: int) -> Verdict:
    """Two colors over a FIFO queue, of which one drains, or the other, or none; kills and every fault."""
    url = env.cloud.create("colors.fifo")
    messages = [
        {**instruction, "s": COLOR_MESSAGE_S}
        for instruction in instructions("colors", count, groups=max(count // COLOR_GROUP, 2))
    ]
    fleet = (
        "--queue",
        url,
        "--cluster",
        "c",
        "--metrics",
        "none",
        "--draining-color-parameter",
        DRAINING_COLOR,
    )
    members = [
        Member(
            (*SHORT_TIMES, "--max-concurrency", "4", *fleet, "--color", color, "--service", color),
            processes=processes,
            module=QUICK_READS,
        )
        for color in Color
        for processes in (1, 2)
    ]

    def check(fleet: Fleet, calls: Calls, deaths: Deaths) -> Iterator[str]:
        yield from invariants.in_order(env.records.spans, deaths)
        yield from exits_cleanly(fleet)

    workers = WorkerSet(members=members, ends=KILL_OR_DRAIN, every=max(count // 10, 30))
    with _draining_at_random(env):
        return run(env, workers, every_fault(env.seed), {url: messages}, check)


@contextmanager
def _draining_at_random(env: Environment) -> Iterator[None]:
    """Change the draining color at random times; one color at least receives at any time."""
    ended, chance = threading.Event(), random.Random(env.seed)
    values = cycle(VALUES)

    def change() -> None:
        while not ended.is_set():
            env.cloud.put_parameter(DRAINING_COLOR, next(values))
            ended.wait(chance.uniform(0.5, 1.0) * MAX_COLOR_S)

    changing = threading.Thread(target=change, name="colors", daemon=True)
    changing.start()
    try:
        yield
    finally:
        ended.set()
        changing.join()


# ---- poison ------------------------------------------------------------------------------------------------

MAX_ATTEMPTS = 3


def poison(env: Environment, count: int) -> Verdict:
    """Messages that always fail end in the dead-letter queue, by either policy, and block no others."""
    redriven, sent = env.cloud.create("redriven-dead"), env.cloud.create("sent-dead")
    redrive = env.cloud.create("redrive", dead_letters=redriven, max_receipts=MAX_ATTEMPTS)
    by_worker = env.cloud.create("by-worker")
    messages = {
        url: [
            {**instruction, "do": {7: Do.RAISE, 13: Do.REJECT}.get(place % 20, Do.WORK)}
            for place, instruction in enumerate(instructions(name, count // 2))
        ]
        for name, url in (("redrive", redrive), ("by-worker", by_worker))
    }
    dead_letter_options = ("--max-attempts", str(MAX_ATTEMPTS), "--dead-letter-queue", sent)
    workers = WorkerSet(
        members=[
            Member((*SHORT_TIMES, "--queue", redrive)),
            Member((*SHORT_TIMES, "--queue", by_worker, *dead_letter_options), processes=2),
        ]
    )

    def check(fleet: Fleet, calls: Calls, deaths: Deaths) -> Iterator[str]:
        yield from _only_poison(env, redriven, messages[redrive], {None})
        yield from _only_poison(env, sent, messages[by_worker], {"RuntimeError: poison", "Reject: said so"})
        tries = [len(calls[key(instruction)]) for instruction in messages[redrive] if is_poison(instruction)]
        if max(tries) > MAX_ATTEMPTS:
            yield f"poison was processed {max(tries)} times although its queue allows {MAX_ATTEMPTS}"
        healthy = {
            key(instruction)
            for each in messages.values()
            for instruction in each
            if not is_poison(instruction)
        }
        yield from invariants.repeated_only_for_a_reason(
            {each: calls[each] for each in healthy if each in calls}, deaths
        )
        yield from exits_cleanly(fleet)

    return run(env, workers, harmless_faults(env.seed), messages, check)


def _only_poison(
    env: Environment, url: str, messages: Sequence[Instruction], reasons: set[str | None]
) -> Iterator[str]:
    """The dead-letter queue holds exactly the poison, with these reasons."""
    dead_letters = env.cloud.contents(url)
    found = {key(json.loads(dead_letter["Body"])) for dead_letter in dead_letters}
    sent = {key(instruction) for instruction in messages if is_poison(instruction)}
    if found != sent:
        missing, strange = len(sent - found), len(found - sent)
        yield f"of {len(sent)} poisoned messages {missing} are not in {url}, and {strange} others are"
    options = Counter(
        dead_letter.get("MessageAttributes", {}).get(REASON, {}).get("StringValue")
        for dead_letter in dead_letters
    )
    if set(options) != reasons:
        yield f"the reasons in {url} are {dict(options)}"


# ---- handlers with faults ----------------------------------------------------------------------------------

HANDLER_FAULTS = (Do.RAISE_ONCE, Do.EXIT_ONCE, Do.INTERRUPT_ONCE, Do.DIE_ONCE, Do.HANG_ONCE, Do.LATE_ONCE)
DEADLINE_S = 2
EXHAUSTED = 1
"""The exit status of a worker whose every slot is held by a handler that hangs."""


def misbehaviour(env: Environment, count: int) -> Verdict:
    """Handlers that hang, raise, end their process or return late: other messages are still processed."""
    url = env.cloud.create("misbehaviour")
    messages = [
        {**instruction, "do": HANDLER_FAULTS[place % 40], "s": 1.5 * DEADLINE_S}
        if place % 40 < len(HANDLER_FAULTS)
        else instruction
        for place, instruction in enumerate(instructions("misbehaviour", count))
    ]
    short_deadlines = (
        *("--max-processing-s", str(DEADLINE_S), "--grace-s", str(2 * DEADLINE_S)),
        *("--min-concurrency", "3", "--max-concurrency", "3"),
    )

    def check(fleet: Fleet, calls: Calls, deaths: Deaths) -> Iterator[str]:
        allowed = {("itself", EXHAUSTED), ("itself", DIED), ("SIGTERM", 0), ("SIGTERM", EXHAUSTED)}
        if strange := {each for each in fleet.statuses if each[0] != BEFORE_IT_BEGAN} - allowed:
            yield f"workers ended although no handler ended them: {sorted(strange)}"

    return run(env, three_commands("--queue", url, *short_deadlines), Plan(), {url: messages}, check)


# ---- priorities --------------------------------------------------------------------------------------------

STARVING_AFTER_S = 2.0
MAX_WAIT_FACTOR = 3.0
"""Times `STARVING_AFTER_S`: a starving message has to be received before it is started, on a busy machine."""
HIGH_SHARE = 0.8
MIN_HIGH_MESSAGES = 300
"""With fewer messages the share says little: a fifth of them begin while slots are idle, or because they
starve on a machine that stalls for seconds."""


def priorities(env: Environment, count: int) -> Verdict:
    """Many messages of high priority, fewer of medium and low: high goes first, and low does not starve."""
    count = max(count, MIN_HIGH_MESSAGES)
    levels = ("high", "medium", "low")
    urls = {level: env.cloud.create(level) for level in levels}
    messages = {
        urls[level]: instructions(level, count if level == "high" else count // 3, s=0.05) for level in levels
    }
    options = [part for level in levels for part in ("--queue", f"{urls[level]}={level}")]
    options = (*SHORT_TIMES, "--starving-after-s", str(STARVING_AFTER_S), "--prefetch-s", "0.2", *options)

    def check(fleet: Fleet, calls: Calls, deaths: Deaths) -> Iterator[str]:
        started = sorted((spans[0] for spans in calls.values()), key=lambda span: span.began_at)
        last = max(place for place, span in enumerate(started) if span.queue == "high")
        while_high = started[: last + 1]
        share = sum(span.queue == "high" for span in while_high) / len(while_high)
        if share < HIGH_SHARE:
            yield f"only {share:.0%} of the messages started while high priority waited was of high priority"
        for level in levels[1:]:
            times = [span.began_at for span in while_high if span.queue == level]
            gaps = pairwise([while_high[0].began_at, *times, while_high[-1].began_at])
            longest_s = max(after - before for before, after in gaps)
            if longest_s > MAX_WAIT_FACTOR * STARVING_AFTER_S:
                yield f"{level} priority waited {longest_s:.1f} s; it starves after {STARVING_AFTER_S:g} s"
        yield from invariants.repeated_only_for_a_reason(calls, deaths)
        yield from exits_cleanly(fleet)

    workers = WorkerSet(members=[Member(options), Member(options)])
    return run(env, workers, Plan(), messages, check, send_first=True)
