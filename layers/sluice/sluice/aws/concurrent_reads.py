"""Reads many items concurrently, and stops waiting once the time for reading is over.

No other module of the layer uses threads. A late or failed read is Unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from sluice.aws.errors import aws_errors
from sluice.core.model import Unknown
from sluice.errors import SluiceError, TransientError, attempt, failure_message
from sluice.ports import RemainingS

LATE = "not read before the deadline"
Item = TypeVar("Item", bound=Hashable)
Reading = TypeVar("Reading")


def start_reads(
    pool: ThreadPoolExecutor,
    read: Callable[[Item], Reading],
    items: Iterable[Item],
    what: Callable[[Item], str],
) -> Callable[[RemainingS], dict[Item, Reading | Unknown]]:
    """Start reading every item; the returned function waits for the reads. `what` describes an item's read.

    A read that fails or is late is Unknown for that item alone. A defect of the code that reads is Unknown
    too, marked as a defect. Start several kinds of read before waiting for the first: otherwise a slow kind
    uses up the time of the others.
    """
    futures = {item: pool.submit(read, item) for item in items}

    def finish_reads(remaining_s: RemainingS) -> dict[Item, Reading | Unknown]:
        wait(futures.values(), timeout=max(remaining_s(), 0))
        readings: dict[Item, Reading | Unknown] = {}
        for item, future in futures.items():
            if not future.done():
                future.cancel()
                readings[item] = Unknown(reason=f"{what(item)}: {LATE}")
                continue
            failure = future.exception()
            readings[item] = future.result() if failure is None else unknown_reading(failure, what(item))
        return readings

    return finish_reads


def unknown_reading(failure: BaseException, what: str) -> Unknown:
    """The Unknown for a read that failed, or that a defect of the reading code has broken."""
    if isinstance(failure, SluiceError):
        return Unknown(reason=str(failure))
    if isinstance(failure, Exception):
        return Unknown(reason=f"{what}: {failure_message(failure)}", defect=failure)
    raise failure


def fan_out(
    pool: ThreadPoolExecutor,
    read: Callable[[Item], Reading],
    items: Iterable[Item],
    what: Callable[[Item], str],
    remaining_s: RemainingS,
) -> dict[Item, Reading | Unknown]:
    """`start_reads`, and wait at once."""
    return start_reads(pool, read, items, what)(remaining_s)


def read_in_time(
    pool: ThreadPoolExecutor, read: Callable[[], Reading], what: str, remaining_s: RemainingS
) -> Reading:
    """One read; raises TransientError once the time for reading is over. Other failures pass through."""
    future = pool.submit(read)
    wait([future], timeout=max(remaining_s(), 0))
    if not future.done():
        future.cancel()
        raise TransientError(f"{what}: {LATE}")
    return future.result()


def batches(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """The items in tuples of at most `size`, in order."""
    rest = iter(items)
    while batch := tuple(islice(rest, size)):
        yield batch


def parse_item(what: str, parse: Callable[[], Reading]) -> Reading | Unknown:
    """One item of a response that describes many: a malformed one is Unknown for that item alone."""

    def called() -> Reading:
        with aws_errors(what):
            return parse()

    outcome = attempt(called)
    return unknown_reading(outcome, what) if isinstance(outcome, Exception) else outcome


def per_item(
    by_batch: Mapping[tuple[Item, ...], Mapping[Item, Reading | Unknown] | Unknown],
) -> dict[Item, Reading | Unknown]:
    """The readings of all batches by item; a batch that failed is Unknown for each of its items."""
    return {
        item: readings if isinstance(readings, Unknown) else readings[item]
        for batch, readings in by_batch.items()
        for item in batch
    }


def not_found(what: str) -> str:
    """The message for a resource that AWS does not know."""
    return f"AWS finds no {what} in this account and region: check its name, or delete the workload's stack"
