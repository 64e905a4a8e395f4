"""How many instances the message groups of a FIFO queue can use.

SQS delivers a message group to one receiver at a time and does not say how many groups wait. So a fleet may
grow to twice the instances that were busy, and if that leaves instances idle while messages wait, the groups
in flight are all there are.
"""

from __future__ import annotations

import math

from sluice.core.deadline.state import EngineState, Groups
from sluice.core.model import Backlog, BusyInstances, Capacity, Workload

RETRY_S = 1800.0
"""How long a limit counts before the fleet may double again: new groups may have arrived."""
BUSY_FADES_S = 3600.0
"""Without a limit, the most messages in flight fade by a factor of e in this time, in seconds."""


def next_groups(
    workload: Workload, backlog: Backlog, capacity: Capacity, before: EngineState, now_s: float
) -> Groups:
    """What is known of the queue's groups after this reading."""
    known, elapsed_s = before.groups or Groups(), now_s - before.read_s
    concurrency = workload.target.concurrency_per_instance
    in_flight, deadline = float(backlog.in_flight), workload.deadline
    if deadline and deadline.busy_instances is BusyInstances.PROTECTED and capacity.protected is not None:
        # A worker may hold several messages of a group and work on one: busy instances say more.
        in_flight = min(in_flight, capacity.protected * concurrency)
    fades = 1.0 if now_s < known.limited_until_s else math.exp(-elapsed_s / BUSY_FADES_S)
    busy = max(in_flight, known.in_flight * fades)
    # An instance that did not run at the previous reading may not receive yet.
    slots = min(capacity.running, before.running) * concurrency
    # One instance more than the groups need is idle at two readings in a row while messages wait.
    is_idle = backlog.visible > 0 and slots - in_flight >= concurrency
    is_limited = is_idle and known.was_idle and capacity.running > 1
    if is_limited:
        return Groups(in_flight=in_flight, was_idle=is_idle, limited_until_s=now_s + RETRY_S)
    # Those that were taken for idle work after all: their workers had not started.
    is_refuted = not is_idle and min(in_flight, slots) > known.in_flight
    limited_until_s = 0.0 if is_refuted else known.limited_until_s
    return Groups(in_flight=busy, was_idle=is_idle, limited_until_s=limited_until_s)


def max_instances(groups: Groups, concurrency: float, now_s: float) -> int:
    """The most instances that the groups may be able to use."""
    busy = max(1, math.ceil(groups.in_flight / concurrency))
    return busy if now_s < groups.limited_until_s else 2 * busy
