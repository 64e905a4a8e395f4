"""How many instances drain a backlog in time while messages keep arriving, and how long a fleet takes.

Messages are treated as a fluid: an instance works through `concurrency / processing_s` messages a second
from the moment at which it has booted. What is unfinished at time t is the backlog plus what has arrived
minus what was worked through, and the queue is drained when that is zero. In the long run a fleet needs its
offered load (Erlang: arrivals x processing time, in busy slots), whatever the backlog.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ROUNDING = 1e-9
"""Relative: what floating point adds to a quotient must not start an instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a queue asks of its fleet. Every value is finite; the processing time and concurrency exceed 0."""

    backlog: float
    """Messages that wait or are in flight now."""
    arrivals_per_s: float
    processing_s: float
    """The mean time that a slot of a worker takes for a message."""
    concurrency_per_instance: float
    """Messages that an instance processes at once."""

    @property
    def messages_per_s_per_instance(self) -> float:
        """What an instance works through."""
        return self.concurrency_per_instance / self.processing_s

    @property
    def steady_instances(self) -> float:
        """The offered load in instances: what keeps up with the arrivals and never drains a backlog."""
        return self.arrivals_per_s / self.messages_per_s_per_instance


def instances_to_drain(work: Work, within_s: float, *, running: int = 0, boot_s: float = 0.0) -> int | None:
    """The fewest instances with which the queue is empty `within_s` seconds from now, `running` included.

    The `running` work from now on, the others from `boot_s` on. Never fewer than the steady load needs.
    None if no number does, since a launch takes until then and those that run are too few.
    """
    messages = work.backlog + work.arrivals_per_s * within_s
    per_s = work.messages_per_s_per_instance
    left = messages - running * per_s * within_s
    steady = _whole(work.steady_instances)
    if left <= messages * ROUNDING:
        return max(_whole(messages / (per_s * within_s)), steady)
    working_s = within_s - boot_s
    if working_s <= 0:
        return None
    return max(running + _whole(left / (per_s * working_s)), steady)


def drain_s(work: Work, instances: int, *, running: int = 0, boot_s: float = 0.0) -> float:
    """Seconds until a fleet that is set to `instances` now has drained the queue; infinite if it never does.

    Of them `running` work from now on, the others from `boot_s` on.
    """
    per_s = work.messages_per_s_per_instance
    before_boot_per_s = min(running, instances) * per_s - work.arrivals_per_s
    at_boot = work.backlog - before_boot_per_s * boot_s
    if at_boot <= 0:
        return work.backlog / before_boot_per_s if work.backlog else 0.0
    after_boot_per_s = instances * per_s - work.arrivals_per_s
    return boot_s + at_boot / after_boot_per_s if after_boot_per_s > 0 else math.inf


def _whole(instances: float) -> int:
    return math.ceil(instances * (1 - ROUNDING))
