"""Auto Scaling groups and ECS services of the embedded AWS: common behaviour and differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluice.aws.ecs import EcsServices
from sluice.core.model import Capacity, EcsService
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.fleet import EmbeddedFleet, Size

ROOT = Path(__file__).resolve().parents[3]
BOOT_S = 120


class BusyWorker:
    """A worker with a message in flight until the test calls `finish`."""

    alive = protected = True

    def __init__(self) -> None:
        self.finish: Callable[[], None] | None = None

    def drain(self, when_drained: Callable[[], None]) -> None:
        self.finish = when_drained


@dataclass(kw_only=True)
class Subject:
    """One fleet, its API, and its workers."""

    aws: EmbeddedAws
    fleet: EmbeddedFleet
    workers: list[BusyWorker]
    set_desired: Callable[[int], object]
    described: Callable[[], tuple[int, int]]
    """(desired, running) as the API describes them."""

    def wait(self, seconds: float) -> None:
        self.aws.clock.run_until(self.aws.clock.now + seconds)


def _group(aws: EmbeddedAws, workers: list[BusyWorker]) -> Subject:
    fleet = aws.create_group("group", minimum=0, maximum=4, boot_s=BOOT_S, start=_starting(workers))

    def described() -> tuple[int, int]:
        (group,) = aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        running = [each for each in group["Instances"] if each["LifecycleState"] == "InService"]
        return group["DesiredCapacity"], len(running)

    def set_desired(desired: int) -> None:
        aws.autoscaling.set_desired_capacity(AutoScalingGroupName="group", DesiredCapacity=desired)

    return Subject(aws=aws, fleet=fleet, workers=workers, set_desired=set_desired, described=described)


def _service(aws: EmbeddedAws, workers: list[BusyWorker], controller: str = "ECS") -> Subject:
    fleet = aws.create_service(
        "workers", "service", boot_s=BOOT_S, start=_starting(workers), controller=controller
    )

    def described() -> tuple[int, int]:
        (service,) = aws.ecs.describe_services(cluster="workers", services=["service"])["services"]
        return service["desiredCount"], service["runningCount"]

    def set_desired(desired: int) -> None:
        aws.ecs.update_service(cluster="workers", service="service", desiredCount=desired)

    return Subject(aws=aws, fleet=fleet, workers=workers, set_desired=set_desired, described=described)


def _starting(workers: list[BusyWorker]) -> Callable[[], Any]:
    def start() -> BusyWorker:
        workers.append(BusyWorker())
        return workers[-1]

    return start


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws(ROOT) as account:
        yield account


@pytest.fixture(params=[_group, _service], ids=["group", "service"])
def subject(request: pytest.FixtureRequest, aws: EmbeddedAws) -> Subject:
    made: Subject = request.param(aws, [])
    return made


def test_a_group_shows_which_instances_their_workers_protect_from_scale_in(aws: EmbeddedAws) -> None:
    subject = _group(aws, [])
    subject.set_desired(2)
    subject.wait(BOOT_S)
    subject.workers[0].protected = False
    [group] = aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert [one["ProtectedFromScaleIn"] for one in group["Instances"]] == [False, True]


def test_a_launched_instance_boots_before_it_runs(subject: Subject) -> None:
    subject.set_desired(3)
    assert subject.fleet.size() == Size(desired=3, running=0, booting=3)
    assert subject.described() == (3, 0)
    subject.wait(BOOT_S)
    assert subject.described() == (3, 3)
    assert len(subject.workers) == 3


def test_a_stopped_instance_finishes_its_message_first(subject: Subject) -> None:
    subject.set_desired(2)
    subject.wait(BOOT_S)
    subject.set_desired(0)
    assert subject.described() == (0, 0)
    assert all(worker.finish for worker in subject.workers)
    for worker in subject.workers:
        assert worker.finish is not None
        worker.finish()
    assert subject.fleet.size() == Size(desired=0, running=0, booting=0)


def test_booting_instances_stop_first(subject: Subject) -> None:
    subject.set_desired(1)
    subject.wait(BOOT_S)
    subject.set_desired(3)
    subject.set_desired(1)
    subject.wait(BOOT_S)
    assert subject.described() == (1, 1)
    assert [worker.finish for worker in subject.workers] == [None]


def test_warm_up_counts_from_when_an_instance_runs(subject: Subject) -> None:
    subject.set_desired(1)
    subject.wait(BOOT_S + 59)
    assert subject.fleet.warmed(60) == 0
    subject.wait(1)
    assert subject.fleet.warmed(60) == 1


def test_a_group_refuses_what_its_bounds_forbid_and_nothing_changes(aws: EmbeddedAws) -> None:
    group = _group(aws, [])
    with pytest.raises(ClientError, match="5 is above max value 4"):
        group.set_desired(5)
    assert group.described() == (0, 0)


def test_a_group_whose_launches_are_suspended_waits_until_they_are_resumed(aws: EmbeddedAws) -> None:
    group = _group(aws, [])
    aws.autoscaling.suspend_processes(AutoScalingGroupName="group", ScalingProcesses=["Launch"])
    group.set_desired(2)
    group.wait(BOOT_S * 2)
    assert group.described() == (2, 0)
    aws.autoscaling.resume_processes(AutoScalingGroupName="group", ScalingProcesses=["Launch"])
    group.wait(BOOT_S * 2)
    assert group.described() == (2, 2)


def test_a_service_accepts_any_count_until_a_scalable_target_bounds_it(
    aws: EmbeddedAws,
) -> None:
    service = _service(aws, [])
    service.set_desired(9)
    assert service.described()[0] == 9
    for minimum, maximum, desired in ((1, 6, 6), (8, 10, 8)):
        aws.scaling.register_scalable_target(
            ServiceNamespace="ecs",
            ScalableDimension="ecs:service:DesiredCount",
            ResourceId="service/workers/service",
            MinCapacity=minimum,
            MaxCapacity=maximum,
        )
        assert service.described()[0] == desired


def test_a_deployment_starts_the_new_tasks_before_it_stops_the_old(aws: EmbeddedAws) -> None:
    service = _service(aws, [])
    service.set_desired(2)
    service.wait(BOOT_S)
    aws.ecs.update_service(cluster="workers", service="service", forceNewDeployment=True)
    assert service.fleet.deploying
    assert service.described() == (2, 2)
    service.wait(BOOT_S + 20)
    assert not service.fleet.deploying
    assert service.described() == (2, 2)
    assert [worker.finish is not None for worker in service.workers] == [True, True, False, False]


@pytest.mark.parametrize("controller", ["ECS", "CODE_DEPLOY", "EXTERNAL"])
def test_a_deployment_in_progress_is_read_as_such_with_every_controller(
    aws: EmbeddedAws, controller: str
) -> None:
    service = _service(aws, [], controller)
    service.set_desired(2)
    service.wait(BOOT_S)
    assert _deployment(aws) == ((), None)
    aws.ecs.update_service(cluster="workers", service="service", forceNewDeployment=True)
    began = datetime.fromtimestamp(aws.clock.now, UTC)
    assert _deployment(aws) == (("a deployment is rolling",), began)
    service.wait(BOOT_S + 20)
    for worker in service.workers:
        if worker.finish is not None:
            worker.finish()
    assert _deployment(aws) == ((), None)


def _deployment(aws: EmbeddedAws) -> tuple[tuple[str, ...], datetime | None]:
    """What the functions read: what blocks the service's scale-in, and since when."""
    fleet = EcsService(cluster="workers", service="service")
    with ThreadPoolExecutor(2) as pool:
        observed = EcsServices(lambda: aws.ecs, lambda: aws.scaling, pool).read([fleet], lambda: 30)[fleet]
    assert isinstance(observed, Capacity)
    return observed.scale_in_blocked_by, observed.deploying_since
