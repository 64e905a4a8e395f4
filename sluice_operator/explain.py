"""Reads what `sluice explain` shows: everything that happened around one workload in some time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sluice.core.model import Unknown
from sluice.errors import ConfigError
from sluice.ports import RemainingS
from sluice_operator.account import Account
from sluice_operator.aws import timeline_events
from sluice_operator.aws.workload_events import read_or_unknown
from sluice_operator.core.conditions import refused
from sluice_operator.core.timeline import Entry, Source, merged
from sluice_operator.status import chosen_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The entries of one workload, oldest first, and why some sources could not be read."""

    entries: tuple[Entry, ...]
    unread: Mapping[str, Unknown]

    @property
    def has_log_lines(self) -> bool:
        """Whether the functions have logged anything about the workload."""
        logs = (Source.DECISION, Source.TICK, Source.FAILURE)
        return any(entry.source in logs for entry in self.entries)

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
    registered = account.ports.registry.all(remaining_s, fresh=True)
    chosen_names(registered, [name])
    if name in registered.refused:
        raise ConfigError("; ".join(each.message for each in refused(registered.refused[name]) if each.wrong))
    [workload] = [each for each in registered.workloads if each.name == name]
    clients, fleet = account.clients, workload.fleet
    reads: Mapping[str, Callable[[], Iterable[Entry]]] = {
        "decisions": lambda: timeline_events.logged(account.decisions, name, start, end, remaining_s),
        "alarm history": lambda: timeline_events.alarm_history(clients("cloudwatch"), workload, start, end),
        "scaling activities": lambda: _reversed(timeline_events.scaling_activities(clients, fleet, start)),
        "deployments": lambda: timeline_events.deployments(clients, fleet, start),
        "events of the workload's stack": lambda: _reversed(
            timeline_events.stack_events(clients("cloudformation"), workload.stack_id, start)
        ),
        "events of the control plane's stack": lambda: _reversed(
            timeline_events.stack_events(clients("cloudformation"), account.plane.stack, start)
        ),
    }
    found: list[Entry] = []
    unread: dict[str, Unknown] = {}
    for what, read in reads.items():
        on_step(f"reading the {what}")
        entries = read_or_unknown(what, lambda read=read: list(read()))  # type: ignore[misc]
        if isinstance(entries, Unknown):
            unread[what] = entries
        else:
            found += entries
    return Explanation(
        entries=tuple(entry for entry in merged(found) if start <= entry.at <= end), unread=unread
    )


def _reversed(newest_first: Iterable[Entry]) -> list[Entry]:
    return list(newest_first)[::-1]
