import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sluice.aws.ecs import EcsServices
from sluice.core.model import Bounds, Capacity, EcsService, Unknown
from sluice.errors import ConfigError, TransientError
from tests.sluice.aws import account
from tests.sluice.aws.stubs import (
    ANY,
    Call,
    refusal,
    stubbed,
    unchecked,
)
from tests.support.builders import plenty

SERVICE = EcsService(cluster="workers", service="queue-proc")
LONG_AGO = datetime(2026, 1, 2, 8, 0, tzinfo=UTC)
BEGAN = datetime(2026, 1, 15, 10, 40, tzinfo=UTC)
COMPLETED = {"id": "ecs-svc/1", "status": "PRIMARY", "rolloutState": "COMPLETED", "createdAt": LONG_AGO}


def fleet(name: str, cluster: str = "workers") -> EcsService:
    return EcsService(cluster=cluster, service=name)


def described(name: str = "queue-proc", **changes: Any) -> dict[str, Any]:
    return {
        "serviceName": name,
        "status": "ACTIVE",
        "desiredCount": 3,
        "runningCount": 2,
        "pendingCount": 1,
        "deployments": [COMPLETED],
    } | changes


def task_set(name: str, status: str, stability: str = "STEADY_STATE", **changes: datetime) -> dict[str, Any]:
    return {
        "id": f"ecs-svc/{name}",
        "status": status,
        "stabilityStatus": stability,
        "stabilityStatusAt": datetime(2026, 1, 15, 12, 0, tzinfo=UTC),  # when it was looked at
        "createdAt": LONG_AGO,
        "updatedAt": LONG_AGO,
    } | changes


def describe(cluster: str, names: list[str], *services: Mapping[str, Any]) -> Call:
    found = list(services) or [described(name) for name in names]
    return ("describe_services", {"cluster": cluster, "services": names}, {"services": found})


def scalable_target(name: str = "queue-proc", cluster: str = "workers", **changes: Any) -> dict[str, Any]:
    return {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/{cluster}/{name}",
        "ScalableDimension": "ecs:service:DesiredCount",
        "MinCapacity": 0,
        "MaxCapacity": 5,
        "RoleARN": "arn:aws:iam::123456789012:role/ecs-autoscaling",
        "CreationTime": 0,
    } | changes


def targets(
    *found: Mapping[str, Any], resource_ids: object = ANY, more: Mapping[str, str] | None = None
) -> Call:
    parameters = {
        "ServiceNamespace": "ecs",
        "ScalableDimension": "ecs:service:DesiredCount",
        "ResourceIds": resource_ids,
    }
    return ("describe_scalable_targets", parameters, {"ScalableTargets": list(found)} | dict(more or {}))


@contextmanager
def services(ecs: list[Call], scaling: list[Call], pool: ThreadPoolExecutor) -> Iterator[EcsServices]:
    with stubbed("ecs", *ecs) as client, stubbed("application-autoscaling", *scaling) as scaling_client:
        yield EcsServices(lambda: client, lambda: scaling_client, pool)


def read_one(
    service: Mapping[str, Any], pool: ThreadPoolExecutor, *found: Mapping[str, Any]
) -> Capacity | Unknown:
    with services([describe("workers", ["queue-proc"], service)], [targets(*found)], pool) as port:
        return port.read([SERVICE], plenty)[SERVICE]


