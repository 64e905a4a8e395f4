"""Step: read what changes slowly every few minutes only, and keep it in the process between ticks.

CloudWatch bills for each metric that is read. A reading that cannot be renewed still counts for a while. Each
process of the function knows only what it has read itself. A bad reading stays that of one workload and one
quantity: it is Unknown, logged and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Generic, TypeVar

from sluice.core.model import Unknown, Workload
from sluice.ports import LastKnown, World
from sluice.usecases.isolation import read_isolated
from sluice.usecases.observe import report_unknown
from sluice.usecases.tick_context import TickContext, Workloads

NO_TIME_LEFT = "no time was left to read it"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity(Generic[Answer]):
    """Something that is read every few minutes."""

    name: str
    source: Callable[[Workload], str]
    """What it is read from: a workload whose document names another source is read anew."""
    read: Callable[[Workloads, TickContext], Mapping[str, Answer | Unknown]]
    """AWS's answer for each workload; Unknown where it gave none, which is a failure."""
    value: Callable[[Workload, Answer, TickContext], float | Unknown]
    """What the answer says; Unknown where it does not tell, which is none."""
    every: timedelta
    retry: timedelta
    """After a read that told nothing."""
    kept: timedelta
    """How old the last reading may be that counts where newer reads tell nothing."""


def last_known(
    quantity: Quantity[Answer], workloads: Workloads, tick: TickContext, *, renew: Container[str] = ()
) -> dict[str, LastKnown]:
    """Each workload's reading as it counts at this tick; those that are due are read, in one go.

    `renew` are the names of workloads whose reading is due however new it is.
    """
    memory, minute = tick.world.last_known, tick.minute
    keys = _keys(quantity, workloads)
    due = {
        name: workloads[name]
        for name, key in keys.items()
        if name in renew or _is_due(quantity, memory.get(key), minute)
    }
    # What no time is left for was not asked: it stays due.
    if due and tick.remaining_s() > 0:
        for name, reading in _readings(quantity, due, tick).items():
            memory[keys[name]] = _renewed(memory.get(keys[name]), reading, minute)
    return {name: _counting(quantity, memory.get(key), minute) for name, key in keys.items()}


def remembered(quantity: Quantity[Answer], workloads: Workloads, world: World) -> dict[str, LastKnown]:
    """The readings of earlier ticks, of those workloads that have one."""
    keys = _keys(quantity, workloads)
    return {name: world.last_known[key] for name, key in keys.items() if key in world.last_known}


def _keys(quantity: Quantity[Answer], workloads: Workloads) -> dict[str, tuple[str, str]]:
    return {name: (quantity.name, quantity.source(workload)) for name, workload in workloads.items()}


def _is_due(quantity: Quantity[Answer], last: LastKnown | None, minute: datetime) -> bool:
    if last is None:
        return True
    told_nothing = isinstance(last.value, Unknown) or last.not_renewed
    # Ticks may overlap, the later one first, and clocks are set back.
    return abs(minute - last.attempted_at) >= (quantity.retry if told_nothing else quantity.every)


def _readings(quantity: Quantity[Answer], due: Workloads, tick: TickContext) -> dict[str, float | Unknown]:
    """What AWS answers now; a read that fails is told of each workload that lacks it."""
    answers = read_isolated(partial(quantity.read, due, tick))
    readings: dict[str, float | Unknown] = {}
    for name, workload in due.items():
        answer = answers if isinstance(answers, Unknown) else answers[name]
        told = (
            answer
            if isinstance(answer, Unknown)
            else read_isolated(partial(quantity.value, workload, answer, tick))
        )
        if isinstance(told, Unknown) and (told is answer or told.defect):
            report_unknown(name, [told], tick.report)
            told = Unknown(reason=told.reason)  # a defect's stack trace would be kept with it
        readings[name] = told
    return readings


def _renewed(last: LastKnown | None, reading: float | Unknown, minute: datetime) -> LastKnown:
    """The reading; the last one where this one tells nothing."""
    if isinstance(reading, Unknown) and last and not isinstance(last.value, Unknown):
        return replace(last, attempted_at=minute, not_renewed=reading.reason)
    return LastKnown(value=reading, read_at=minute, attempted_at=minute)


def _counting(quantity: Quantity[Answer], last: LastKnown | None, minute: datetime) -> LastKnown:
    """The reading as it counts at this minute: one that is too old tells nothing any more."""
    if last is None:
        return LastKnown(value=Unknown(reason=NO_TIME_LEFT), read_at=minute, attempted_at=minute)
    if isinstance(last.value, Unknown) or abs(minute - last.read_at) <= quantity.kept:
        return last
    return replace(last, value=Unknown(reason=last.not_renewed or NO_TIME_LEFT), not_renewed=None)
