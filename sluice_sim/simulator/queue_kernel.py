"""The compiled core of the simulator: which slot starts which message when, message by message.

A discrete-event simulation over arrays, compiled by numba. The slot that has been idle longest takes the
message that became visible first. This module handles the events between two snapshots; `fleet` decides which
instances are launched and stopped. Arrays are grouped in named tuples because numba compiles no other record.

Times are seconds since the start of the run. A slot works on one message at a time. A slot block is the
adjacent slots of one instance.

Slightly longer than 300 lines: the event loop and the operations on its arrays only make sense together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sluice_sim.simulator.downstream import Failures, fails, visible_again_s

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32s = NDArray[np.int32]
UInt8s = NDArray[np.uint8]
UInt16s = NDArray[np.uint16]

WAITING, PROCESSED, DEAD_LETTER = 0, 1, 2
NO_MESSAGE = -1
MINUTE_S = 60.0

# Indices into `KernelState.counts`. NEXT_NEW is the first message of a standard queue that was never
# received; SCHEDULED and RETURNING are the sizes of the two heaps; IDLE_HEAD and IDLE are the start and the
# length of the idle ring. FAILED counts the attempts that the downstream failed.
(
    NEXT_NEW,
    HELD,
    BUSY,
    COMPLETED,
    DEAD_LETTERED,
    SCHEDULED,
    RETURNING,
    IDLE_HEAD,
    IDLE,
    FREE_BLOCKS,
    FAILED,
) = range(11)
COUNTS = FAILED + 1


class Messages(NamedTuple):
    """Every message of a run, in the order of arrival."""

    arrival_s: Floats
    service_s: Floats
    started_s: Floats
    """Start of the service that succeeded, or of the last attempt; NaN before any."""
    state: UInt8s
    receives: UInt16s
    next_in_group: Ints
    """The next message of the same message group, NO_MESSAGE for its last; empty for a standard queue."""


class KernelState(NamedTuple):
    """The state of the queue and of the slots."""

    counts: Ints
    now_s: Floats
    failed_s: Floats
    """Seconds that slots spent on failed attempts; one number."""
    # By slot: its message, and whether its instance was stopped. By block: its instance.
    message: Ints
    abandoned: UInt8s
    failing: UInt8s
    """By slot: whether the attempt in progress will fail."""
    instance: Ints
    pending_slots: Ints
    """By block: slots that are in use, or abandoned but still in the event heap or the idle ring.

    A block is reused only at 0. Otherwise an entry left behind would act on another instance's slot.
    """
    # Event heap: when a busy slot finishes, or a booting one becomes ready.
    due_s: Floats
    due_slot: Ints
    # Ring of idle slots, longest idle first.
    idle: Ints
    free_blocks: Ints
    # Heap of messages by the time at which they become visible again, and of the heads of message groups.
    visible_s: Floats
    visible_message: Ints
    # By instance number.
    stopping: UInt8s
    busy: Ints
    serving_slots: Ints
    """Slots that may still receive or finish a message; the instance is gone at 0."""
    terminated_s: Floats
    fleet: Ints
    """The place of its fleet among those that read the queue."""
    paused: UInt8s
    """Whether it receives no more for now; its slots without a message are then in neither heap nor ring."""
    occupied: Ints
    """By fleet: instances that work on a message and were not stopped."""
    completed: Int32s
    """The processed messages, in the order in which they finished."""
    # By minute of the run in which the messages finished.
    duration_sum_s: Floats
    duration_square_s2: Floats
    duration_count: Ints
    failed_count: Ints
    """By minute: the attempts that failed in it."""


@njit(cache=True)
def advance(  # noqa: C901 - one loop over events, in the order in which they happen
    until_s: float,
    delay_s: float,
    max_receives: int,
    failures: Failures,
    messages: Messages,
    kernel: KernelState,
) -> None:
    """Process every event before `until_s` (seconds, exclusive).

    As in SQS, a message moves to the dead-letter queue when it would be received more than `max_receives`
    times. The heap of returning messages must have room for every message that can fail before `until_s`.

    The function is long on purpose. It is the hot loop, and passing a tuple of arrays to another compiled
    function costs more than handling an event, so parts of it cannot move into functions of their own.
    """
    # Unpacked once, so that the heap functions below take arrays and not the tuples that hold them.
    count, message_of, instance_of = kernel.counts, kernel.message, kernel.instance
    abandoned, idle, busy = kernel.abandoned, kernel.idle, kernel.busy
    due_s, due_slot, visible_s, visible_message = (
        kernel.due_s,
        kernel.due_slot,
        kernel.visible_s,
        kernel.visible_message,
    )
    arrival_s, service_s, started_s = messages.arrival_s, messages.service_s, messages.started_s
    receives, state, completed = messages.receives, messages.state, kernel.completed
    sum_s, square_s2, finished = (
        kernel.duration_sum_s,
        kernel.duration_square_s2,
        kernel.duration_count,
    )
    failing, failed, failed_s = kernel.failing, kernel.failed_count, kernel.failed_s
    occupied, fleet = kernel.occupied, kernel.fleet
    grouped = messages.next_in_group.size > 0
    total, ring = messages.arrival_s.size, kernel.idle.size
    slots = kernel.message.size // kernel.instance.size
    now = kernel.now_s[0]
    while True:
        # An abandoned slot at the head of the ring would otherwise receive a message for a stopped instance.
        if count[IDLE] > 0 and abandoned[idle[count[IDLE_HEAD]]]:
            _drop_abandoned_idle_slots(kernel)
        visible = math.inf
        if not grouped and count[NEXT_NEW] < total:
            visible = arrival_s[count[NEXT_NEW]] + delay_s
        # New messages are in order of arrival and need no heap; on a tie a returning one goes first.
        again = count[RETURNING] > 0 and visible_s[0] <= visible
        if again:
            visible = visible_s[0]
        due = due_s[0] if count[SCHEDULED] > 0 else math.inf
        # The earlier of two: a message starts on an idle slot, or the next scheduled event of a slot occurs.
        if count[IDLE] > 0 and visible <= due:
            moment = max(visible, now)
            if moment >= until_s:
                break
            now = moment
            if again:
                taken = _pop(visible_s, visible_message, count, RETURNING)
                if receives[taken] >= max_receives:
                    state[taken] = DEAD_LETTER
                    count[DEAD_LETTERED] += 1
                    _release_next_in_group(taken, now, delay_s, messages, kernel)
                    continue
            else:
                taken = count[NEXT_NEW]
                count[NEXT_NEW] += 1
            slot = idle[count[IDLE_HEAD]]
            count[IDLE_HEAD] = count[IDLE_HEAD] + 1 if count[IDLE_HEAD] + 1 < ring else 0
            count[IDLE] -= 1
            message_of[slot] = taken
            started_s[taken] = now
            receives[taken] += 1
            count[BUSY] += 1
            instance = instance_of[slot // slots]
            occupied[fleet[instance]] += busy[instance] == 0
            busy[instance] += 1
            takes_s = service_s[taken]
            failing[slot] = fails(count[BUSY], failures.capacity, failures.seed, taken, receives[taken])
            if failing[slot]:
                takes_s *= failures.time_ratio
            _push(due_s, due_slot, count, SCHEDULED, now + takes_s, slot)
            continue
        if due >= until_s:
            break
        now = due
        slot = _pop(due_s, due_slot, count, SCHEDULED)
        if abandoned[slot]:
            _release_slot(kernel, slot)
            continue
        instance = instance_of[slot // slots]
        done = message_of[slot]
        if done != NO_MESSAGE:
            message_of[slot] = NO_MESSAGE
            count[BUSY] -= 1
            busy[instance] -= 1
            occupied[fleet[instance]] -= busy[instance] == 0 and not kernel.stopping[instance]
            minute = int(now / MINUTE_S)
            if failing[slot]:
                count[FAILED] += 1
                failed[minute] += 1
                failed_s[0] += now - started_s[done]
                again_s = visible_again_s(started_s[done], now, failures.visibility_timeout_s)
                _push(visible_s, visible_message, count, RETURNING, again_s, done)
            else:
                state[done] = PROCESSED
                completed[count[COMPLETED]] = done
                count[COMPLETED] += 1
                sum_s[minute] += service_s[done]
                square_s2[minute] += service_s[done] * service_s[done]
                finished[minute] += 1
                if grouped:
                    _release_next_in_group(done, now, delay_s, messages, kernel)
        if kernel.stopping[instance]:
            abandoned[slot] = 1
            _release_slot(kernel, slot)
            kernel.serving_slots[instance] -= 1
            if kernel.serving_slots[instance] == 0:
                kernel.terminated_s[instance] = now
        elif not kernel.paused[instance]:
            place = count[IDLE_HEAD] + count[IDLE]
            idle[place if place < ring else place - ring] = slot
            count[IDLE] += 1
    kernel.now_s[0] = until_s


@njit(cache=True)
def launch(block: int, instance: int, fleet: int, ready_s: float, kernel: KernelState, slots: int) -> None:
    """Schedule the moment at which an instance's slots are ready."""
    kernel.instance[block] = instance
    kernel.fleet[instance] = fleet
    kernel.pending_slots[block] = slots
    kernel.serving_slots[instance] = slots
    for slot in range(block * slots, (block + 1) * slots):
        kernel.message[slot] = NO_MESSAGE
        kernel.abandoned[slot] = 0
        _push(kernel.due_s, kernel.due_slot, kernel.counts, SCHEDULED, ready_s, slot)


