"""The queue and the slots that serve it: which message starts when, exact to the message.

An event simulation over arrays, compiled by numba: the message that became visible first is taken by the slot
that has been idle longest. Owns the events between two looks; which instances are launched and stopped is the
plant's. Arrays are grouped in tuples, as compiled code wants.

Times are seconds. A slot is one message at a time; a berth is the slots of one instance, side by side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Small = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Shorts = NDArray[np.uint16]

WAITING, PROCESSED, DEAD_LETTER = 0, 1, 2
NOBODY = -1
MINUTE_S = 60.0

# Places in `Station.count`.
FRESH, HELD, BUSY, FINISHED, BURIED, EVENTS, RETURNS, HEAD, IDLE, FREE_BERTHS = range(10)


class Messages(NamedTuple):
    """Every message of a run, in the order of arrival."""

    arrival_s: Floats
    service_s: Floats
    started_s: Floats
    """Start of the service that succeeded, or of the last attempt; NaN before any."""
    state: Bytes
    receives: Shorts
    following: Whole
    """The next message of the same message group, NOBODY at its end; of length 0 for a standard queue."""


class Station(NamedTuple):
    """The queue's and the slots' own state."""

    counts: Whole
    now_s: Floats
    # A slot's message, whether it is abandoned, and the berth's instance.
    message: Whole
    abandoned: Bytes
    instance: Whole
    left: Small
    """By berth: slots that are not abandoned yet or still stand in the agenda or among the idle."""
    # The agenda: when a busy slot finishes or a booting one is ready, as a heap.
    due_s: Floats
    due_slot: Small
    # Idle slots, longest idle first, as a ring.
    idle: Small
    free_berths: Small
    # Messages that become visible again (and heads of message groups), as a heap.
    visible_s: Floats
    visible_message: Whole
    # By instance.
    stopping: Bytes
    busy: Small
    serving: Small
    """Slots that may still take or finish a message."""
    gone_s: Floats
    # By minute since the start.
    duration_sum_s: Floats
    duration_square_s2: Floats
    duration_count: Whole


@njit(cache=True)
def advance(  # noqa: C901 - one loop over events, in the order in which they happen
    until_s: float, delay_s: float, max_receives: int, messages: Messages, station: Station
) -> None:
    """Let everything happen that is due before `until_s`.

    As at SQS, a message moves to the dead-letter queue when it would be received once too often.
    """
    # Taken out of their tuples once: to hand a tuple of arrays on costs more than an event.
    count, message_of, instance_of = station.counts, station.message, station.instance
    abandoned, idle, busy = station.abandoned, station.idle, station.busy
    due_s, due_slot, visible_s, visible_message = (
        station.due_s,
        station.due_slot,
        station.visible_s,
        station.visible_message,
    )
    arrival_s, service_s, started_s = messages.arrival_s, messages.service_s, messages.started_s
    receives, state = messages.receives, messages.state
    sum_s, square_s2, finished = (
        station.duration_sum_s,
        station.duration_square_s2,
        station.duration_count,
    )
    grouped = messages.following.size > 0
    total, ring = messages.arrival_s.size, station.idle.size
    slots = station.message.size // station.instance.size
    now = station.now_s[0]
    while True:
        if count[IDLE] > 0 and abandoned[idle[count[HEAD]]]:
            _pass_over_abandoned(station)
        visible = math.inf
        if not grouped and count[FRESH] < total:
            visible = arrival_s[count[FRESH]] + delay_s
        again = count[RETURNS] > 0 and visible_s[0] <= visible
        if again:
            visible = visible_s[0]
        due = due_s[0] if count[EVENTS] > 0 else math.inf
        if count[IDLE] > 0 and visible <= due:
            moment = max(visible, now)
            if moment >= until_s:
                break
            now = moment
            if again:
                taken = _pop(visible_s, visible_message, count, RETURNS)
                if receives[taken] >= max_receives:
                    state[taken] = DEAD_LETTER
                    count[BURIED] += 1
                    _follow(taken, now, delay_s, messages, station)
                    continue
            else:
                taken = count[FRESH]
                count[FRESH] += 1
            slot = idle[count[HEAD]]
            count[HEAD] = count[HEAD] + 1 if count[HEAD] + 1 < ring else 0
            count[IDLE] -= 1
            message_of[slot] = taken
            started_s[taken] = now
            receives[taken] += 1
            count[BUSY] += 1
            busy[instance_of[slot // slots]] += 1
            _push(due_s, due_slot, count, EVENTS, now + service_s[taken], slot)
            continue
        if due >= until_s:
            break
        now = due
        slot = _pop(due_s, due_slot, count, EVENTS)
        if abandoned[slot]:
            _release(station, slot)
            continue
        instance = instance_of[slot // slots]
        done = message_of[slot]
        if done != NOBODY:
            message_of[slot] = NOBODY
            state[done] = PROCESSED
            count[FINISHED] += 1
            count[BUSY] -= 1
            busy[instance] -= 1
            minute = int(now / MINUTE_S)
            sum_s[minute] += service_s[done]
            square_s2[minute] += service_s[done] * service_s[done]
            finished[minute] += 1
            if grouped:
                _follow(done, now, delay_s, messages, station)
        if station.stopping[instance]:
            abandoned[slot] = 1
            _release(station, slot)
            station.serving[instance] -= 1
            if station.serving[instance] == 0:
                station.gone_s[instance] = now
        else:
            place = count[HEAD] + count[IDLE]
            idle[place if place < ring else place - ring] = slot
            count[IDLE] += 1
    station.now_s[0] = until_s


@njit(cache=True)
def launch(berth: int, instance: int, ready_s: float, station: Station, slots: int) -> None:
    """Put an instance's slots on the agenda for when it has booted."""
    station.instance[berth] = instance
    station.left[berth] = slots
    station.serving[instance] = slots
    for slot in range(berth * slots, (berth + 1) * slots):
        station.message[slot] = NOBODY
        station.abandoned[slot] = 0
        _push(station.due_s, station.due_slot, station.counts, EVENTS, ready_s, slot)