class TestBatches:
    def test_eleven_services_of_one_cluster_are_two_calls(self, pool: ThreadPoolExecutor) -> None:
        names = [f"s{index:02}" for index in range(11)]
        calls = [describe("workers", names[:10]), describe("workers", names[10:])]
        ids = [f"service/workers/{name}" for name in names]
        with services(calls, [targets(resource_ids=ids)], pool) as port:
            observed = port.read([fleet(name) for name in names], plenty)
        assert all(isinstance(reading, Capacity) for reading in observed.values())
        assert len(observed) == 11

    def test_two_clusters_are_read_separately_even_for_services_of_one_name(
        self, pool: ThreadPoolExecutor
    ) -> None:
        one, other = fleet("queue-proc", "blue"), fleet("queue-proc", "green")
        calls = [
            describe("blue", ["queue-proc"], described(desiredCount=1)),
            describe("green", ["queue-proc"], described(desiredCount=4)),
        ]
        found = [
            scalable_target(cluster="blue", MaxCapacity=2),
            scalable_target(cluster="green", MaxCapacity=9),
        ]
        with services(calls, [targets(*found)], pool) as port:
            observed = port.read([one, other], plenty)
        assert [(capacity.desired, capacity.bounds) for capacity in observed.values()] == [
            (1, Bounds(min=0, max=2)),
            (4, Bounds(min=0, max=9)),
        ]

    def test_fifty_one_scalable_targets_are_two_calls(self, pool: ThreadPoolExecutor) -> None:
        names = [f"s{index:02}" for index in range(51)]
        calls = [describe("workers", names[at : at + 10]) for at in range(0, 51, 10)]
        ids = [f"service/workers/{name}" for name in names]
        with services(calls, [targets(resource_ids=ids[:50]), targets(resource_ids=ids[50:])], pool) as port:
            assert len(port.read([fleet(name) for name in names], plenty)) == 51

    def test_every_page_of_scalable_targets_is_read(self, pool: ThreadPoolExecutor) -> None:
        first = targets(scalable_target("one"), more={"NextToken": "more"})
        method, parameters, _ = targets()
        rest = (
            method,
            {**parameters, "NextToken": "more"},
            {"ScalableTargets": [scalable_target("other", MaxCapacity=2)]},
        )
        with services([describe("workers", ["one", "other"])], [first, rest], pool) as port:
            observed = port.read([fleet("one"), fleet("other")], plenty)[fleet("other")]
        assert isinstance(observed, Capacity)
        assert observed.bounds == Bounds(min=0, max=2)