@njit(cache=True)
def stop(block: int, now_s: float, booting: bool, kernel: KernelState, slots: int) -> None:
    """Drain an instance: it receives nothing new and is gone once its last message is finished.

    Slots without a message are abandoned at once. They stay in the heap or ring until their entry comes up,
    because removing from the middle of either would cost a search.
    """
    instance = kernel.instance[block]
    is_occupied = kernel.busy[instance] > 0 and not kernel.stopping[instance]
    kernel.occupied[kernel.fleet[instance]] -= is_occupied
    kernel.stopping[instance] = 1
    for slot in range(block * slots, (block + 1) * slots):
        if kernel.message[slot] == NO_MESSAGE and not kernel.abandoned[slot]:
            kernel.abandoned[slot] = 1
            kernel.serving_slots[instance] -= 1
    if booting or kernel.serving_slots[instance] == 0:
        kernel.terminated_s[instance] = now_s


@njit(cache=True)
def kill(
    block: int, now_s: float, visibility_timeout_s: float, messages: Messages, kernel: KernelState, slots: int
) -> int:
    """Terminate an instance at once, and return how many messages it had in flight.

    Each becomes visible again when its visibility timeout ends.
    """
    instance, returned = kernel.instance[block], 0
    is_occupied = kernel.busy[instance] > 0 and not kernel.stopping[instance]
    kernel.occupied[kernel.fleet[instance]] -= is_occupied
    kernel.stopping[instance] = 1
    for slot in range(block * slots, (block + 1) * slots):
        held = kernel.message[slot]
        if held != NO_MESSAGE and not kernel.abandoned[slot]:
            kernel.message[slot] = NO_MESSAGE
            kernel.counts[BUSY] -= 1
            kernel.busy[instance] -= 1
            again_s = visible_again_s(messages.started_s[held], now_s, visibility_timeout_s)
            _push(kernel.visible_s, kernel.visible_message, kernel.counts, RETURNING, again_s, held)
            returned += 1
        kernel.abandoned[slot] = 1
    kernel.serving_slots[instance] = 0
    kernel.terminated_s[instance] = now_s
    return returned


