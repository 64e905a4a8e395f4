"""The real worker with the deployed control plane and roles: sent messages become a target.

One run for the whole module: the workers of both fleets, installed from the wheel, process the messages that
the deployed functions send. It changes a workload's stack, so the next module gets a new deployment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import Any

import boto3
import pytest

from sluice_sim.account import REGION, arn
from sluice_sim.aws_rules.iam_policies import parse
from tests.deploy.account import (
    CLUSTER,
    DIMENSIONS,
    GROUP,
    SERVICE,
    Point,
)
from tests.deploy.authorization import AuthorizationResult
from tests.deploy.cloudformation.calls import Aws
from tests.deploy.deployment import (
    CONCURRENCY,
    WORKERS,
)
from tests.deploy.server import Server
from tests.deploy.shared_deployment import SharedDeployment
from tests.deploy.workers import (
    DeployedWorker,
    built,
    in_a_task,
    installed,
    on_an_instance,
)
from tests.support.aws_environment import (
    Agent,
    agent,
    metadata,
)
from tests.templates.running_worker import RunningWorker, started

LATENCY_S = 1.2
SHORT_MESSAGE_S, LONG_MESSAGE_S = 0.2, 12.0
"""The long message outlasts the time in which its worker learns that the instance is terminating."""
MESSAGES = 45
"""More samples than a retune needs."""
TARGET_BEFORE = 10
LIMIT_S = 120
MINUTE = timedelta(minutes=1)
TASK_ID = "1f2e3d4c5b6a79880f1e2d3c4b5a6978"
NOT_USED_BY_THE_WORKER = {
    "s3:GetObject": "the instance's first start installs the wheel with it, before there is a worker",
    "autoscaling:SuspendProcesses": "an instance that cannot install its worker ends the group's launches",
    "ecs:GetTaskProtection": "the agent answers with it whoever asks what holds; AWS wants it granted with "
    "the other",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What the run left behind."""

    task: DeployedWorker
    instance: DeployedWorker
    statuses: dict[str, int]
    reports: dict[str, dict[str, Any]]
    agent: Agent
    durations: list[Point]
    target: float
    authorizations: list[AuthorizationResult]
    left: dict[str, int]
    protected: dict[str, bool]


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until it holds."""
    ends_at = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < ends_at, f"not true after {LIMIT_S} s: {what}"
        time.sleep(0.1)


def waiting(aws: Aws, queue: str) -> int:
    """The number of messages of a queue, hidden or not."""
    url = aws("sqs", "GetQueueUrl", QueueName=queue)["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = aws("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(count) for count in counts.values())


def protected(aws: Aws) -> dict[str, bool]:
    """Instance of the group -> whether it is protected from scale-in."""
    found = aws("autoscaling", "DescribeAutoScalingGroups", AutoScalingGroupNames=[GROUP])
    instances = found["AutoScalingGroups"][0]["Instances"]
    return {instance["InstanceId"]: instance["ProtectedFromScaleIn"] for instance in instances}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worker as it is installed on an instance."""
    folder = tmp_path_factory.mktemp("worker")
    wheel = built(folder / "dist")
    assert WORKERS["fleet-asg.yaml"]["WorkerWheel"].endswith(f"/{wheel.name}")
    return installed(wheel, folder / "venv")


@pytest.fixture(scope="module")
def run_result(
    shared_deployment: SharedDeployment,
    server: Server,
    runtime: Path,
    environment: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunResult]:
    folder = tmp_path_factory.mktemp("run")
    deployed = shared_deployment.current()
    deployed.account.reset()
    deployed.account.set_desired(GROUP, 1)
    shared_deployment.outdated = True
    deployed.deployment.deploy_workload(
        "e2e-queue-proc", AcceptableLatencySeconds=str(LATENCY_S), ConcurrencyPerInstance=str(CONCURRENCY)
    )
    assert deployed.account.service_policy()["TargetValue"] == TARGET_BEFORE
    task, instance = in_a_task(deployed.deployment), on_an_instance(deployed.deployment)
    server.gate.authorizations.clear()
    with ExitStack() as contexts:

        def function(logical_id: str) -> Any:
            return contexts.enter_context(deployed.running(logical_id, runtime, folder / f"{logical_id}.log"))

        def worker(one: DeployedWorker, name: str, **more: str) -> RunningWorker:
            variables = {**one.variables, **one.credentials, **more}
            return contexts.enter_context(
                started(
                    variables,
                    server.endpoint,
                    folder / f"{name}.log",
                    python=environment / "bin" / "python",
                    folder=environment / "share" / "sluice",
                )
            )

        for queue in (SERVICE, GROUP):
            deployed.account.send(queue, 1)  # not a test message: it fails and returns to the queue
        send = function("SendTestMessagesFunction")
        for workload, messages, duration_s in (
            (SERVICE, MESSAGES, SHORT_MESSAGE_S),
            (GROUP, 1, LONG_MESSAGE_S),
        ):
            event = {"workload": workload, "messages": messages, "duration_s": duration_s}
            assert send.invoke(event) is None
        (instance_id,) = protected(server.aws)
        task_agent = contexts.enter_context(agent(asking_ecs(server.endpoint, task)))
        instance_metadata = contexts.enter_context(metadata(instance_id=instance_id))
        instance_metadata.items["autoscaling/target-lifecycle-state"] = "InService"
        at_work = {
            "task": worker(task, "task", ECS_AGENT_URI=task_agent.endpoint),
            "instance": worker(
                instance,
                "instance",
                AWS_EC2_METADATA_DISABLED="false",
                AWS_EC2_METADATA_SERVICE_ENDPOINT=instance_metadata.endpoint,
            ),
        }
        until(lambda: protected(server.aws)[instance_id], "the instance is protected while it works")
        instance_metadata.items["autoscaling/target-lifecycle-state"] = "Terminated"
        until(lambda: waiting(server.aws, SERVICE) == 1, "the task has worked off its queue")
        statuses = {"task": at_work["task"].drain(), "instance": at_work["instance"].ended()}
        durations = deployed.account.samples("MsgProcessingDuration")
        # A retune reads whole minutes that have ended.
        whole = max(point.at for point in durations).replace(second=0, microsecond=0) + MINUTE
        until(lambda: datetime.now(UTC) > whole, "the minute of the last message is over")
        assert function("RetuneTargetFunction").invoke({}) is None
        yield RunResult(
            task=task,
            instance=instance,
            statuses=statuses,
            reports={name: one.last_report() for name, one in at_work.items()},
            agent=task_agent,
            durations=durations,
            target=deployed.account.service_policy()["TargetValue"],
            authorizations=list(server.gate.authorizations),
            left={queue: waiting(server.aws, queue) for queue in (SERVICE, GROUP)},
            protected=protected(server.aws),
        )