class TestReading:
    def test_running_tasks_are_those_that_run_and_not_those_that_are_pending(
        self, pool: ThreadPoolExecutor
    ) -> None:
        assert read_one(described(), pool, scalable_target()) == Capacity(
            desired=3, running=2, bounds=Bounds(min=0, max=5)
        )

    def test_a_service_without_a_scalable_target_has_no_bounds_of_its_own(
        self, pool: ThreadPoolExecutor
    ) -> None:
        assert read_one(described(), pool) == Capacity(desired=3, running=2, bounds=None)

    @pytest.mark.parametrize(
        "deployments",
        [
            [COMPLETED | {"rolloutState": "IN_PROGRESS", "createdAt": BEGAN}],
            [
                COMPLETED | {"createdAt": BEGAN},
                {"id": "ecs-svc/0", "status": "ACTIVE", "createdAt": LONG_AGO},
            ],
        ],
    )
    def test_a_rolling_deployment_holds_scale_in_alone_since_the_newest_one_began(
        self, deployments: list[dict[str, Any]], pool: ThreadPoolExecutor
    ) -> None:
        observed = read_one(described(deployments=deployments), pool, scalable_target())
        assert isinstance(observed, Capacity)
        assert (observed.scale_out_blocked_by, observed.scale_in_blocked_by) == (
            (),
            ("a deployment is rolling",),
        )
        assert observed.deploying_since == BEGAN

    def test_a_deployment_without_a_rollout_state_does_not_hold(self, pool: ThreadPoolExecutor) -> None:
        """AWS leaves the state out behind a Classic Load Balancer."""
        deployments = [{"id": "ecs-svc/1", "status": "PRIMARY"}]
        observed = read_one(described(deployments=deployments), pool, scalable_target())
        assert isinstance(observed, Capacity)
        assert (observed.scale_in_blocked_by, observed.deploying_since) == ((), None)

    @pytest.mark.parametrize("controller", ["CODE_DEPLOY", "EXTERNAL"])
    @pytest.mark.parametrize(
        "task_sets",
        [
            [task_set("1", "PRIMARY"), task_set("2", "ACTIVE", createdAt=BEGAN)],
            [task_set("2", "PRIMARY", createdAt=BEGAN), task_set("1", "DRAINING")],
            [task_set("1", "PRIMARY", "STABILIZING", updatedAt=BEGAN)],
        ],
    )
    def test_task_sets_show_the_deployment_of_every_other_controller(
        self, controller: str, task_sets: list[dict[str, Any]], pool: ThreadPoolExecutor
    ) -> None:
        service = described(deployments=[], deploymentController={"type": controller}, taskSets=task_sets)
        observed = read_one(service, pool, scalable_target())
        assert isinstance(observed, Capacity)
        assert (observed.scale_out_blocked_by, observed.scale_in_blocked_by) == (
            (),
            ("a deployment is rolling",),
        )
        assert observed.deploying_since == BEGAN

    @pytest.mark.parametrize("task_sets", [[], [task_set("1", "PRIMARY")]])
    def test_at_most_one_steady_task_set_is_no_deployment(
        self, task_sets: list[dict[str, Any]], pool: ThreadPoolExecutor
    ) -> None:
        service = described(deployments=[], taskSets=task_sets)
        observed = read_one(service, pool, scalable_target())
        assert isinstance(observed, Capacity)
        assert (observed.scale_in_blocked_by, observed.deploying_since) == ((), None)

    def test_neither_deployments_nor_task_sets_is_unknown_and_holds_scale_in_alone(
        self, pool: ThreadPoolExecutor
    ) -> None:
        observed = read_one(described(deployments=[]), pool, scalable_target())
        assert isinstance(observed, Capacity)
        assert (observed.desired, observed.scale_out_blocked_by, observed.deploying_since) == (3, (), None)
        assert observed.scale_in_blocked_by == (
            "AWS shows neither deployments nor task sets, so one may be rolling",
        )

    def test_a_deployment_of_unknown_age_holds_without_an_age(self, pool: ThreadPoolExecutor) -> None:
        deployments = [{"id": "ecs-svc/1", "status": "PRIMARY", "rolloutState": "IN_PROGRESS"}]
        observed = read_one(described(deployments=deployments), pool, scalable_target())
        assert isinstance(observed, Capacity)
        assert (observed.scale_in_blocked_by, observed.deploying_since) == (
            ("a deployment is rolling",),
            None,
        )

    def test_the_beginning_of_a_deployment_is_logged_in_utc(self, pool: ThreadPoolExecutor) -> None:
        local = BEGAN.astimezone(timezone(timedelta(hours=9)))
        deployments = [COMPLETED | {"rolloutState": "IN_PROGRESS", "createdAt": local}]
        observed = read_one(described(deployments=deployments), pool, scalable_target())
        assert isinstance(observed, Capacity)
        assert f"{observed.deploying_since:%H:%M}" == "10:40"

    def test_suspended_scaling_holds_its_direction(self, pool: ThreadPoolExecutor) -> None:
        state = {
            "DynamicScalingInSuspended": True,
            "DynamicScalingOutSuspended": True,
            "ScheduledScalingSuspended": False,
        }
        observed = read_one(described(), pool, scalable_target(SuspendedState=state))
        assert isinstance(observed, Capacity)
        assert observed.scale_out_blocked_by == ("DynamicScalingOut is suspended",)
        assert observed.scale_in_blocked_by == ("DynamicScalingIn is suspended",)

    def test_suspended_scheduled_scaling_holds_nothing(self, pool: ThreadPoolExecutor) -> None:
        observed = read_one(
            described(), pool, scalable_target(SuspendedState={"ScheduledScalingSuspended": True})
        )
        assert isinstance(observed, Capacity)
        assert (observed.scale_out_blocked_by, observed.scale_in_blocked_by) == ((), ())

    @pytest.mark.parametrize("status", ["DRAINING", "INACTIVE"])
    def test_a_service_being_deleted_is_unknown(self, status: str, pool: ThreadPoolExecutor) -> None:
        observed = read_one(described(status=status), pool, scalable_target())
        assert isinstance(observed, Unknown)
        assert "no active ECS service workers/queue-proc" in observed.reason


