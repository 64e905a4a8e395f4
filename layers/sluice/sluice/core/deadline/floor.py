"""The floor: instances held where the promise is shorter than a boot.

What is launched for messages that arrive within a boot is ready too late for them, so the instances must be
there before. How many is the square-root staffing rule (Halfin and Whitt, 1981): load + safety x
sqrt(load), in slots, the load being arrival rate x processing time. The safety factor is learned: for each
tick of about a day, what would have been needed, a boot after the load was known, for all that arrived
within the boot to start in time; the factor is the quantile, by messages, that leaves as many late as the
promise allows. Messages that arrived a boot after an idle queue count apart, so that a fleet that starts a
few messages late every morning is not held overnight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluice.core.deadline.arrivals import RATE_WINDOW_S, rate_before_per_s
from sluice.core.deadline.plan import starts
from sluice.core.deadline.state import Arrivals, Safety
from sluice.core.model import Deadline

LATE_ALLOWED = 0.8
"""The floor leaves this share of the late messages that the promise allows: what was needed yesterday is not
quite what is needed today."""
MEMORY_S = 86_400.0
"""Older needs fade: after this time they count 1/e."""
FADE_S = 3600.0
"""They fade at once for so long: what a tick fades would be lost in the rounding of what is stored."""
MIN_MESSAGES = 1.0
"""A class of fewer messages is forgotten as it fades."""
FIRST_WIDTH = 0.25
WIDTH_GROWTH = 1.25
"""A safety factor is counted in classes: the first is this wide, each next one wider by this factor."""
CLASSES = 64
LOADS_PER_BOOT = 3
"""The load is compared at this many moments of the last boot."""
MAX_LOAD_RATIO = 8.0
"""A floor of more than this many times the mean load of a day does not pay: it is not held."""
MIN_MEASURED_S = 3600.0
"""The mean load is an average over this time at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Slots to hold now."""

    held: float
    needed: float
    """More than `held` where that does not pay."""
    mean_load: float
    """Slots that the arrivals of about a day kept busy."""


def floor(
    safety: Safety,
    recent: Sequence[Arrivals],
    now_s: float,
    deadline: Deadline,
    *,
    boot_s: float,
    processing_s: float,
) -> Floor:
    """The floor for the highest load of the last boot: what ends now is not back before the next one.

    There is none once no message has arrived for a day.
    """
    moments_s = (now_s - boot_s * part / LOADS_PER_BOOT for part in range(LOADS_PER_BOOT + 1))
    load = max(rate_before_per_s(recent, moment_s) for moment_s in moments_s) * processing_s
    if now_s - safety.newest_s > MEMORY_S:
        safety = Safety()
    loaded, idle = safety_factors(safety, 1 - deadline.promise_percent / 100)
    needed = load + loaded * math.sqrt(max(load, 1.0)) if load else idle
    messages = sum(safety.loaded) + sum(safety.idle)
    mean_load = messages * processing_s / max(safety.seconds, MIN_MEASURED_S)
    pays = max(1.0, load, MAX_LOAD_RATIO * mean_load)
    return Floor(held=min(needed, pays), needed=needed, mean_load=mean_load)


def with_arrivals(
    safety: Safety,
    recent: Sequence[Arrivals],
    newest: Arrivals,
    deadline: Deadline,
    boot_s: float,
    processing_s: float,
) -> Safety:
    """The memory with what the newest messages would have needed; `recent` reaches a boot further back."""
    now_s = newest.until_s
    faded = _faded(safety, now_s // FADE_S - newest.since_s // FADE_S)
    faded = replace(faded, seconds=faded.seconds + newest.elapsed_s)
    known_s = now_s - boot_s - newest.elapsed_s
    if not newest.messages or recent[0].since_s > known_s - RATE_WINDOW_S / 2:
        return faded  # nobody knows the load of a boot ago
    load = rate_before_per_s(recent, known_s) * processing_s
    arrived = needed = 0.0
    for one in reversed([one for one in recent if one.since_s >= known_s]):
        arrived += one.messages
        within_s = now_s - one.since_s + deadline.promise_s - deadline.margin_s
        needed = max(needed, arrived / starts(within_s, processing_s))
    number = _class(max(0.0, needed - load) / math.sqrt(max(load, 1.0)))
    if load:
        return replace(faded, newest_s=now_s, loaded=_added(faded.loaded, number, newest.messages))
    return replace(faded, newest_s=now_s, idle=_added(faded.idle, number, newest.messages))


def safety_factors(safety: Safety, late_share: float) -> tuple[float, float]:
    """(while messages arrive, after an idle queue): together they leave LATE_ALLOWED x `late_share` late.

    At most half of these may be late after an idle queue.
    """
    allowed = LATE_ALLOWED * late_share * (sum(safety.loaded) + sum(safety.idle))
    idle, late = _quantile(safety.idle, allowed / 2)
    loaded, _ = _quantile(safety.loaded, allowed - late)
    return loaded, idle


def _quantile(messages: Sequence[float], above: float) -> tuple[float, float]:
    """(safety factor, messages that need more) where at most `above` need more."""
    late = 0.0
    for number in range(len(messages) - 1, -1, -1):
        if late + messages[number] > above:
            share = (above - late) / messages[number]
            low, high = _upper(number - 1), _upper(number)
            return high - share * (high - low), above
        late += messages[number]
    return 0.0, late


def _upper(number: int) -> float:
    """The highest safety factor of a class; 0 below the first."""
    return FIRST_WIDTH * (WIDTH_GROWTH ** (number + 1) - 1) / (WIDTH_GROWTH - 1)


def _class(factor: float) -> int:
    return min(
        CLASSES - 1, int(math.log1p(factor * (WIDTH_GROWTH - 1) / FIRST_WIDTH) / math.log(WIDTH_GROWTH))
    )


def _faded(safety: Safety, times: float) -> Safety:
    """What is left after so many times FADE_S."""
    if not times:
        return safety
    fade = math.exp(-FADE_S / MEMORY_S) ** times
    loaded, idle = (
        tuple(one * fade if one * fade >= MIN_MESSAGES else 0.0 for one in messages)
        for messages in (safety.loaded, safety.idle)
    )
    return replace(safety, seconds=safety.seconds * fade, loaded=loaded, idle=idle)


def _added(messages: Sequence[float], number: int, more: float) -> tuple[float, ...]:
    counted = [*messages, *(0.0 for _ in range(number + 1 - len(messages)))]
    counted[number] += more
    return tuple(counted)
