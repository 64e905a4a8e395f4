"""Which instances boot, since when, and when they are expected to be ready.

AWS shows how many instances boot, not since when and never until when. Launches are remembered by tick and by
kind of start: cold, or from the warm pool. The instance that is expected first is taken to be ready first. Of
launches that overlap, the fast instances are seen first and would bias the estimate: boot times count only
once every launch that booted beside them is ready, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from sluice.core.deadline.state import BootSamples, EngineState, Launch
from sluice.core.model import BootTime

PRIOR_WEIGHT = 4.0
"""Weight of the boot time in the document, in measured boots."""
MAX_WEIGHT = 200.0
"""Measured boots of a kind that count; older ones fade."""
WARM_LEAD_RATIO = 0.5
"""Share of a cold boot by which a start from the warm pool is ready sooner, until one was measured.

It only tells which of the booting instances have become ready; the plan counts on nothing that was not
measured.
"""
LAUNCHES_PER_AGE = 40.0
"""Launches that lie closer together than their age divided by this count as one, made with the first."""
RESOLUTION_S = 5.0
"""Boot times are rounded to this, in seconds, so that a few samples describe them."""
QUANTILES = 8
"""A boot time is one of this many equally likely values."""
LOST_AFTER = 2.0
"""An instance that has booted this many times longer than the slowest quantile is not waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Booting:
    """What one reading shows of the instances that boot."""

    launches: tuple[Launch, ...]
    """Those that still boot, oldest first."""
    ready: tuple[BootSamples, ...] = ()
    """Boot times that do not count yet."""
    ready_since_s: float | None = None
    """When the first of them was ready."""
    complete: tuple[BootSamples, ...] = ()
    """Boot times that count from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootTimes:
    """Equally likely boot times in seconds, shortest first, by kind of start."""

    cold_s: tuple[float, ...]
    warm_s: tuple[float, ...]

    def of(self, *, warm: bool) -> tuple[float, ...]:
        """Those of one kind."""
        return self.warm_s if warm else self.cold_s

    def mean_s(self, *, warm: bool) -> float:
        """The mean of one kind."""
        return sum(self.of(warm=warm)) / len(self.of(warm=warm))


@dataclass(frozen=True, slots=True, kw_only=True)
class NextBoot:
    """How long an instance launched now takes on average, and whether it is started from the warm pool."""

    mean_s: float
    warm: bool = False


def next_boot(state: EngineState, times: BootTimes) -> NextBoot:
    """The next launch is from the warm pool while that has instances; this counts once one was measured."""
    warm = state.warm > 0 and any(one.warm for one in state.boots)
    return NextBoot(mean_s=times.mean_s(warm=warm), warm=warm)


@lru_cache(maxsize=1024)
def boot_times(boots: tuple[BootSamples, ...], prior_s: float) -> BootTimes:
    """What the samples say of each kind; `prior_s` is the document's, for both kinds."""
    cold, warm = (tuple(one for one in boots if one.warm is kind) for kind in (False, True))
    return BootTimes(cold_s=quantiles_s(cold, prior_s), warm_s=quantiles_s(warm, prior_s))


def measured_boots(boots: Sequence[BootSamples]) -> tuple[BootTime, ...]:
    """Mean and 90th percentile of the measured boot times by kind of start, cold first."""
    measured: list[BootTime] = []
    for warm in (False, True):
        samples = sorted((one.boot_s, one.weight) for one in boots if one.warm is warm and one.weight > 0)
        if not samples:
            continue
        total = math.fsum(weight for _, weight in samples)
        mean_s = math.fsum(boot_s * weight for boot_s, weight in samples) / total
        p90_s = next(
            boot_s
            for boot_s, _ in samples
            if math.fsum(weight for other_s, weight in samples if other_s <= boot_s) >= 0.9 * total
        )
        measured.append(BootTime(warm=warm, mean_s=mean_s, p90_s=p90_s))
    return tuple(measured)


def warm_lead_s(boots: tuple[BootSamples, ...], prior_s: float) -> float:
    """By how many seconds a start from the warm pool is ready sooner than a cold one, on average."""
    times = boot_times(boots, prior_s)
    if not any(one.warm for one in boots):
        return WARM_LEAD_RATIO * times.mean_s(warm=False)
    return times.mean_s(warm=False) - times.mean_s(warm=True)