class TestFailures:
    def test_a_deleted_cluster_does_not_affect_other_clusters_services(
        self, pool: ThreadPoolExecutor
    ) -> None:
        missing, active = fleet("a", "gone"), fleet("b", "there")
        request = {"cluster": "gone", "services": ["a"]}
        calls = [
            ("describe_services", request, refusal("ClusterNotFoundException", "Cluster not found.")),
            describe("there", ["b"]),
        ]
        with services(calls, [targets()], pool) as port:
            observed = port.read([missing, active], plenty)
        assert observed[missing] == Unknown(
            reason="DescribeServices of 1 services in cluster gone: "
            "AWS answered ClusterNotFoundException: Cluster not found."
        )
        assert isinstance(observed[active], Capacity)

    def test_unread_scalable_targets_are_unknown_and_not_absent_bounds(
        self, pool: ThreadPoolExecutor
    ) -> None:
        method, parameters, _ = targets()
        throttled = (method, parameters, refusal("ThrottlingException", "slow down"))
        with services([describe("workers", ["queue-proc"])], [throttled], pool) as port:
            observed = port.read([SERVICE], plenty)[SERVICE]
        assert isinstance(observed, Unknown)
        assert "ThrottlingException" in observed.reason

    @pytest.mark.parametrize(
        "absent", ["desiredCount", "runningCount", "deployments", "status", "serviceName"]
    )
    def test_a_service_described_without_a_field_is_unknown(
        self, absent: str, pool: ThreadPoolExecutor
    ) -> None:
        service = {key: value for key, value in described().items() if key != absent}
        with (
            unchecked("ecs", DescribeServices={"services": [service]}) as ecs,
            stubbed("application-autoscaling", targets()) as scaling,
        ):
            observed = EcsServices(lambda: ecs, lambda: scaling, pool).read([SERVICE], plenty)[SERVICE]
        assert isinstance(observed, Unknown)
        assert "AWS's answer cannot be read" in observed.reason

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("ServiceNotFoundException", ConfigError),
            ("AccessDeniedException", ConfigError),
            ("ThrottlingException", TransientError),
        ],
    )
    def test_a_refused_count_raises_and_names_the_service_and_the_count(
        self, code: str, kind: type[Exception], pool: ThreadPoolExecutor
    ) -> None:
        request = {"cluster": "workers", "service": "queue-proc", "desiredCount": 2}
        with (
            services([("update_service", request, refusal(code, "no"))], [], pool) as port,
            pytest.raises(kind, match=rf"UpdateService of ECS service workers/queue-proc to 2: .*{code}: no"),
        ):
            port.set_desired(SERVICE, 2)


def test_setting_sends_the_desired_count_alone_so_that_no_deployment_starts(pool: ThreadPoolExecutor) -> None:
    request = {"cluster": "workers", "service": "queue-proc", "desiredCount": 2}
    with services([("update_service", request, {})], [], pool) as port:
        port.set_desired(SERVICE, 2)


def test_each_client_is_asked_for_in_the_callers_thread_as_making_one_is_not_thread_safe(
    pool: ThreadPoolExecutor,
) -> None:
    threads: list[threading.Thread] = []

    def recording(client: Any) -> Any:
        threads.append(threading.current_thread())
        return client

    calls = [describe("a", ["s"]), describe("b", ["s"])]
    with stubbed("ecs", *calls) as ecs, stubbed("application-autoscaling", targets()) as scaling:
        port = EcsServices(lambda: recording(ecs), lambda: recording(scaling), pool)
        port.read([fleet("s", "a"), fleet("s", "b")], plenty)
    assert set(threads) == {threading.current_thread()}


@pytest.mark.usefixtures("in_account")
def test_a_suspended_scalable_target_in_the_account_reads_as_held(pool: ThreadPoolExecutor) -> None:
    service = account.create_service("queue-proc", desired=2)
    scaling = account.client("application-autoscaling")
    scaling.register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId="service/workers/queue-proc",
        ScalableDimension="ecs:service:DesiredCount",
        SuspendedState={"DynamicScalingInSuspended": True},
    )
    ecs = account.client("ecs")
    observed = EcsServices(lambda: ecs, lambda: scaling, pool).read([service], plenty)[service]
    assert isinstance(observed, Capacity)
    assert observed.scale_in_blocked_by == ("DynamicScalingIn is suspended",)


@pytest.mark.usefixtures("in_account")
@pytest.mark.parametrize("controller", ["CODE_DEPLOY", "EXTERNAL"])
def test_two_task_sets_in_the_account_read_as_a_deployment(pool: ThreadPoolExecutor, controller: str) -> None:
    """Through the parser, which skips every field that is not declared as read."""
    service = account.create_service("queue-proc", desired=2, controller=controller)
    ecs, scaling = account.client("ecs"), account.client("application-autoscaling")
    for _ in range(2):
        ecs.create_task_set(cluster="workers", service="queue-proc", taskDefinition="queue-proc")
    observed = EcsServices(lambda: ecs, lambda: scaling, pool).read([service], plenty)[service]
    assert isinstance(observed, Capacity)
    assert observed.scale_in_blocked_by == ("a deployment is rolling",)
    assert observed.deploying_since is not None
