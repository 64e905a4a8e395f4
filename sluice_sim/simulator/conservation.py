"""Where every message is: a count by identity, against which nothing can be lost unseen.

Owns the answer to "who holds this message". Refuses to reckon it from totals.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sluice_sim.simulator import queue_kernel
from sluice_sim.simulator.queue_kernel import (
    Bytes,
    Messages,
    Station,
    Whole,
)


def lost(messages: Messages, station: Station) -> int:
    """Messages that are neither processed nor dead-lettered, and that nobody holds."""
    waiting = messages.state == queue_kernel.WAITING
    return int((waiting & (_held(messages, station) == 0)).sum())


def _held(messages: Messages, station: Station) -> Bytes:
    """By message: 1 where the queue or a slot has it."""
    held = np.zeros(messages.state.size, np.uint8)
    returning = station.visible_message[: station.counts[queue_kernel.RETURNS]]
    in_slots = station.message[station.message != queue_kernel.NOBODY]
    held[returning] = 1
    held[in_slots] = 1
    if messages.following.size:
        _hold_followers(np.concatenate([returning, in_slots]), messages.following, held)
    else:
        held[station.counts[queue_kernel.FRESH] :] = 1
    return held


@njit(cache=True)
def _hold_followers(heads: Whole, following: Whole, held: Bytes) -> None:
    """Behind the message of a group that may be taken wait all later ones of it."""
    for head in heads:
        message = following[head]
        while message != queue_kernel.NOBODY:
            held[message] = 1
            message = following[message]