def booting_launches(
    state: EngineState, now_s: float, *, booting: int, refused: int, started: int, lead_s: float = 0.0
) -> Booting:
    """The launches that still boot, given how many instances boot now.

    `refused` are instances that are asked for and that AWS has not launched: they can only be of the launch
    of the previous tick, those from the warm pool last. `started` is by how many more instances run than at
    the last reading: of those that boot no more, as many are ready, the oldest first, where a start from the
    warm pool counts as `lead_s` older. The others failed or were cancelled. What boots beyond the known
    launches was launched just now, from the warm pool as far as that had instances.
    """
    if not state.launches and not booting and not state.ready:
        return Booting(launches=())
    launches, ready, since_s = list(state.launches), list(state.ready), state.ready_since_s
    for newest in [one for one in reversed(launches) if one.at_s == state.read_s]:
        launches.remove(newest)
        if newest.instances > refused:
            launches.append(replace(newest, instances=newest.instances - refused))
        refused = max(0, refused - newest.instances)
    launches.sort(key=lambda one: one.at_s - (lead_s if one.warm else 0.0))
    finished = sum(one.instances for one in launches) - booting
    while finished > 0:
        oldest = launches.pop(0)
        took = min(finished, oldest.instances)
        if (newly_ready := min(took, started)) > 0:
            ready.append(BootSamples(boot_s=now_s - oldest.at_s, weight=newly_ready, warm=oldest.warm))
        started -= newly_ready
        finished -= took
        if took < oldest.instances:
            launches.insert(0, replace(oldest, instances=oldest.instances - took))
    if finished < 0:
        launches += launches_at(now_s, -finished, warm=state.warm)
    launches = _coarser(launches, now_s)
    if not ready:
        return Booting(launches=tuple(launches))
    since_s = now_s if since_s is None else since_s
    if not launches or launches[0].at_s > since_s:
        return Booting(launches=tuple(launches), complete=tuple(ready))
    return Booting(
        launches=tuple(launches), ready=_rounded([(one, 1.0) for one in ready]), ready_since_s=since_s
    )


def launches_at(at_s: float, instances: int, *, warm: int) -> list[Launch]:
    """A launch of so many instances while the warm pool has `warm` stopped ones, by kind of start."""
    kinds = ((True, min(instances, warm)), (False, max(0, instances - warm)))
    return [Launch(at_s=at_s, instances=count, warm=kind) for kind, count in kinds if count]


def _coarser(launches: Sequence[Launch], now_s: float) -> list[Launch]:
    """The launches, oldest first, so that many ticks of slow boots take little memory."""
    parts: list[Launch] = []
    for one in sorted(launches, key=lambda one: (not one.warm, one.at_s)):
        last = parts[-1] if parts and parts[-1].warm is one.warm else None
        if last and one.at_s - last.at_s <= (now_s - last.at_s) / LAUNCHES_PER_AGE:
            parts[-1] = replace(last, instances=last.instances + one.instances)
        else:
            parts.append(one)
    return sorted(parts, key=lambda one: one.at_s)


def with_samples(boots: Sequence[BootSamples], complete: Sequence[BootSamples]) -> tuple[BootSamples, ...]:
    """The measured boot times with new ones; old ones fade, so that a kind weighs MAX_WEIGHT at most."""
    if not complete:
        return tuple(boots)
    return tuple(
        sample
        for kind in (False, True)
        for sample in _with_samples(
            [one for one in boots if one.warm is kind], [one for one in complete if one.warm is kind]
        )
    )


def _with_samples(boots: Sequence[BootSamples], complete: Sequence[BootSamples]) -> tuple[BootSamples, ...]:
    """Those of one kind."""
    if not complete:
        return tuple(boots)
    new = sum(one.weight for one in complete)
    old = sum(one.weight for one in boots)
    fade = min(1.0, max(MAX_WEIGHT - new, 0.0) / old) if old else 0.0
    cut = min(1.0, MAX_WEIGHT / new)
    return _rounded([*((one, fade) for one in boots), *((one, cut) for one in complete)])


def _rounded(samples: Sequence[tuple[BootSamples, float]]) -> tuple[BootSamples, ...]:
    """Samples, each with a factor for its weight, as one for each rounded boot time, shortest first."""
    weights: dict[tuple[bool, float], float] = {}
    for one, factor in samples:
        key = one.warm, round(one.boot_s / RESOLUTION_S) * RESOLUTION_S
        weights[key] = weights.get(key, 0.0) + one.weight * factor
    return tuple(
        BootSamples(boot_s=boot_s, weight=weight, warm=warm)
        for (warm, boot_s), weight in sorted(weights.items())
        if weight >= 0.01
    )


def quantiles_s(boots: tuple[BootSamples, ...], prior_s: float) -> tuple[float, ...]:
    """QUANTILES equally likely boot times in seconds, shortest first; `prior_s` is the document's."""
    known = sorted([*((one.boot_s, one.weight) for one in boots), (prior_s, PRIOR_WEIGHT)])
    total = sum(weight for _, weight in known)
    values: list[float] = []
    covered = 0.0
    for boot_s, weight in known:
        covered += weight
        while len(values) < QUANTILES and (2 * len(values) + 1) * total <= 2 * QUANTILES * covered:
            values.append(boot_s)
    return tuple(values)


def expected_ready(launches: Sequence[Launch], now_s: float, times: BootTimes) -> list[tuple[float, float]]:
    """(moment, instances) at which the booting instances are expected to be ready, earliest first.

    An instance that has booted longer than every quantile is expected now, and after LOST_AFTER times the
    slowest no more.
    """
    expected: list[tuple[float, float]] = []
    for launch in launches:
        age_s = now_s - launch.at_s
        quantiles = times.of(warm=launch.warm)
        left = [boot_s for boot_s in quantiles if boot_s > age_s]
        if left:
            share = launch.instances / len(left)
            expected += [(launch.at_s + boot_s, share) for boot_s in left]
        elif age_s <= LOST_AFTER * quantiles[-1]:
            expected.append((now_s, launch.instances))
    return sorted(expected)
