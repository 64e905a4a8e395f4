"""Which instances boot, since when, and when they are expected to be ready.

AWS shows how many instances boot, not since when and never until when. Launches are remembered by tick, the
oldest is taken to be ready first, and a launch teaches its boot times only once all of it is ready: its fast
instances are seen first and would bias the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sluice.core.deadline.state import BootSamples, EngineState, Launch

PRIOR_WEIGHT = 4.0
"""Weight of the boot time in the document, in measured boots."""
MAX_WEIGHT = 200.0
"""Measured boots that count; older ones fade."""
RESOLUTION_S = 5.0
"""Boot times are rounded up to this, in seconds, so that a few samples describe them."""
QUANTILES = 8
"""A boot time is one of this many equally likely values."""
LOST_AFTER = 2.0
"""An instance that has booted this many times longer than the slowest quantile is not waited for."""


def booting_launches(state: EngineState, now_s: float, *, booting: int, running: int) -> BootRecord:
    """The launches that still boot, given how many instances boot and run now.

    Instances that run now and did not before were the oldest of those that booted. What neither runs nor boots
    was refused or ended: the newest. What boots beyond the launches was launched just now.
    """
    ready = max(0, min(running - state.running, sum(one.instances for one in state.launches)))
    launches, finished = list(state.launches), list(state.ready)
    complete: list[BootSamples] = []
    while ready:
        oldest = launches[0]
        took = min(ready, oldest.instances)
        finished.append(BootSamples(boot_s=now_s - oldest.at_s, weight=took))
        ready -= took
        if took == oldest.instances:
            launches.pop(0)
            complete, finished = complete + finished, []
        else:
            launches[0] = Launch(at_s=oldest.at_s, instances=oldest.instances - took)
    surplus = sum(one.instances for one in launches) - booting
    while surplus > 0:
        newest = launches.pop()
        if newest.instances > surplus:
            launches.append(Launch(at_s=newest.at_s, instances=newest.instances - surplus))
        surplus -= newest.instances
    if surplus < 0:
        launches.append(Launch(at_s=now_s, instances=-surplus))
    if not launches:
        complete, finished = complete + finished, []
    return tuple(launches), tuple(finished), tuple(complete)


BootRecord = tuple[tuple[Launch, ...], tuple[BootSamples, ...], tuple[BootSamples, ...]]
"""Launches that boot; ready instances of the oldest of them; boot times of launches that are ready in full."""


def with_samples(boots: Sequence[BootSamples], complete: Sequence[BootSamples]) -> tuple[BootSamples, ...]:
    """The measured boot times with new ones; the weights of the old ones fade so that they stay MAX_WEIGHT."""
    if not complete:
        return tuple(boots)
    new = sum(one.weight for one in complete)
    old = sum(one.weight for one in boots)
    fade = min(1.0, max(MAX_WEIGHT - new, 0.0) / old) if old else 0.0
    weights: dict[float, float] = {}
    for one, factor in [*((one, fade) for one in boots), *((one, 1.0) for one in complete)]:
        boot_s = -(-one.boot_s // RESOLUTION_S) * RESOLUTION_S
        weights[boot_s] = weights.get(boot_s, 0.0) + one.weight * factor
    return tuple(
        BootSamples(boot_s=boot_s, weight=weight)
        for boot_s, weight in sorted(weights.items())
        if weight >= 0.01
    )


@lru_cache(maxsize=1024)
def quantiles_s(boots: tuple[BootSamples, ...], prior_s: float) -> tuple[float, ...]:
    """QUANTILES equally likely boot times in seconds, shortest first; `prior_s` is the document's."""
    known = sorted([*((one.boot_s, one.weight) for one in boots), (prior_s, PRIOR_WEIGHT)])
    total = sum(weight for _, weight in known)
    values, covered = [], 0.0
    for boot_s, weight in known:
        covered += weight
        while len(values) < QUANTILES and (2 * len(values) + 1) * total <= 2 * QUANTILES * covered:
            values.append(boot_s)
    return tuple(values)


def expected_ready(
    launches: Sequence[Launch], now_s: float, quantiles: Sequence[float]
) -> list[tuple[float, float]]:
    """(moment, instances) at which the booting instances are expected to be ready, earliest first.

    An instance that has booted longer than every quantile is expected now, and after LOST_AFTER times the
    slowest no more.
    """
    expected: list[tuple[float, float]] = []
    for launch in launches:
        age_s = now_s - launch.at_s
        left = [boot_s for boot_s in quantiles if boot_s > age_s]
        if left:
            share = launch.instances / len(left)
            expected += [(launch.at_s + boot_s, share) for boot_s in left]
        elif age_s <= LOST_AFTER * quantiles[-1]:
            expected.append((now_s, launch.instances))
    return sorted(expected)
