"""Conservation check: no message may disappear.

Every message is looked up by identity, never derived from totals: two errors that cancel out would leave the
totals right.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sluice_sim.simulator import queue_kernel
from sluice_sim.simulator.queue_kernel import (
    Ints,
    KernelState,
    Messages,
    UInt8s,
)


def lost(messages: Messages, kernel: KernelState) -> int:
    """Number of messages that are neither processed nor dead-lettered, nor in the queue or a slot."""
    waiting = messages.state == queue_kernel.WAITING
    return int((waiting & (_held(messages, kernel) == 0)).sum())


def _held(messages: Messages, kernel: KernelState) -> UInt8s:
    """By message: 1 if it is in the queue or in a slot."""
    held = np.zeros(messages.state.size, np.uint8)
    returning = kernel.visible_message[: kernel.counts[queue_kernel.RETURNING]]
    in_slots = kernel.message[kernel.message != queue_kernel.NO_MESSAGE]
    held[returning] = 1
    held[in_slots] = 1
    if messages.next_in_group.size:
        _hold_followers(np.concatenate([returning, in_slots]), messages.next_in_group, held)
    else:
        held[kernel.counts[queue_kernel.NEXT_NEW] :] = 1
    return held


@njit(cache=True)
def _hold_followers(heads: Ints, next_in_group: Ints, held: UInt8s) -> None:
    """FIFO queues: mark all messages behind the receivable one of each group."""
    for head in heads:
        message = next_in_group[head]
        while message != queue_kernel.NO_MESSAGE:
            held[message] = 1
            message = next_in_group[message]
