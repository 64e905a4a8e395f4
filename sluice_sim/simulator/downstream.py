"""A service that every attempt to process a message calls, and that fails attempts beyond its capacity.

An attempt that begins while L attempts are in progress, itself included, fails with the probability
1 - C / L where L exceeds the capacity C, and never below it. That is a server whose goodput stays at its
capacity while the load grows, because it sheds the excess ("Using load shedding to avoid overload", Amazon
Builders' Library; without shedding goodput would fall, and more workers would do more harm than here).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

STREAM = 8
"""Random stream beside the seed; `study.experiment` has the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downstream:
    """The settings of a downstream service."""

    capacity: int
    """Attempts that it serves concurrently without a failure."""
    failed_time_ratio: float = 1.0
    """Seconds of a failed attempt over those of one that succeeds."""
    seed: int = 0


class Failures(NamedTuple):
    """A downstream service as the kernel needs it."""

    capacity: float
    """Infinite without a downstream."""
    time_ratio: float
    visibility_timeout_s: float
    seed: np.uint64


def failures(downstream: Downstream | None, visibility_timeout_s: float) -> Failures:
    """What the kernel needs of a downstream, or of none."""
    if downstream is None:
        return Failures(math.inf, 1.0, visibility_timeout_s, np.uint64(0))
    mixed = np.random.SeedSequence([downstream.seed, STREAM]).generate_state(1, np.uint64)[0]
    return Failures(float(downstream.capacity), downstream.failed_time_ratio, visibility_timeout_s, mixed)


@njit(cache=True)
def fails(load: int, capacity: float, seed: np.uint64, message: int, attempt: int) -> bool:
    """Whether an attempt fails that begins as the `load`-th concurrent one.

    The draw depends on the message and its attempt alone, so that two policies meet the same luck.
    """
    return load > capacity and _uniform(seed, message, attempt) >= capacity / load


@njit(cache=True)
def visible_again_s(started_s: float, now_s: float, visibility_timeout_s: float) -> float:
    """When a message becomes visible that was received at `started_s` and given up at `now_s`.

    Workers extend the timeout while they work, so that is the first multiple of the timeout after `now_s`,
    counted from the receive.
    """
    extensions = math.floor((now_s - started_s) / visibility_timeout_s) + 1
    return started_s + extensions * visibility_timeout_s


@njit(cache=True)
def _uniform(seed: np.uint64, message: int, attempt: int) -> float:
    """A number in [0, 1): the mixing function of SplitMix64 (Steele, Lea, Flood 2014) over its arguments."""
    mixed = seed ^ (np.uint64(message) << np.uint64(16)) ^ np.uint64(attempt)
    mixed += np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return float(mixed >> np.uint64(11)) / 2.0**53
