"""Step: read what changes slowly every few minutes only, and keep it in the process between ticks.

CloudWatch bills for each metric that is read. A reading that cannot be renewed still counts for a while. Each
process of the function knows only what it has read itself. A failed reading affects one quantity of one
workload only: it is Unknown, logged and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Generic, TypeVar

from sluice.core.model import Unknown, Workload
from sluice.ports import LastKnown, Ports
from sluice.usecases.isolation import read_isolated
from sluice.usecases.observe import report_unknown
from sluice.usecases.tick_context import TickContext, Workloads

NOT_READ_IN_TIME = "no time was left to read it"

Response = TypeVar("Response")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity(Generic[Response]):
    """A quantity of each workload that is read every few minutes."""

    name: str
    source: Callable[[Workload], str]
    """What it is read from: a workload whose document names another source is read anew."""
    read: Callable[[Workloads, TickContext], Mapping[str, Response | Unknown]]
    """AWS's response for each workload; Unknown, which is logged as a failure, if there is none."""
    value: Callable[[Workload, Response, TickContext], float | Unknown]
    """The value in a response; Unknown if it holds none, which is not a failure."""
    refresh_interval: timedelta
    retry_interval: timedelta
    """How soon to read again after a read that yielded no value."""
    max_age: timedelta
    """How old the last reading may be while newer reads yield no value."""


def last_known(
    quantity: Quantity[Response], workloads: Workloads, tick: TickContext, *, renew: Container[str] = ()
) -> dict[str, LastKnown]:
    """Each workload's reading as of this tick; those that are due are read together.

    `renew` are the names of workloads whose reading is due however recent it is.
    """
    memory, minute = tick.ports.last_known, tick.minute
    keys = _keys(quantity, workloads)
    due = {
        name: workloads[name]
        for name, key in keys.items()
        if name in renew or _is_due(quantity, memory.get(key), minute)
    }
    # Without time left nothing is attempted, so the reading stays due.
    if due and tick.remaining_s() > 0:
        for name, reading in _readings(quantity, due, tick).items():
            memory[keys[name]] = _renewed(memory.get(keys[name]), reading, minute)
    return {name: _current(quantity, memory.get(key), minute) for name, key in keys.items()}


def earlier_readings(
    quantity: Quantity[Response], workloads: Workloads, ports: Ports
) -> dict[str, LastKnown]:
    """The readings of earlier ticks, of those workloads that have one."""
    keys = _keys(quantity, workloads)
    return {name: ports.last_known[key] for name, key in keys.items() if key in ports.last_known}


def _keys(quantity: Quantity[Response], workloads: Workloads) -> dict[str, tuple[str, str]]:
    return {name: (quantity.name, quantity.source(workload)) for name, workload in workloads.items()}


def _is_due(quantity: Quantity[Response], last: LastKnown | None, minute: datetime) -> bool:
    if last is None:
        return True
    no_reading = isinstance(last.value, Unknown) or last.not_renewed
    # abs: ticks may overlap, the later one first, and a clock may be set back.
    return abs(minute - last.attempted_at) >= (
        quantity.retry_interval if no_reading else quantity.refresh_interval
    )


def _readings(quantity: Quantity[Response], due: Workloads, tick: TickContext) -> dict[str, float | Unknown]:
    """The readings from AWS; a read that fails is logged for each workload that lacks it."""
    responses = read_isolated(partial(quantity.read, due, tick))
    readings: dict[str, float | Unknown] = {}
    for name, workload in due.items():
        response = responses if isinstance(responses, Unknown) else responses[name]
        value = (
            response
            if isinstance(response, Unknown)
            else read_isolated(partial(quantity.value, workload, response, tick))
        )
        if isinstance(value, Unknown) and (value is response or value.defect):
            report_unknown(name, [value], tick.report)
            value = Unknown(reason=value.reason)  # without the defect, whose stack trace would stay in memory
        readings[name] = value
    return readings


def _renewed(last: LastKnown | None, reading: float | Unknown, minute: datetime) -> LastKnown:
    """The new reading; the last one, marked as not renewed, if the new one has no value."""
    if isinstance(reading, Unknown) and last and not isinstance(last.value, Unknown):
        return replace(last, attempted_at=minute, not_renewed=reading.reason)
    return LastKnown(value=reading, read_at=minute, attempted_at=minute)


def _current(quantity: Quantity[Response], last: LastKnown | None, minute: datetime) -> LastKnown:
    """The reading as of this minute: one older than `max_age` becomes Unknown."""
    if last is None:
        return LastKnown(value=Unknown(reason=NOT_READ_IN_TIME), read_at=minute, attempted_at=minute)
    if isinstance(last.value, Unknown) or abs(minute - last.read_at) <= quantity.max_age:
        return last
    return replace(last, value=Unknown(reason=last.not_renewed or NOT_READ_IN_TIME), not_renewed=None)
