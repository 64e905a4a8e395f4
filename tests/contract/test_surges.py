"""The contract of `ports.Surges`, for every implementation and both kinds of fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from sluice.aws.surges import AwsSurges
from sluice.core.model import AutoScalingGroup, Bounds, Capacity, Fleet
from sluice.core.surge import MinimumChange, ScheduledActions, Surge
from sluice.errors import SluiceError
from sluice.ports import Surges
from tests.contract.test_fleets import group, service
from tests.sluice.aws import account
from tests.support.fakes import Clock, FakeFleets, FakeSurges

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
ALICE = "arn:aws:sts::123456789012:assumed-role/on-call/alice"
SURGE = Surge(
    workload="transcription", instances=4, until=NOON + timedelta(hours=1), by=ALICE, minimum_before=1
)
OTHER = MinimumChange(name="evening", minimum=2, at=NOON + timedelta(hours=6))
RECURRING = MinimumChange(name="sluice-one-office-hours", minimum=3, at=None)


@dataclass
class Subject:
    port: Surges
    create: Callable[[str], Fleet]
    """A fleet of this name with bounds 1..5 and two instances."""
    size: Callable[[Fleet], tuple[int, int]]
    """Minimum and desired count."""
    schedule_other: Callable[[Fleet], None]
    """Have AWS take `OTHER`, and an action that leaves the minimum alone."""
    schedule_recurring: Callable[[Fleet], None]
    """Have AWS take `RECURRING`, of which only its expression says when it starts."""


@pytest.fixture(params=["fake groups", "fake services", "groups", "services"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    is_group = request.param.endswith("groups")
    with time_machine.travel(NOON, tick=False):
        if request.param.startswith("fake"):
            yield faked(group if is_group else service)
            return
        with account.account():
            yield real(is_group=is_group)


def faked(named: Callable[[str], Fleet]) -> Subject:
    fleets = FakeFleets()
    port = FakeSurges(fleets, Clock(NOON))

    def create(name: str) -> Fleet:
        fleets.capacities[named(name)] = Capacity(desired=2, running=2, bounds=Bounds(min=1, max=5))
        return named(name)

    def size(fleet: Fleet) -> tuple[int, int]:
        has = fleets.capacities[fleet]
        assert has.bounds is not None
        return has.bounds.min, has.desired

    return Subject(
        port=port,
        create=create,
        size=size,
        schedule_other=lambda fleet: port.others.update({fleet: (OTHER,)}),
        schedule_recurring=lambda fleet: port.others.update({fleet: (RECURRING,)}),
    )


def real(*, is_group: bool) -> Subject:
    autoscaling, scaling = account.client("autoscaling"), account.client("application-autoscaling")
    account.client("ecs").create_cluster(clusterName="workers")
    port = AwsSurges(lambda: autoscaling, lambda: account.client("ecs"), lambda: scaling)

    def create(name: str) -> Fleet:
        if is_group:
            return account.create_group(name, desired=2, min_size=1)
        return account.create_service(name, desired=2, bounds=(1, 5))

    def size(fleet: Fleet) -> tuple[int, int]:
        if isinstance(fleet, AutoScalingGroup):
            [has] = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[fleet.name])[
                "AutoScalingGroups"
            ]
            return has["MinSize"], has["DesiredCapacity"]
        [target] = scaling.describe_scalable_targets(
            ServiceNamespace="ecs", ResourceIds=[f"service/{fleet.cluster}/{fleet.service}"]
        )["ScalableTargets"]
        return target["MinCapacity"], account.desired_of(fleet)

    def schedule_other(fleet: Fleet) -> None:
        if isinstance(fleet, AutoScalingGroup):
            for name, sizes in (
                (OTHER.name, {"MinSize": OTHER.minimum, "StartTime": OTHER.at}),
                ("max", {"MaxSize": 9, "Recurrence": "0 8 * * *"}),
            ):
                autoscaling.put_scheduled_update_group_action(
                    AutoScalingGroupName=fleet.name, ScheduledActionName=name, **sizes
                )
            return
        for name, sizes in ((OTHER.name, {"MinCapacity": OTHER.minimum}), ("max", {"MaxCapacity": 9})):
            scaling.put_scheduled_action(
                ServiceNamespace="ecs",
                ResourceId=f"service/{fleet.cluster}/{fleet.service}",
                ScalableDimension="ecs:service:DesiredCount",
                ScheduledActionName=name,
                Schedule=f"at({OTHER.at:%Y-%m-%dT%H:%M:%S})",
                ScalableTargetAction=sizes,
            )

    return Subject(
        port=port,
        create=create,
        size=size,
        schedule_other=schedule_other,
        schedule_recurring=schedule_recurring,
    )


def schedule_recurring(fleet: Fleet) -> None:
    autoscaling, scaling = account.client("autoscaling"), account.client("application-autoscaling")
    if isinstance(fleet, AutoScalingGroup):
        autoscaling.put_scheduled_update_group_action(
            AutoScalingGroupName=fleet.name,
            ScheduledActionName=RECURRING.name,
            Recurrence="00 8 * * MON-FRI",
            TimeZone="Europe/Berlin",
            MinSize=RECURRING.minimum,
            MaxSize=5,
        )
        return
    scaling.put_scheduled_action(
        ServiceNamespace="ecs",
        ResourceId=f"service/{fleet.cluster}/{fleet.service}",
        ScalableDimension="ecs:service:DesiredCount",
        ScheduledActionName=RECURRING.name,
        Schedule="cron(00 8 ? * MON-FRI *)",
        Timezone="Europe/Berlin",
        ScalableTargetAction={"MinCapacity": RECURRING.minimum, "MaxCapacity": 5},
    )


def actions(fleet: Fleet, *surges: Surge, others: tuple[MinimumChange, ...] = ()) -> ScheduledActions:
    """What is read of these; a group's start at times of their own."""
    starts = {surge.until for surge in surges} | {other.at for other in others if other.at}
    taken = frozenset(starts if isinstance(fleet, AutoScalingGroup) else ())
    return ScheduledActions(surges=surges, others=others, taken=taken)


