"""The contract of `ports.Policies`, for every implementation and both kinds of fleet."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from sluice.aws.policies import TargetTrackingPolicies
from sluice.core.model import EcsService, Unknown, Workload
from sluice.errors import ConfigError
from sluice.ports import Policies, Policy
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.ports import SimulatedPolicies
from tests.sim.simulator.contexts import context
from tests.sluice.aws import account
from tests.support.builders import (
    POOL,
    ecs_workload,
    plenty,
    workload,
)
from tests.support.fakes import FakePolicies


@dataclass
class Subject:
    port: Policies
    create: Callable[[str], Workload]
    """A workload by this name, and its fleet, with a policy at target 10."""
    renewed: Callable[[Workload], Workload] = lambda served: served
    """The workload with its policy's ARN as it is now (on AWS a put keeps it)."""


SEVERAL = ["fake group", "fake service", "group", "service"]
"""A simulated run has one policy."""


@pytest.fixture(params=[*SEVERAL, "simulated group", "simulated service"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    build = workload if request.param.endswith("group") else ecs_workload
    if request.param.startswith("fake"):
        fake = FakePolicies()

        def create(name: str) -> Workload:
            served = build(name)
            assert served.policy_arn is not None
            fake.by_arn[served.policy_arn] = Policy(
                fleet=served.fleet, target=10, definition={"PolicyARN": served.policy_arn}
            )
            return served

        yield Subject(port=fake, create=create)
        return
    if request.param.startswith("simulated"):
        run = context("transcription" if request.param.endswith("group") else "queue-proc")
        aws = SimulatedAws(run)
        aws.create_policy()
        yield Subject(port=SimulatedPolicies(aws), create=lambda name: run.deployed.workload)
        return

    def create_in_account(name: str) -> Workload:
        if request.param == "group":
            account.create_group(name)
            return replace(build(name), policy_arn=account.create_group_policy(name))
        fleet = account.create_service(name)
        assert isinstance(fleet, EcsService)
        return replace(build(name), policy_arn=account.create_service_policy(fleet))

    with account.account():
        autoscaling, scaling = account.client("autoscaling"), account.client("application-autoscaling")
        port = TargetTrackingPolicies(lambda: autoscaling, lambda: scaling, POOL)
        yield Subject(
            port=port,
            create=create_in_account,
            renewed=lambda served: replace(served, policy_arn=account.policy_arn_of(served.fleet)),
        )


def test_a_policy_is_read_with_its_target_and_fleet(subject: Subject) -> None:
    served = subject.create("transcription")
    policy = subject.port.read(served, plenty)
    assert (policy.target, policy.fleet) == (10, served.fleet)


@pytest.mark.parametrize("target", [7.5, 0.25, 400])
def test_the_target_that_is_put_is_read_back_and_may_be_fractional(subject: Subject, target: float) -> None:
    served = subject.create("transcription")
    subject.port.put_target(subject.port.read(served, plenty), target)
    assert subject.port.read(subject.renewed(served), plenty).target == target


@pytest.mark.parametrize("subject", SEVERAL, indirect=True)
def test_putting_one_workloads_target_leaves_the_others_policy(subject: Subject) -> None:
    served, other = subject.create("transcription"), subject.create("other")
    subject.port.put_target(subject.port.read(served, plenty), 20)
    assert subject.port.read(other, plenty).target == 10


def test_a_policy_that_is_not_there_is_refused_and_named(subject: Subject) -> None:
    served = subject.create("transcription")
    missing = replace(served, policy_arn=f"{served.policy_arn}-gone")
    with pytest.raises(ConfigError, match=rf"workload {served.name}: .* has no scaling policy"):
        subject.port.read(missing, plenty)


@pytest.mark.parametrize("subject", SEVERAL, indirect=True)
def test_the_targets_of_several_workloads_are_read_together(subject: Subject) -> None:
    served, other = subject.create("transcription"), subject.create("other")
    subject.port.put_target(subject.port.read(served, plenty), 20)
    renewed_policies = {one.name: subject.renewed(one) for one in (served, other)}
    assert subject.port.targets(renewed_policies, plenty) == {"transcription": 20, "other": 10}


def test_the_target_is_that_which_was_put_last(subject: Subject) -> None:
    served = subject.create("transcription")
    subject.port.put_target(subject.port.read(served, plenty), 0.25)
    assert subject.port.targets({served.name: subject.renewed(served)}, plenty) == {served.name: 0.25}


def test_the_target_of_a_policy_that_is_not_there_is_unknown_and_the_others_are_read(
    subject: Subject,
) -> None:
    served = subject.create("transcription")
    missing = replace(served, name="gone", policy_arn=f"{served.policy_arn}-gone")
    targets = subject.port.targets({served.name: served, "gone": missing}, plenty)
    assert targets[served.name] == 10
    unknown = targets["gone"]
    assert isinstance(unknown, Unknown)
    assert "has no scaling policy" in unknown.reason


@pytest.mark.parametrize("subject", SEVERAL, indirect=True)
def test_a_target_without_time_to_read_it_is_unknown(subject: Subject) -> None:
    served = subject.create("transcription")
    assert isinstance(subject.port.targets({"transcription": served}, lambda: 0)["transcription"], Unknown)


def test_no_workloads_have_no_targets(subject: Subject) -> None:
    assert subject.port.targets({}, plenty) == {}
