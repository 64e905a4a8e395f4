"""The contract of `ports.HeldPolicies`, for every implementation and both kinds of fleet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from botocore import xform_name

from sluice.aws.held_policies import HeldPolicies as AwsHeldPolicies
from sluice.aws.held_policies import ScheduleGroups
from sluice.core.guard import Guard
from sluice.core.held_fields import Fields, Holds
from sluice.core.model import Workload
from sluice.core.pause import BOTH, IN, IN_SUSPENDED, OUT, OUT_SUSPENDED, Direction, Pause
from sluice.errors import ConfigError
from sluice.ports import HeldPolicies
from tests.contract.test_fleets import group, service
from tests.sluice.aws import account
from tests.support.aws_environment import keep_enabled
from tests.support.builders import NOW, guard, workload
from tests.support.fakes import GROUP_FIELDS, FakeHeldPolicies

SERVICE_FIELDS = {OUT_SUSPENDED: False, IN_SUSPENDED: False}
ROLE_ARN = "arn:aws:iam::123456789012:role/ends"
SOON, LATER = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
NOBODY = Holds()


@dataclass
class Subject:
    port: HeldPolicies
    served: Workload
    open_fields: Fields
    """What AWS has while nothing holds the policy."""
    scheduled: Callable[[], list[datetime]]
    """When AWS changes something by itself, the first first."""
    end_first: Callable[[], None]
    """Have AWS make the first of these changes."""

    def fields(self) -> Fields:
        return self.port.fields(self.served)

    def hold(self, was: Holds, holding: Holds) -> bool:
        return self.port.hold(self.served, was, holding)

    def guard(self, until: datetime = SOON) -> Guard:
        return guard(until=until, before=self.open_fields)

    def pause(self, directions: frozenset[Direction], until: datetime | None = SOON) -> Pause:
        return Pause(directions=directions, by="alice", at=NOW, until=until, before=self.open_fields)

    @property
    def held(self) -> Fields:
        """What AWS has while the guard holds the policy."""
        return {**self.open_fields, **self.guard().held}


@pytest.fixture(params=["fake group", "fake service", "group", "service"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    is_group = request.param.endswith("group")
    if request.param.startswith("fake"):
        yield faked(is_group=is_group)
        return
    with account.account(), pytest.MonkeyPatch.context() as patch:
        keep_enabled(patch)
        yield real(is_group=is_group)


def faked(*, is_group: bool) -> Subject:
    port, served = FakeHeldPolicies(), workload("one", fleet=(group if is_group else service)("one"))
    open_fields = dict(GROUP_FIELDS if is_group else SERVICE_FIELDS)
    port.by_workload["one"] = open_fields

    def end_first() -> None:
        port.by_workload["one"] = port.ends["one"].pop(0).after

    return Subject(
        port=port,
        served=served,
        open_fields=open_fields,
        scheduled=lambda: [end.at for end in port.ends.get("one", [])],
        end_first=end_first,
    )


def real(*, is_group: bool) -> Subject:
    fleet = account.create_group("one") if is_group else account.create_service("one")
    arn = account.create_group_policy("one") if is_group else account.create_service_policy(fleet)
    scheduler = account.client("scheduler")
    for name in ("pauses", "guards"):
        scheduler.create_schedule_group(Name=name)

    def schedules() -> list[tuple[datetime, str, str]]:
        found = []
        for listed in scheduler.list_schedules()["Schedules"]:
            kept = scheduler.get_schedule(Name=listed["Name"], GroupName=listed["GroupName"])
            at = datetime.fromisoformat(kept["ScheduleExpression"][3:-1]).replace(tzinfo=UTC)
            found.append((at, kept["Target"]["Arn"], kept["Target"]["Input"]))
        return sorted(found)

    def end_first() -> None:
        at, target, parameters = schedules()[0]
        service, operation = target.split(":")[-2:]
        client = account.client({"applicationautoscaling": "application-autoscaling"}.get(service, service))
        getattr(client, xform_name(operation))(**json.loads(parameters))
        for listed in scheduler.list_schedules()["Schedules"]:
            place = {"Name": listed["Name"], "GroupName": listed["GroupName"]}
            if f"{at:%Y-%m-%dT%H:%M:%S}" in scheduler.get_schedule(**place)["ScheduleExpression"]:
                scheduler.delete_schedule(**place)

    return Subject(
        port=AwsHeldPolicies(
            account.client, ScheduleGroups(role_arn=ROLE_ARN, pauses="pauses", guards="guards")
        ),
        served=workload("one", fleet=fleet, policy_arn=arn),
        open_fields=dict(GROUP_FIELDS if is_group else SERVICE_FIELDS),
        scheduled=lambda: [at for at, *_ in schedules()],
        end_first=end_first,
    )


def test_the_fields_of_a_policy_that_nobody_holds(subject: Subject) -> None:
    assert subject.fields() == subject.open_fields
    assert subject.scheduled() == []


def test_the_guard_holds_scale_out_and_aws_ends_it_by_itself(subject: Subject) -> None:
    assert subject.hold(NOBODY, Holds(guard=subject.guard()))
    assert subject.fields() == subject.held != subject.open_fields
    assert subject.scheduled() == [SOON]
    subject.end_first()
    assert subject.fields() == subject.open_fields


def test_a_release_puts_everything_back_and_nothing_is_scheduled(subject: Subject) -> None:
    holding = Holds(guard=subject.guard())
    subject.hold(NOBODY, holding)
    assert not subject.hold(holding, NOBODY)
    assert subject.fields() == subject.open_fields
    assert subject.scheduled() == []


def test_a_hold_made_twice_is_one(subject: Subject) -> None:
    holding = Holds(guard=subject.guard())
    subject.hold(NOBODY, holding)
    assert subject.hold(holding, holding)
    assert subject.fields() == subject.held
    assert subject.scheduled() == [SOON]


def test_another_end_replaces_the_first(subject: Subject) -> None:
    first, longer = Holds(guard=subject.guard()), Holds(guard=subject.guard(LATER))
    subject.hold(NOBODY, first)
    subject.hold(first, longer)
    assert subject.scheduled() == [LATER]


@pytest.mark.parametrize("directions", [BOTH, IN], ids=["both directions", "in"])
def test_of_two_holds_the_later_end_leaves_everything_as_it_was(
    subject: Subject, directions: frozenset[Direction]
) -> None:
    guarded = Holds(guard=subject.guard())
    both = Holds(guard=subject.guard(), pause=subject.pause(directions, LATER))
    subject.hold(NOBODY, guarded)
    assert subject.hold(guarded, both)
    paused = {**subject.open_fields, **subject.pause(directions).held}
    assert subject.fields() == {**subject.held, **paused, **subject.guard().held}
    if subject.fields() != paused:  # or else the end of the guard changes nothing
        assert subject.scheduled() == [SOON, LATER]
        subject.end_first()
        assert subject.fields() == paused
    assert subject.scheduled() == [LATER]
    subject.end_first()
    assert subject.fields() == subject.open_fields


def test_a_pause_without_end_goes_on_after_the_guard_and_nothing_is_scheduled_for_it(
    subject: Subject,
) -> None:
    pause = subject.pause(OUT, until=None)
    assert not subject.hold(NOBODY, Holds(pause=pause))
    both = Holds(pause=pause, guard=subject.guard())
    subject.hold(Holds(pause=pause), both)
    subject.hold(both, Holds(pause=pause))
    assert subject.fields() == subject.held
    assert subject.scheduled() == []


@pytest.mark.parametrize("subject", ["fake group", "group"], indirect=True)
def test_a_group_that_does_not_exist_raises(subject: Subject) -> None:
    if isinstance(subject.port, FakeHeldPolicies):
        subject.port.refusing["one"] = ConfigError("it does not exist")
    else:
        account.client("autoscaling").delete_auto_scaling_group(AutoScalingGroupName="one", ForceDelete=True)
    with pytest.raises(ConfigError):
        subject.hold(NOBODY, Holds(guard=subject.guard()))