def test_a_fleet_without_scheduled_actions_has_none(subject: Subject) -> None:
    assert subject.port.read(subject.create("one")) == ScheduledActions()


def test_an_end_that_is_scheduled_reads_back_as_the_surge(subject: Subject) -> None:
    fleet = subject.create("one")
    subject.port.schedule_end(fleet, SURGE)
    assert subject.port.read(fleet) == actions(fleet, SURGE)
    assert subject.size(fleet) == (1, 2)


def test_the_longest_name_reads_back(subject: Subject) -> None:
    fleet, long = subject.create("one"), replace(SURGE, by=f"arn:aws:sts::123456789012:{'x/' * 300}")
    subject.port.schedule_end(fleet, long)
    [read] = subject.port.read(fleet).surges
    assert (read.name, read.minimum_before) == (long.name, 1)


def test_one_of_the_same_name_is_replaced(subject: Subject) -> None:
    fleet, later = subject.create("one"), replace(SURGE, until=SURGE.until + timedelta(hours=1))
    subject.port.schedule_end(fleet, SURGE)
    subject.port.schedule_end(fleet, later)
    assert subject.port.read(fleet).surges == (later,)


def test_one_fleets_surge_is_not_anothers(subject: Subject) -> None:
    one, other = subject.create("one"), subject.create("other")
    subject.port.schedule_end(one, SURGE)
    assert subject.port.read(other) == ScheduledActions()


def test_actions_of_others_are_told_apart_and_those_that_leave_the_minimum_alone_left_out(
    subject: Subject,
) -> None:
    fleet = subject.create("one")
    subject.schedule_other(fleet)
    subject.port.schedule_end(fleet, SURGE)
    assert subject.port.read(fleet) == actions(fleet, SURGE, others=(OTHER,))


def test_an_action_that_recurs_is_no_surge_and_its_start_is_in_its_expression(subject: Subject) -> None:
    fleet = subject.create("one")
    subject.schedule_recurring(fleet)
    assert subject.port.read(fleet).others == (RECURRING,)


def test_a_cancelled_end_is_gone_and_one_that_is_gone_is_cancelled(subject: Subject) -> None:
    fleet = subject.create("one")
    subject.port.schedule_end(fleet, SURGE)
    for _ in range(2):
        subject.port.cancel(fleet, SURGE)
        assert subject.port.read(fleet).surges == ()


def test_a_minimum_raises_the_desired_count_to_it(subject: Subject) -> None:
    fleet = subject.create("one")
    subject.port.set_minimum(fleet, 4)
    assert subject.size(fleet) == (4, 4)


def test_a_lower_minimum_lowers_nothing_else(subject: Subject) -> None:
    fleet = subject.create("one")
    subject.port.set_minimum(fleet, 4)
    subject.port.set_minimum(fleet, 0)
    assert subject.size(fleet) == (0, 4)


@pytest.mark.parametrize("subject", ["fake groups", "fake services"], indirect=True)
def test_a_fake_refuses_what_aws_refuses_and_moto_takes(subject: Subject) -> None:
    fleet = subject.create("one")
    with pytest.raises(SluiceError, match="past"):
        subject.port.schedule_end(fleet, replace(SURGE, until=NOON))
    with pytest.raises(SluiceError, match="above 5"):
        subject.port.set_minimum(fleet, 6)
