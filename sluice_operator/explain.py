"""Reads what `sluice explain` shows: everything that happened around one workload in some time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sluice.aws.concurrent_reads import fan_out
from sluice.aws.errors import aws_errors
from sluice.core.model import Color, Unknown, Workload
from sluice.ports import RemainingS
from sluice_operator.account import Account
from sluice_operator.aws import timeline_events
from sluice_operator.core.timeline import LOGGED, Entry, merged, of_color, silences, without_quoted
from sluice_operator.status import registered_workload

DECISIONS = "decisions"
PER_QUERY = timedelta(days=2)
"""A workload logs two or three lines a minute: in this time fewer than the 10,000 that a query answers."""
AT_ONCE = 10
"""Calls that are under way at a time; an account has a quota for the queries of its logs."""
SERVICES = ("application-autoscaling", "autoscaling", "cloudformation", "cloudwatch", "ecs", "logs")
Read = Callable[[], Iterable[Entry]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The entries of one workload, oldest first, and why some sources could not be read."""

    entries: tuple[Entry, ...]
    unread: Mapping[str, Unknown]

    @property
    def unread_decisions(self) -> Unknown | None:
        """Why the logs, or a part of them, could not be read."""
        return next((why for what, why in self.unread.items() if what.startswith(DECISIONS)), None)

    @property
    def has_log_lines(self) -> bool:
        """Whether the functions have logged anything about the workload."""
        return any(entry.source in LOGGED for entry in self.entries)

    @property
    def wrong(self) -> bool:
        """Whether something failed, could not be read, or left no trace in the logs."""
        return bool(self.unread) or not self.has_log_lines or any(entry.wrong for entry in self.entries)


def explain(
    account: Account,
    name: str,
    start: datetime,
    end: datetime,
    remaining_s: RemainingS,
    on_step: Callable[[str], None] = lambda _: None,
) -> Explanation:
    """The timeline from start to end; raises ConfigError for a name that is not registered or is refused."""
    on_step("reading the registry")
    workload = registered_workload(account.ports.registry, name, remaining_s)
    reads = dict(_reads(account, workload, start, end, remaining_s))
    on_step(f"reading {len(reads)} sources")

    def read(what: str) -> list[Entry]:
        with aws_errors(what):
            return list(reads[what]())

    pool = ThreadPoolExecutor(AT_ONCE)
    found = fan_out(pool, read, reads, str, remaining_s)
    pool.shutdown(wait=False, cancel_futures=True)  # a read that is late must not delay the others' answer
    unread = {what: read for what, read in found.items() if isinstance(read, Unknown)}
    entries = merged(*(read for read in found.values() if not isinstance(read, Unknown)))
    entries = without_quoted([entry for entry in entries if start <= entry.at <= end])
    if not any(what.startswith(DECISIONS) for what in unread):
        entries = merged(entries, silences(entries, end))
    return Explanation(entries=tuple(entries), unread=unread)


def _reads(
    account: Account, workload: Workload, start: datetime, end: datetime, remaining_s: RemainingS
) -> Iterator[tuple[str, Read]]:
    """Each source by its name, and the read of its entries, those of one moment in their order."""
    clients = account.clients
    for service in SERVICES:
        clients(service)  # boto3 makes clients in one thread only
    parts = _parts(start, end)
    for first, last in parts:
        name = DECISIONS if len(parts) == 1 else f"{DECISIONS} from {first:%m-%d %H:%M} to {last:%m-%d %H:%M}"
        yield name, partial(timeline_events.logged, account.decisions, workload, first, last, remaining_s)
    yield "alarm history", partial(timeline_events.alarm_history, clients("cloudwatch"), workload, start, end)
    if workload.color is None or workload.idle is None:
        yield from _fleet_reads(clients, workload, start)
    else:
        idle = workload.with_active(workload.idle.color)
        yield from _color_reads(clients, workload, workload.color, start, is_active=True)
        yield from _color_reads(clients, idle, workload.idle.color, start, is_active=False)
        history = partial(timeline_events.tracking_history, clients("cloudwatch"), idle, start, end)
        yield f"alarm history of {workload.idle.color}", history
    for whose, stack in (("workload", workload.stack_id), ("control plane", account.plane.stack)):
        yield f"events of the {whose}'s stack", partial(_stack_events, clients, stack, start)


def _fleet_reads(
    clients: Callable[[str], object], workload: Workload, start: datetime
) -> Iterator[tuple[str, Read]]:
    yield (
        "scaling activities",
        lambda: _reversed(timeline_events.scaling_activities(clients, workload, start)),
    )
    yield "deployments", partial(timeline_events.deployments, clients, workload.fleet, start)


def _color_reads(
    clients: Callable[[str], object], workload: Workload, color: Color, start: datetime, *, is_active: bool
) -> Iterator[tuple[str, Read]]:
    """What AWS did with one of two colors, each entry with the color's name."""

    def named(read: Read) -> Read:
        return lambda: [of_color(entry, color, is_active=is_active) for entry in read()]

    for what, read in _fleet_reads(clients, workload, start):
        yield f"{what} of {color}", named(read)


def _stack_events(clients: Callable[[str], object], stack: str, start: datetime) -> list[Entry]:
    return _reversed(timeline_events.stack_events(clients("cloudformation"), stack, start))


def _parts(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The time in parts whose log lines one query answers."""
    parts = []
    while end - start > PER_QUERY:
        parts.append((start, start + PER_QUERY))
        start += PER_QUERY
    return [*parts, (start, end)]


def _reversed(newest_first: Iterable[Entry]) -> list[Entry]:
    return list(newest_first)[::-1]