def asking_ecs(endpoint: str, task: DeployedWorker) -> Callable[[dict[str, Any]], object]:
    """The agent's action for a state: it calls ECS with the task's role."""
    session = boto3.Session(
        task.credentials["AWS_ACCESS_KEY_ID"],
        task.credentials["AWS_SECRET_ACCESS_KEY"],
        task.credentials["AWS_SESSION_TOKEN"],
        region_name=REGION,
    )

    def ask(state: dict[str, Any]) -> None:
        with closing(session.client("ecs", endpoint_url=endpoint)) as ecs:
            ecs.update_task_protection(
                cluster=CLUSTER,
                tasks=[arn("ecs", f"task/{CLUSTER}/{TASK_ID}")],
                protectionEnabled=state["ProtectionEnabled"],
            )

    return ask


def granted(aws: Aws, role: str) -> set[str]:
    """Every action that the role's policies name."""
    names = aws("iam", "ListRolePolicies", RoleName=role)["PolicyNames"]
    documents = [
        aws("iam", "GetRolePolicy", RoleName=role, PolicyName=name)["PolicyDocument"] for name in names
    ]
    return {action for document in documents for statement in parse(document) for action in statement.actions}


def test_every_message_that_the_plane_sent_is_worked_on_and_deleted(run_result: RunResult) -> None:
    assert {name: report["messagesProcessed"] for name, report in run_result.reports.items()} == {
        "task": MESSAGES,
        "instance": 1,
    }
    assert run_result.left == {SERVICE: 1, GROUP: 1}  # those that are not test messages


def test_both_workers_end_in_order_the_task_by_sigterm_the_instance_by_its_lifecycle(
    run_result: RunResult,
) -> None:
    assert run_result.statuses == {"task": 0, "instance": 0}


def test_the_policy_holds_latency_x_concurrency_over_the_seconds_that_the_worker_published(
    run_result: RunResult,
) -> None:
    """The target is computed only from the durations that the worker published."""
    took_s = [point.value for point in run_result.durations if point.dimensions == DIMENSIONS[SERVICE]]
    assert len(took_s) == MESSAGES
    assert min(took_s) >= SHORT_MESSAGE_S
    assert run_result.target == pytest.approx(LATENCY_S * CONCURRENCY / mean(took_s), rel=1e-6)
    assert run_result.target != TARGET_BEFORE


def test_each_worker_publishes_for_its_own_fleet_and_again_with_the_outcome(run_result: RunResult) -> None:
    actual = {frozenset(point.dimensions.items()) for point in run_result.durations}
    assert actual == {
        frozenset({**own, **outcome}.items())
        for own in DIMENSIONS.values()
        for outcome in ({}, {"Outcome": "success"}, {"Outcome": "failure"})
    }


def test_task_and_instance_are_protected_while_they_work_and_no_longer(run_result: RunResult) -> None:
    assert [state["ProtectionEnabled"] for state in run_result.agent.calls.recorded] == [True, False]
    assert list(run_result.protected.values()) == [False]


@pytest.mark.parametrize("place", ["task", "instance"])
def test_a_workers_role_allows_all_that_it_asks_for_and_nothing_that_it_does_not(
    place: str, run_result: RunResult, server: Server
) -> None:
    worker: DeployedWorker = getattr(run_result, place)
    own = [authorization for authorization in run_result.authorizations if authorization.role == worker.role]
    assert [authorization.request for authorization in own if not authorization.allowed] == []
    requested = {authorization.request.action for authorization in own}
    assert granted(server.aws, worker.role) - requested <= set(NOT_USED_BY_THE_WORKER)
    assert not requested & set(NOT_USED_BY_THE_WORKER)
