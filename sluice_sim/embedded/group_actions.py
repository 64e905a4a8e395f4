"""Scheduled actions of Auto Scaling groups: moto stores them by name alone, and never runs them.

A one-time action disappears after it ran, and a recurring one at its end (documented). While the process
ScheduledActions is suspended, what is due does not run, neither then nor later (documented).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.responses import AutoScalingResponse

from sluice_sim.account import arn
from sluice_sim.aws_rules.action_runs import ActionRuns, Key
from sluice_sim.aws_rules.cron import Cron
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.groups import AutoScalingGroups
from sluice_sim.embedded.operations import Parameters, answered, page

MAX_RECORDS = 50
MAX_ACTIONS = 125
"""The most of one group (documented)."""
SIZES = ("MinSize", "MaxSize", "DesiredCapacity")
PROCESS = "ScheduledActions"


class AlreadyExistsError(AutoscalingClientError):
    """Another action of the group is due at the same time."""

    code = "AlreadyExists"


class LimitExceededError(AutoscalingClientError):
    """The group has as many actions as it may have."""

    code = "LimitExceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAction:
    """One scheduled action."""

    name: str
    sizes: Mapping[str, int]
    recurrence: str | None
    zone: str | None
    starts: datetime | None
    ends: datetime | None
    cron: Cron | None

    @classmethod
    def parse(cls, asked: Mapping[str, Any], now: datetime) -> GroupAction:
        """Parse a request; ValidationError with AWS's words if it is refused."""
        sizes = {name: int(asked[name]) for name in SIZES if asked.get(name) is not None}
        recurrence, starts, ends = (
            asked.get("Recurrence"),
            _moment(asked, "StartTime"),
            _moment(asked, "EndTime"),
        )
        _check_sizes(sizes)
        for what, moment in (("start", starts), ("end", ends)):
            if moment is not None and moment < now:
                raise ValidationError(f"Given {what} time is in the past")
        if starts and ends and ends < starts:
            raise ValidationError("Given end time is before start time")
        if not (recurrence or starts):
            raise ValidationError("Either StartTime or Recurrence must be specified")
        try:
            ZoneInfo(asked.get("TimeZone") or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValidationError(f"Given time zone: {asked['TimeZone']} is invalid") from error
        try:
            cron = Cron.five_fields(recurrence) if recurrence else None
        except ValueError as error:
            raise ValidationError(f"Given recurrence string: {recurrence} is invalid: {error}") from error
        return cls(
            name=asked["ScheduledActionName"],
            sizes=sizes,
            recurrence=recurrence,
            zone=asked.get("TimeZone"),
            starts=starts,
            ends=ends,
            cron=cron,
        )

    def next_after(self, moment: datetime) -> datetime | None:
        """When it is due after `moment`: at its start, and then as it recurs until its end."""
        if self.starts is not None and moment < self.starts:
            return self.starts
        due = self.cron.next_after(moment, ZoneInfo(self.zone or "UTC")) if self.cron else None
        return due if due is None or self.ends is None or due <= self.ends else None

    def described(self, group: str, due: datetime | None) -> dict[str, Any]:
        """As AWS describes it; the start time of a recurring action is that of its next run."""
        unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{group}/{self.name}")
        place = f"autoScalingGroupName/{group}:scheduledActionName/{self.name}"
        given = {
            "StartTime": due,
            "Time": due,
            "EndTime": self.ends,
            "Recurrence": self.recurrence,
            "TimeZone": self.zone,
        }
        return {
            "AutoScalingGroupName": group,
            "ScheduledActionName": self.name,
            "ScheduledActionARN": arn("autoscaling", f"scheduledUpdateGroupAction:{unique}:{place}"),
            **{key: value for key, value in given.items() if value is not None},
            **self.sizes,
        }


class GroupActions:
    """The scheduled actions of every group."""

    def __init__(self, clock: VirtualClock, groups: AutoScalingGroups, runs: ActionRuns) -> None:
        self._clock, self._groups, self._runs = clock, groups, runs
        self._actions: dict[Key, GroupAction] = {}

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, the operations on scheduled actions are answered here."""
        with answered(
            AutoScalingResponse,
            put_scheduled_update_group_action=lambda asked: self._put(asked["AutoScalingGroupName"], asked),
            batch_put_scheduled_update_group_action=self._put_batch,
            describe_scheduled_actions=self._describe,
            delete_scheduled_action=lambda asked: self._delete(_key(asked, asked["ScheduledActionName"])),
            batch_delete_scheduled_action=self._delete_batch,
        ):
            yield

    def _put(self, group: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._groups.bounds(group)  # a ValidationError if there is none
        action, now = GroupAction.parse(asked, self._now()), self._now()
        key = Key(group, action.name)
        others = {other: self._runs.next_due(other) for other in self._of(group) if other != key}
        if len(others) >= MAX_ACTIONS:
            raise LimitExceededError(f"Scheduled actions of a group are limited to {MAX_ACTIONS}")
        due = action.next_after(now)
        if due is not None and due in others.values():
            raise AlreadyExistsError("Scheduled action with this scheduled start time already exists")
        self._actions[key] = action
        self._runs.start(key, action.next_after, lambda: self._run(key))
        return {}

    def _run(self, key: Key) -> None:
        action = self._actions[key]
        if self._groups.exists(key.fleet) and not self._groups.suspended(key.fleet, PROCESS):
            minimum, maximum, desired = (action.sizes.get(name) for name in SIZES)
            self._groups.run_scheduled_action(
                key.fleet, key.name, minimum=minimum, maximum=maximum, desired=desired
            )
        if self._runs.next_due(key) is None:
            self._remove(key)

    def _remove(self, key: Key) -> None:
        del self._actions[key]
        self._runs.stop(key)

    def _delete(self, key: Key) -> dict[str, Any]:
        if key not in self._of(key.fleet):
            raise ValidationError("Scheduled action name not found")
        self._remove(key)
        return {}

    def _put_batch(self, asked: Parameters) -> object:
        group = asked["AutoScalingGroupName"]
        failed = []
        for action in asked["ScheduledUpdateGroupActions"]:
            try:
                self._put(group, action)
            except AutoscalingClientError as error:
                failed.append(_failure(action["ScheduledActionName"], error))
        return {"FailedScheduledUpdateGroupActions": failed}

    def _delete_batch(self, asked: Parameters) -> object:
        failed = []
        for name in asked["ScheduledActionNames"]:
            try:
                self._delete(_key(asked, name))
            except AutoscalingClientError as error:
                failed.append(_failure(name, error))
        return {"FailedScheduledActions": failed}

    def _describe(self, asked: Parameters) -> object:
        group, names = asked.get("AutoScalingGroupName"), asked.get("ScheduledActionNames")
        earliest, latest = _moment(asked, "StartTime"), _moment(asked, "EndTime")
        found = []
        for key in self._of(group):
            due = self._runs.next_due(key)
            if names:
                is_asked = key.name in names
            else:
                is_asked = due is None or (earliest or due) <= due <= (latest or due)
            if is_asked:
                found.append(self._actions[key].described(key.fleet, due))
        some, token = page(found, int(asked.get("MaxRecords", MAX_RECORDS)), asked.get("NextToken"))
        return {"ScheduledUpdateGroupActions": some, **token}

    def _of(self, group: str | None) -> list[Key]:
        """The actions of a group, or all, that have not ended; a deleted group has none."""
        for key, action in list(self._actions.items()):
            is_over = self._runs.next_due(key) is None and (action.ends or self._now()) <= self._now()
            if is_over or not self._groups.exists(key.fleet):
                self._remove(key)
        return [key for key in self._actions if group in (None, key.fleet)]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now, UTC)


def _check_sizes(sizes: Mapping[str, int]) -> None:
    if not sizes:
        raise ValidationError("At least one of MinSize, MaxSize and DesiredCapacity must be specified")
    low, high = sizes.get("MinSize", 0), sizes.get("MaxSize")
    if high is not None and low > high:
        raise ValidationError(f"Max bound, {high}, must be greater than or equal to min bound, {low}")
    desired = sizes.get("DesiredCapacity", low)
    if not low <= desired <= (desired if high is None else high):
        raise ValidationError(
            f"Desired capacity:{desired} must be between the specified min size and max size"
        )


def _moment(asked: Mapping[str, Any], name: str) -> datetime | None:
    given = asked.get(name)
    if given is None:
        return None
    moment = given if isinstance(given, datetime) else datetime.fromisoformat(given)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _key(asked: Parameters, name: str) -> Key:
    return Key(asked["AutoScalingGroupName"], name)


def _failure(name: str, error: AutoscalingClientError) -> dict[str, Any]:
    return {"ScheduledActionName": name, "ErrorCode": error.code, "ErrorMessage": error.message}