@njit(cache=True)
def stop(berth: int, now_s: float, booting: bool, station: Station, slots: int) -> None:
    """An instance takes nothing new; it is gone once its last message is finished."""
    instance = station.instance[berth]
    station.stopping[instance] = 1
    for slot in range(berth * slots, (berth + 1) * slots):
        if station.message[slot] == NOBODY and not station.abandoned[slot]:
            station.abandoned[slot] = 1
            station.serving[instance] -= 1
    if booting or station.serving[instance] == 0:
        station.gone_s[instance] = now_s


@njit(cache=True)
def kill(
    berth: int, now_s: float, visibility_timeout_s: float, messages: Messages, station: Station, slots: int
) -> int:
    """An instance is gone at once; how many of its messages return, once their timeout ends."""
    instance, returned = station.instance[berth], 0
    station.stopping[instance] = 1
    for slot in range(berth * slots, (berth + 1) * slots):
        held = station.message[slot]
        if held != NOBODY and not station.abandoned[slot]:
            station.message[slot] = NOBODY
            station.counts[BUSY] -= 1
            station.busy[instance] -= 1
            extensions = math.floor((now_s - messages.started_s[held]) / visibility_timeout_s) + 1
            again_s = messages.started_s[held] + extensions * visibility_timeout_s
            _push(station.visible_s, station.visible_message, station.counts, RETURNS, again_s, held)
            returned += 1
        station.abandoned[slot] = 1
    station.serving[instance] = 0
    station.gone_s[instance] = now_s
    return returned


@njit(cache=True)
def open_groups(messages: Messages, first: Whole, delay_s: float, station: Station) -> None:
    """A FIFO queue: the first message of each group is the only one of it that may be taken."""
    for message in first:
        visible_s = messages.arrival_s[message] + delay_s
        _push(station.visible_s, station.visible_message, station.counts, RETURNS, visible_s, message)


@njit(cache=True)
def _follow(done: int, now: float, delay_s: float, messages: Messages, station: Station) -> None:
    """The next message of the group may be taken from now on."""
    if messages.following.size > 0 and messages.following[done] != NOBODY:
        following = messages.following[done]
        visible_s = max(messages.arrival_s[following] + delay_s, now)
        _push(station.visible_s, station.visible_message, station.counts, RETURNS, visible_s, following)


@njit(cache=True)
def _pass_over_abandoned(station: Station) -> None:
    """Idle slots whose instance was stopped leave the ring when their turn comes."""
    count = station.counts
    while count[IDLE] > 0 and station.abandoned[station.idle[count[HEAD]]]:
        _release(station, station.idle[count[HEAD]])
        count[HEAD] = (count[HEAD] + 1) % station.idle.size
        count[IDLE] -= 1


@njit(cache=True)
def _release(station: Station, slot: int) -> None:
    """A berth is free once the last of its slots has left the agenda and the ring."""
    berth = slot // (station.message.size // station.instance.size)
    station.left[berth] -= 1
    if station.left[berth] == 0:
        station.free_berths[station.counts[FREE_BERTHS]] = berth
        station.counts[FREE_BERTHS] += 1


@njit(cache=True)
def _push(keys: Floats, values: Whole, count: Whole, size: int, key: float, value: int) -> None:
    """Onto a heap of (key, value), the smallest first; equal keys go by value."""
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
def _pop(keys: Floats, values: Whole, count: Whole, size: int) -> int:
    """The smallest off a heap."""
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