@njit(cache=True)
def pause(block: int, kernel: KernelState, slots: int) -> None:
    """Let an instance receive no more until `resume`; what it works on it finishes."""
    kernel.paused[kernel.instance[block]] = 1
    count, idle, ring = kernel.counts, kernel.idle, kernel.idle.size
    kept = 0
    for place in range(count[IDLE]):
        slot = idle[(count[IDLE_HEAD] + place) % ring]
        if slot // slots != block:
            idle[(count[IDLE_HEAD] + kept) % ring] = slot
            kept += 1
    count[IDLE] = kept


@njit(cache=True)
def resume(block: int, booting: bool, kernel: KernelState, slots: int) -> None:
    """Let an instance that was paused receive again; one that still boots does so once it is ready."""
    kernel.paused[kernel.instance[block]] = 0
    count, ring = kernel.counts, kernel.idle.size
    for slot in range(block * slots, (block + 1) * slots):
        if not booting and kernel.message[slot] == NO_MESSAGE and not kernel.abandoned[slot]:
            kernel.idle[(count[IDLE_HEAD] + count[IDLE]) % ring] = slot
            count[IDLE] += 1


@njit(cache=True)
def invisible(now_s: float, messages: Messages, kernel: KernelState) -> int:
    """How many messages that were received are in nobody's hands and not visible yet."""
    found = 0
    for place in range(kernel.counts[RETURNING]):
        was_received = messages.receives[kernel.visible_message[place]] > 0
        found += kernel.visible_s[place] > now_s and was_received
    return found


