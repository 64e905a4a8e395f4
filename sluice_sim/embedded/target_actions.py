"""Scheduled actions of scalable targets: moto stores them, and never runs them.

One that ran for the last time stays listed until it is deleted: AWS's tutorial on scheduled scaling deletes
one-time actions after they ran. Deregistering its target deletes an action. While ScheduledScalingSuspended
is true, what is due does not run, neither then nor later (documented).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from moto.applicationautoscaling.models import ApplicationAutoscalingBackend
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.exceptions import ServiceException

from sluice.aws.ecs import DIMENSION
from sluice_sim.account import arn
from sluice_sim.aws_rules.action_runs import ActionRuns, Key, Next
from sluice_sim.aws_rules.cron import Cron
from sluice_sim.aws_rules.scheduler import Schedule, at
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.operations import Parameters, answered, page
from sluice_sim.embedded.services import EcsServices

MAX_RESULTS = 50
KEPT_BY_UPDATE = ("Schedule", "Timezone", "ScalableTargetAction")
"""What a request that leaves it out does not change; it deletes a start and an end (documented)."""


class ValidationError(ServiceException):
    """A request that is refused."""

    code = "ValidationException"


class ObjectNotFoundError(ServiceException):
    """A scalable target or a scheduled action that does not exist."""

    code = "ObjectNotFoundException"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAction:
    """One scheduled action; `given` are its parameters by AWS's names."""

    given: Mapping[str, Any]
    created_s: float
    upcoming: Next

    @classmethod
    def parse(cls, given: Mapping[str, Any], now: datetime, created_s: float) -> TargetAction:
        """Parse the parameters of an action; ValidationError if they are refused."""
        starts, ends = _moment(given, "StartTime"), _moment(given, "EndTime")
        if starts and ends and ends < starts:
            raise ValidationError("Start time must be before end time.")
        if not given.get("Schedule"):
            raise ValidationError("A new scheduled action must have a schedule.")
        _check_capacities(given.get("ScalableTargetAction", {}))
        try:
            zone = ZoneInfo(given.get("Timezone") or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValidationError(f"Invalid timezone: {given['Timezone']}") from error
        try:
            upcoming = _parse_schedule(given["Schedule"], zone, starts or now)
        except ValueError as error:
            raise ValidationError(f"Invalid schedule: {given['Schedule']}: {error}") from error
        if _is_once(given["Schedule"]) and upcoming(now) is None:
            # Assumption: as EC2 Auto Scaling, which documents it.
            raise ValidationError(f"Invalid schedule: {given['Schedule']} is in the past")
        return cls(given=given, created_s=created_s, upcoming=_bounded(upcoming, starts, ends))

    def described(self) -> dict[str, Any]:
        """As AWS describes it."""
        resource_id, name = self.given["ResourceId"], self.given["ScheduledActionName"]
        unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{resource_id}/{name}")
        place = f"resource/ecs/{resource_id}:scheduledActionName/{name}"
        return {
            **self.given,
            "ScheduledActionARN": arn("autoscaling", f"scheduledAction:{unique}:{place}"),
            "CreationTime": self.created_s,
        }


class TargetActions:
    """The scheduled actions of every scalable target."""

    def __init__(self, clock: VirtualClock, services: EcsServices, runs: ActionRuns) -> None:
        self._clock, self._services, self._runs = clock, services, runs
        self._actions: dict[Key, TargetAction] = {}

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, the operations on scheduled actions are answered here."""
        deregister = ApplicationAutoscalingBackend.deregister_scalable_target

        def deregistered(
            backend: ApplicationAutoscalingBackend, namespace: str, resource_id: str, dimension: str
        ) -> None:
            deregister(backend, namespace, resource_id, dimension)
            for key in [key for key in self._actions if key.fleet == resource_id]:
                self._remove(key)

        with (
            mock.patch.object(ApplicationAutoscalingBackend, "deregister_scalable_target", deregistered),
            answered(
                ApplicationAutoScalingResponse,
                put_scheduled_action=self._put,
                describe_scheduled_actions=self._describe,
                delete_scheduled_action=self._delete,
            ),
        ):
            yield

    def _put(self, asked: Parameters) -> object:
        key = Key(asked["ResourceId"], asked["ScheduledActionName"])
        if not self._services.is_target(key.fleet):
            raise ObjectNotFoundError(f"No scalable target registered for {_place(asked)}")
        known = self._actions.get(key)
        kept = {name: known.given[name] for name in KEPT_BY_UPDATE if known and name in known.given}
        created_s = known.created_s if known else self._clock.now
        now = datetime.fromtimestamp(self._clock.now, UTC)
        action = self._actions[key] = TargetAction.parse({**kept, **asked}, now, created_s)
        self._runs.start(key, action.upcoming, partial(self._run, key))
        return {}

    def _run(self, key: Key) -> None:
        if not self._services.scheduled_scaling_suspended(key.fleet):
            sizes = self._actions[key].given.get("ScalableTargetAction", {})
            self._services.run_scheduled_action(
                key.fleet, key.name, minimum=sizes.get("MinCapacity"), maximum=sizes.get("MaxCapacity")
            )

    def _remove(self, key: Key) -> None:
        del self._actions[key]
        self._runs.stop(key)

    def _delete(self, asked: Parameters) -> object:
        key = Key(asked["ResourceId"], asked["ScheduledActionName"])
        if key not in self._actions:
            raise ObjectNotFoundError(
                f"No scheduled action found for {_place(asked)}, scheduled action name: {key.name}"
            )
        self._remove(key)
        return {}

    def _describe(self, asked: Parameters) -> object:
        names, resource_id = asked.get("ScheduledActionNames"), asked.get("ResourceId")
        found = [
            action.described()
            for key, action in self._actions.items()
            if resource_id in (None, key.fleet)
            and (not names or key.name in names)
            and asked["ServiceNamespace"] == action.given["ServiceNamespace"]
        ]
        some, token = page(found, asked.get("MaxResults", MAX_RESULTS), asked.get("NextToken"))
        return {"ScheduledActions": some, **token}


def _check_capacities(sizes: Mapping[str, int]) -> None:
    low, high = sizes.get("MinCapacity"), sizes.get("MaxCapacity")
    if low is None and high is None:
        raise ValidationError("Either minimum capacity or maximum capacity must be specified.")
    if low is not None and high is not None and low > high:
        raise ValidationError("Maximum capacity cannot be less than minimum capacity")


def _is_once(expression: str) -> bool:
    return expression.startswith("at(")


def _parse_schedule(expression: str, zone: ZoneInfo, since: datetime) -> Next:
    """When `at`, `rate` or `cron` is due after a moment; a rate counts from `since`."""
    if _is_once(expression):
        once = at(expression).replace(tzinfo=zone).astimezone(UTC)
        return lambda moment: once if once > moment else None
    if expression.startswith("rate("):
        return _every(timedelta(seconds=Schedule.parse(expression).period_s), since)
    if expression.startswith("cron(") and expression.endswith(")"):
        cron = Cron.six_fields(expression[len("cron(") : -1])
        return lambda moment: cron.next_after(moment, zone)
    raise ValueError("write at(yyyy-mm-ddThh:mm:ss), rate(value unit) or cron(six fields)")


def _every(period: timedelta, since: datetime) -> Callable[[datetime], datetime]:
    return lambda moment: since + period * (max(moment - since, timedelta()) // period + 1)


def _bounded(upcoming: Next, starts: datetime | None, ends: datetime | None) -> Next:
    """As `upcoming`, but at the start too, and neither before it nor after the end."""

    def bounded(moment: datetime) -> datetime | None:
        due = starts if starts is not None and moment < starts else upcoming(moment)
        return None if due is None or (ends is not None and due > ends) else due

    return bounded


def _moment(given: Mapping[str, Any], name: str) -> datetime | None:
    return datetime.fromtimestamp(given[name], UTC) if name in given else None


def _place(asked: Parameters) -> str:
    dimension = asked.get("ScalableDimension", DIMENSION)
    return (
        f"service namespace: {asked['ServiceNamespace']}, resource ID: {asked['ResourceId']}, "
        f"scalable dimension: {dimension}"
    )
