"""The contract of `ports.Fleets`, for every implementation and both kinds of fleet."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from sluice.aws.asg import AutoScalingGroups
from sluice.aws.ecs import EcsServices
from sluice.aws.fleets import AwsFleets
from sluice.core.model import AutoScalingGroup, Bounds, Capacity, EcsService, Fleet, Unknown
from sluice.errors import ConfigError, SluiceError
from sluice.ports import Fleets
from sluice_sim.simulator.ports import SimulatedFleets
from tests.sim.simulator.contexts import context
from tests.sluice.aws import account
from tests.support.builders import plenty
from tests.support.fakes import FakeFleets


@dataclass
class Subject:
    port: Fleets
    create: Callable[[str, int], Fleet]
    """A fleet of this name with bounds 0..5 and this desired count, all of it running."""
    missing: Fleet


def group(name: str) -> AutoScalingGroup:
    return AutoScalingGroup(name=name)


def service(name: str) -> EcsService:
    return EcsService(cluster="workers", service=name)


def running(fleet: Fleet, instances: int) -> Capacity:
    """A fleet whose instances all run; AWS says only for a group which boot and which are protected."""
    listed = 0 if isinstance(fleet, AutoScalingGroup) else None
    bounds = Bounds(min=0, max=5)
    return Capacity(desired=instances, running=instances, bounds=bounds, booting=listed, protected=listed)


SEVERAL = ["fake groups", "fake services", "groups", "services"]
"""A simulated run knows one fleet."""


@pytest.fixture(params=[*SEVERAL, "simulated groups", "simulated services"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    named: Callable[[str], Fleet] = group if request.param.endswith("groups") else service
    if request.param.startswith("fake"):
        fake = FakeFleets()

        def create(name: str, desired: int) -> Fleet:
            fake.capacities[named(name)] = running(named(name), desired)
            return named(name)

        yield Subject(port=fake, create=create, missing=named("gone"))
        return
    if request.param.startswith("simulated"):
        yield simulated(named)
        return
    with account.account(), account.threads() as pool:
        autoscaling, ecs = account.client("autoscaling"), account.client("ecs")
        scaling = account.client("application-autoscaling")
        port = AwsFleets(
            AutoScalingGroups(lambda: autoscaling, pool), EcsServices(lambda: ecs, lambda: scaling, pool)
        )
        ecs.create_cluster(clusterName="workers")
        new: Callable[..., Fleet] = (
            account.create_group if request.param == "groups" else account.create_service
        )
        yield Subject(
            port=port, create=lambda name, desired: new(name, desired=desired), missing=named("gone")
        )


def simulated(named: Callable[[str], Fleet]) -> Subject:
    """Its one fleet boots at once."""
    run = context("transcription" if named is group else "queue-proc")
    own = run.deployed.workload.fleet

    def create(name: str, desired: int) -> Fleet:
        run.fleet.set_desired(desired)
        return own

    return Subject(port=SimulatedFleets(run), create=create, missing=named("gone"))


def read(subject: Subject, *fleets: Fleet) -> list[Capacity | Unknown]:
    observed = subject.port.read(fleets, plenty)
    return [observed[fleet] for fleet in fleets]


def test_a_fleet_is_read_with_its_desired_count_what_runs_and_its_own_bounds(subject: Subject) -> None:
    fleet = subject.create("transcription", 2)
    assert read(subject, fleet) == [running(fleet, 2)]


def test_a_fleet_at_zero_reads_as_zero_and_not_as_unknown(subject: Subject) -> None:
    fleet = subject.create("transcription", 0)
    assert read(subject, fleet) == [running(fleet, 0)]


def test_a_desired_count_that_is_set_is_read_back(subject: Subject) -> None:
    fleet = subject.create("transcription", 0)
    for instances in (3, 5, 1, 0):
        subject.port.set_desired(fleet, instances)
        [observed] = read(subject, fleet)
        assert isinstance(observed, Capacity)
        assert observed.desired == instances


def test_setting_the_same_count_again_changes_nothing(subject: Subject) -> None:
    fleet = subject.create("transcription", 2)
    subject.port.set_desired(fleet, 2)
    assert read(subject, fleet) == [running(fleet, 2)]


@pytest.mark.parametrize("subject", SEVERAL, indirect=True)
def test_setting_one_fleet_leaves_the_others(subject: Subject) -> None:
    one, other = subject.create("one", 1), subject.create("other", 4)
    subject.port.set_desired(one, 3)
    [_, observed] = read(subject, one, other)
    assert isinstance(observed, Capacity)
    assert observed.desired == 4


def test_a_fleet_that_is_not_there_is_unknown_and_the_others_are_read(subject: Subject) -> None:
    fleet = subject.create("transcription", 1)
    [observed, missing] = read(subject, fleet, subject.missing)
    assert isinstance(observed, Capacity)
    assert isinstance(missing, Unknown)
    assert "gone" in missing.reason


def test_setting_a_fleet_that_is_not_there_raises(subject: Subject) -> None:
    with pytest.raises(SluiceError, match="gone"):
        subject.port.set_desired(subject.missing, 1)


def test_no_fleets_are_no_readings(subject: Subject) -> None:
    assert subject.port.read([], plenty) == {}


@pytest.mark.parametrize("subject", ["simulated groups", "simulated services"], indirect=True)
def test_a_simulated_fleet_refuses_a_count_out_of_bounds_as_aws_does(subject: Subject) -> None:
    fleet = subject.create("transcription", 2)
    for instances in (-1, 6):
        with pytest.raises(ConfigError, match=r"ValidationError: -?\d is outside 0..5"):
            subject.port.set_desired(fleet, instances)
    assert read(subject, fleet) == [running(fleet, 2)]


@pytest.mark.parametrize("named", [group, service])
def test_a_fake_fleet_refuses_a_count_out_of_bounds_as_aws_does(named: Callable[[str], Fleet]) -> None:
    # moto takes any count, so the adapter's half of this is tested on a stubbed answer in tests/sluice/aws.
    fleet, fake = named("transcription"), FakeFleets()
    fake.capacities[fleet] = Capacity(desired=2, running=2, bounds=Bounds(min=1, max=5))
    for instances in (0, 6):
        with pytest.raises(ConfigError, match=r"ValidationError: \d is outside 1..5"):
            fake.set_desired(fleet, instances)
    assert fake.capacities[fleet].desired == 2
