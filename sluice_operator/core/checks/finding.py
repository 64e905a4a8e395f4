"""The names of the checks, and what a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Check(StrEnum):
    """What is checked; docs/operations.md has a row for each."""

    REGISTRATION_VALID = "registration-valid"
    MODE_ACTIVE = "mode-active"
    NOT_PAUSED = "not-paused"
    DOWNSTREAM_GUARD = "downstream-guard"
    COLORS_SETTLED = "colors-settled"
    QUEUE_EXISTS = "queue-exists"
    QUEUE_TAGGED = "queue-tagged"
    VISIBILITY_TIMEOUT = "visibility-timeout"
    DEAD_LETTER_QUEUE = "dead-letter-queue"
    QUEUE_RETENTION = "queue-retention"
    QUEUE_KEY = "queue-key"
    FLEET_EXISTS = "fleet-exists"
    FLEET_TAGGED = "fleet-tagged"
    FLEET_METRICS = "fleet-metrics"
    BOUNDS_AGREE = "bounds-agree"
    BELOW_MAXIMUM = "below-maximum"
    PROCESSES_RUN = "processes-run"
    NO_DEPLOYMENT = "no-deployment"
    WARM_POOL = "warm-pool"
    INSTANCE_WEIGHTS = "instance-weights"
    SERVICE_SCALABLE = "service-scalable"
    INSTANCES_START = "instances-start"
    INSTANCES_END = "instances-end"
    POLICY_ENABLED = "policy-enabled"
    POLICY_METRIC = "policy-metric"
    POLICY_TARGET = "policy-target"
    POLICY_WAITS = "policy-waits"
    POLICY_ALONE = "policy-alone"
    SCHEDULED_ACTIONS = "scheduled-actions"
    SCHEDULES = "schedules"
    ALARMS_EXIST = "alarms-exist"
    ALARMS_ENABLED = "alarms-enabled"
    ALARMS_START_FUNCTIONS = "alarms-start-functions"
    ALARM_THRESHOLDS = "alarm-thresholds"
    BACKLOG_PUBLISHED = "backlog-published"
    DURATIONS_PUBLISHED = "durations-published"
    WAITS_PUBLISHED = "waits-published"
    WORKER_PERMISSIONS = "worker-permissions"
    KEY_PERMISSIONS = "key-permissions"
    MESSAGES_RECEIVED = "messages-received"
    MESSAGES_DELETED = "messages-deleted"
    MESSAGE_GROUPS = "message-groups"
    OLDEST_MESSAGE = "oldest-message"
    DEAD_LETTERS = "dead-letters"
    NO_FAILURE_LOGGED = "no-failure-logged"


class PlaneCheck(StrEnum):
    """What is checked of the control plane; docs/operations.md has a row for each."""

    SCHEDULES = "plane-schedules"
    TICKS = "plane-ticks"
    ERRORS = "plane-errors"
    THROTTLES = "plane-throttles"
    CONCURRENCY = "plane-concurrency"
    FAILURE_QUEUE = "plane-failure-queue"
    ALARM_QUOTA = "alarm-quota"
    PARAMETER_QUOTA = "parameter-quota"


class Outcome(StrEnum):
    """What a check says; UNKNOWN if something that it needs could not be read."""

    PASS = "pass"  # noqa: S105 - not a password
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's outcome: a sentence with the value found, and what to do about it."""

    check: Check | PlaneCheck
    outcome: Outcome
    message: str
    fix: str | None = None
    """None if there is nothing to do."""


def passed(check: Check | PlaneCheck, message: str) -> Finding:
    """Nothing is to be done."""
    return Finding(check=check, outcome=Outcome.PASS, message=message)


def warned(check: Check | PlaneCheck, message: str, fix: str) -> Finding:
    """It works now, and a likely event breaks it."""
    return Finding(check=check, outcome=Outcome.WARN, message=message, fix=fix)


def failed(check: Check | PlaneCheck, message: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(check=check, outcome=Outcome.FAIL, message=message, fix=fix)


def unknown(check: Check | PlaneCheck, message: str, fix: str | None = None) -> Finding:
    """Something that the check needs could not be read."""
    return Finding(check=check, outcome=Outcome.UNKNOWN, message=message, fix=fix)
