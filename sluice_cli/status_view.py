"""What one reading of a control plane's workloads finds, with the events of the one that was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sluice_operator.account import Account
from sluice_operator.aws.workload_events import WorkloadEvents, read_events
from sluice_operator.pauses import held_by_aws
from sluice_operator.status import StatusReader, WorkloadStatus

READ_LIMIT_S = 120.0
"""A thousand workloads take under 15 s; with every call throttled and retried, a minute or two."""
EVENTS_SINCE = timedelta(hours=1)

Read = Callable[[Sequence[str]], "View"]
"""Reads these workloads, or all without names; raises SluiceError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one reading of the account has found."""

    at: datetime
    workloads: Sequence[WorkloadStatus]
    events: WorkloadEvents | None
    """Of the one workload that was asked for, if its document is served."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(each.wrong for each in self.workloads)


def reader(account: Account, on_step: Callable[[str], None]) -> Read:
    """How to read this account, again and again."""
    status = StatusReader(account.ports, account.decisions, partial(held_by_aws, account.clients))

    def read(names: Sequence[str]) -> View:
        end_s = time.monotonic() + READ_LIMIT_S
        found = status.read(names, lambda: end_s - time.monotonic(), on_step)
        now, events = account.ports.now(), None
        if len(names) == 1 and (readings := found[0].readings):
            events = read_events(account.clients, readings.workload, now - EVENTS_SINCE)
        return View(at=now, workloads=found, events=events)

    return read