@njit(cache=True)
def open_groups(messages: Messages, first: Ints, delay_s: float, kernel: KernelState) -> None:
    """FIFO queues: make the first message of each group receivable; the others wait behind it."""
    for message in first:
        visible_s = messages.arrival_s[message] + delay_s
        _push(kernel.visible_s, kernel.visible_message, kernel.counts, RETURNING, visible_s, message)


@njit(cache=True)
def oldest_counted(state: UInt8s, receives: UInt16s, first: int, arrived: int, max_receives: int) -> int:
    """The first message from `first` on that waits and was received less than `max_receives` times.

    `arrived` if there is none.
    """
    oldest = first
    while oldest < arrived and (state[oldest] != WAITING or receives[oldest] >= max_receives):
        oldest += 1
    return oldest


@njit(cache=True)
def _release_next_in_group(
    done: int, now: float, delay_s: float, messages: Messages, kernel: KernelState
) -> None:
    """FIFO queues: make the next message of the same group receivable from now on."""
    if messages.next_in_group.size > 0 and messages.next_in_group[done] != NO_MESSAGE:
        next_in_group = messages.next_in_group[done]
        visible_s = max(messages.arrival_s[next_in_group] + delay_s, now)
        _push(kernel.visible_s, kernel.visible_message, kernel.counts, RETURNING, visible_s, next_in_group)


@njit(cache=True)
def _drop_abandoned_idle_slots(kernel: KernelState) -> None:
    """Remove slots of stopped instances from the head of the idle ring."""
    count = kernel.counts
    while count[IDLE] > 0 and kernel.abandoned[kernel.idle[count[IDLE_HEAD]]]:
        _release_slot(kernel, kernel.idle[count[IDLE_HEAD]])
        count[IDLE_HEAD] = (count[IDLE_HEAD] + 1) % kernel.idle.size
        count[IDLE] -= 1


@njit(cache=True)
def _release_slot(kernel: KernelState, slot: int) -> None:
    """Free the slot's block once its last slot has left the event heap and the idle ring."""
    block = slot // (kernel.message.size // kernel.instance.size)
    kernel.pending_slots[block] -= 1
    if kernel.pending_slots[block] == 0:
        kernel.free_blocks[kernel.counts[FREE_BLOCKS]] = block
        kernel.counts[FREE_BLOCKS] += 1


@njit(cache=True)
def _push(keys: Floats, values: Ints, count: Ints, size: int, key: float, value: int) -> None:
    """Push onto a heap of (key, value), smallest first; equal keys are ordered by value.

    Without that order, runs with the same inputs could differ.
    """
    place = count[size]
    count[size] += 1
    while place > 0:
        parent = (place - 1) // 2
        if keys[parent] < key or (keys[parent] == key and values[parent] <= value):
            break
        keys[place], values[place] = keys[parent], values[parent]
        place = parent
    keys[place], values[place] = key, value


@njit(cache=True)
def _pop(keys: Floats, values: Ints, count: Ints, size: int) -> int:
    """Pop the value with the smallest key."""
    top = int(values[0])
    count[size] -= 1
    last = count[size]
    key, value = keys[last], values[last]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= last:
            break
        other = child + 1
        if other < last and (
            keys[other] < keys[child] or (keys[other] == keys[child] and values[other] < values[child])
        ):
            child = other
        if key < keys[child] or (key == keys[child] and value <= values[child]):
            break
        keys[place], values[place] = keys[child], values[child]
        place = child
    keys[place], values[place] = key, value
    return top
