"""How many slots start messages in time: queueing formulas for a load that does not change.

A slot works on one message at a time; an instance has as many as its concurrency. The offered load is the
number of slots that the arrivals keep busy on average (Erlang 1917; Little 1961: arrivals a second x mean
processing time). Arrivals are Poisson: a load that changes over the day is planned for its busiest time by
`peak_rate`, which assumes no distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MAX_SLOTS = 10_000_000
"""Largest load that is computed, within seconds: that of the largest fleet of workload.yaml."""
MAX_SAFETY = 40.0
"""Nobody waits with a margin of so many square roots of the load."""


def variability(processing_cv: float, arrivals_cv: float = 1.0) -> float:
    """By how much waits exceed those of M/M/k: (ca^2 + cs^2) / 2 (Allen-Cunneen, Allen 1990, for G/G/k).

    The arguments are coefficients of variation (deviation / mean); Poisson arrivals have 1.
    """
    return (arrivals_cv**2 + processing_cv**2) / 2


def wait_probability(slots: int, load: float) -> float:
    """P(a message waits at all) in M/M/k: Erlang C, by the recursion of Erlang B (Erlang 1917)."""
    blocked = 1.0
    for number in range(1, slots + 1):
        blocked = load * blocked / (number + load * blocked)
    return _delayed(slots, load, blocked)


def late_share(slots: int, load: float, wait_in_services: float, variation: float = 1.0) -> float:
    """P(wait > t) of a message, t in mean processing times: Erlang C x exp(-(slots - load) t / variation).

    Exact for M/M/k (`variation` 1, first come first served); otherwise the waits of those that wait are
    taken as exponential with a mean that `variability` stretches (Allen-Cunneen; Whitt 1993). 1 where the
    load is too large for the slots.
    """
    if load >= slots:
        return 1.0
    return wait_probability(slots, load) * _outlasting(slots - load, wait_in_services, variation)


def fewest_slots(
    load: float, late_allowed: float, wait_in_services: float, variation: float = 1.0, *, multiple: int = 1
) -> int:
    """The fewest slots, a multiple of `multiple`, with which `late_share` is at most `late_allowed`.

    One pass: the recursion of Erlang B goes on until the share is small enough. ValueError above MAX_SLOTS.
    """
    if not 0 <= load <= MAX_SLOTS:
        raise ValueError(
            f"a load of {load:g} busy slots is not between 0 and {MAX_SLOTS:,}: check the units of the "
            "arrivals and of the processing time"
        )
    blocked, slots = 1.0, 0
    while True:
        slots += 1
        blocked = load * blocked / (slots + load * blocked)
        if slots % multiple or load >= slots:
            continue
        waiting = _delayed(slots, load, blocked) * _outlasting(slots - load, wait_in_services, variation)
        if waiting <= late_allowed:
            return slots


def safety_factor(load: float, late_allowed: float, wait_in_services: float, variation: float = 1.0) -> float:
    """Beta of the square-root staffing rule: load + beta x sqrt(load) slots leave this share late.

    Halfin and Whitt (1981): with that margin a message waits with the probability
    1 / (1 + beta Phi(beta) / phi(beta)), whatever the size of the fleet.
    Within a slot of Erlang C, before that is rounded up.
    """
    low, high = 0.0, MAX_SAFETY
    for _ in range(60):
        beta = (low + high) / 2
        waiting = _halfin_whitt(beta) * _outlasting(beta * math.sqrt(load), wait_in_services, variation)
        low, high = (beta, high) if waiting > late_allowed else (low, beta)
    return high


def cold_share(
    load: float, slots: int, arrivals_per_s: float, idle_s: float, start_s: float, promise_s: float
) -> float:
    """Share of the messages that start late because no instance runs, 0 if a start is within the promise.

    The fleet ends after `idle_s` without a message and needs `start_s` until the next one is processed: a
    queue with set-up times and delayed off (Welch 1964 for one server; Gandhi, Harchol-Balter and Adan 2010,
    "Server farms with setup costs", for many). A cycle begins with a message that finds the queue empty, and
    no other for `idle_s` before it, which has the probability p0 exp(-arrivals x idle). It and those within
    `start_s - promise_s` after it are late; those within `start_s` lengthen the cycle.

    It applies to fleets whose load is at most a few slots: larger ones are hardly ever empty, and the share
    is practically 0. It does not count those that are late because they wait behind late ones, nor set-ups
    of further instances: `wait_probability` and the target are for these.
    """
    if start_s <= promise_s or arrivals_per_s == 0:
        return 0.0
    begins = _empty(slots, load) * math.exp(-arrivals_per_s * idle_s)
    return begins * (1 + arrivals_per_s * (start_s - promise_s)) / (1 + begins * arrivals_per_s * start_s)


def cold_share_of_trace(
    counts: Sequence[int], interval_s: float, idle_s: float, start_s: float, promise_s: float
) -> float:
    """The same for counted arrivals, each at the beginning of its interval; a trace begins at zero."""
    if start_s <= promise_s:
        return 0.0
    last_s, ready_s, late = -math.inf, -math.inf, 0
    for number, count in enumerate(counts):
        if not count:
            continue
        at_s = number * interval_s
        if at_s - max(last_s, ready_s) > idle_s:
            ready_s = at_s + start_s
        late += count if ready_s - at_s > promise_s else 0
        last_s = at_s
    return late / max(sum(counts), 1)


def running_share(arrivals_per_s: float, linger_s: float) -> float:
    """Share of the time in which a fleet runs that ends `linger_s` after its last message.

    Renewal theory for Poisson arrivals: it runs unless none arrived for so long, 1 - exp(-arrivals x linger).
    """
    return -math.expm1(-arrivals_per_s * linger_s)


def peak_rate(counts: Sequence[int], interval_s: float, slack_s: float) -> float:
    """Messages a second that a fleet must process at its busiest, if it follows its backlog.

    A fleet of backlog / target instances, where an instance processes its target within `slack_s`, processes
    backlog / slack: the backlog is a first-order lag of the arrivals, and what the fleet processes is their
    exponentially smoothed rate with the time constant `slack_s`. This is its maximum. It assumes no
    distribution; arrivals are a fluid within an interval.
    """
    kept = math.exp(-interval_s / slack_s)
    smoothed = peak = 0.0
    for count in counts:
        smoothed = smoothed * kept + count * (1 - kept)
        peak = max(peak, smoothed)
    return peak / interval_s


def _delayed(slots: int, load: float, blocked: float) -> float:
    """Erlang C from Erlang B."""
    return 1.0 if load >= slots else slots * blocked / (slots - load * (1 - blocked))


def _outlasting(spare_slots: float, wait_in_services: float, variation: float) -> float:
    return math.exp(-spare_slots * wait_in_services / variation) if wait_in_services else 1.0


def _halfin_whitt(beta: float) -> float:
    density = math.exp(-(beta**2) / 2) / math.sqrt(2 * math.pi)
    below = (1 + math.erf(beta / math.sqrt(2))) / 2
    return density / (density + beta * below)


def _empty(slots: int, load: float) -> float:
    """P(no message waits or is processed) in M/M/k."""
    if load >= slots:
        return 0.0
    total = term = 1.0
    for number in range(1, slots):
        term *= load / number
        total += term
        if math.isinf(total):
            return 0.0
    return 1 / (total + term * load / (slots - load))
