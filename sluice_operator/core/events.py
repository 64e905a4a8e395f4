"""What AWS says of one workload's alarms and fleet beyond their counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmState:
    """One alarm and its state: OK, ALARM or INSUFFICIENT_DATA, with CloudWatch's reason."""

    name: str
    state: str
    reason: str
    since: datetime
    actions_enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One scaling activity: what was done, why, and what became of it."""

    at: datetime
    description: str
    cause: str
    status: str
    status_message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A deployment of a service, its task set, or an instance refresh of a group, that is under way."""

    started_at: datetime | None
    description: str
