"""The real worker with the deployed control plane and roles: sent messages become a target.

One play for the whole module: both fleets' workers, installed from the wheel, at the work that the deployed
functions send them. It changes a workload's stack, so that others after it get a new deployment.
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
from tests.deploy.account import (
    CLUSTER,
    DIMENSIONS,
    GROUP,
    SERVICE,
    Point,
)
from tests.deploy.authorization import Judgement
from tests.deploy.cloudformation.calls import Aws
from tests.deploy.deployment import (
    CONCURRENCY,
    FLEETS,
)
from tests.deploy.server import Server
from tests.deploy.standing import Standing
from tests.deploy.workers import (
    GROUP_STACK,
    DeployedWorker,
    built,
    in_a_task,
    installed,
    on_an_instance,
)
from tests.privileges.policies import parse
from tests.support.aws_environment import (
    Agent,
    agent,
    metadata,
)
from tests.templates.running_worker import RunningWorker, started

LATENCY_S = 1.2
SHORT_S, LONG_S = 0.2, 12.0
"""The long message outlasts the time within which its worker hears that the instance is to go."""
MESSAGES = 45
"""More than a retune asks for."""
TARGET_BEFORE = 10
LIMIT_S = 120
MINUTE = timedelta(minutes=1)
TASK_ID = "1f2e3d4c5b6a79880f1e2d3c4b5a6978"
NOT_BY_THE_WORKER = {
    "s3:GetObject": "the instance's first start installs the wheel with it, before there is a worker",
    "autoscaling:SuspendProcesses": "an instance that cannot install its worker ends the group's launches",
    "autoscaling:TerminateInstanceInAutoScalingGroup": "and then itself, before there is a worker",
    "ecs:GetTaskProtection": "the agent answers with it whoever asks what holds; AWS wants it granted with "
    "the other",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What the play left behind."""

    task: DeployedWorker
    instance: DeployedWorker
    statuses: dict[str, int]
    reports: dict[str, dict[str, Any]]
    agent: Agent
    durations: list[Point]
    target: float
    judgements: list[Judgement]
    left: dict[str, int]
    protected: dict[str, bool]


def until(holds: Callable[[], bool], what: str) -> None:
    """Return once it holds."""
    ends_at = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < ends_at, f"after {LIMIT_S} s still not so: {what}"
        time.sleep(0.1)


def waiting(aws: Aws, queue: str) -> int:
    """Messages of a queue, hidden or not."""
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
    """The worker as an instance has it."""
    folder = tmp_path_factory.mktemp("worker")
    wheel = built(folder / "dist")
    assert FLEETS[GROUP_STACK][1]["WorkerWheel"].endswith(f"/{wheel.name}")
    return installed(wheel, folder / "venv")


@pytest.fixture(scope="module")
def played(
    shared: Standing,
    server: Server,
    runtime: Path,
    environment: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("play")
    standing = shared.current()
    standing.account.calm()
    standing.account.size(GROUP, 1)
    shared.outdated = True
    standing.deployment.deploy_workload(
        "e2e-queue-proc", AcceptableLatencySeconds=str(LATENCY_S), ConcurrencyPerInstance=str(CONCURRENCY)
    )
    assert standing.account.service_policy()["TargetValue"] == TARGET_BEFORE
    task, instance = in_a_task(standing.deployment), on_an_instance(standing.deployment)
    server.gate.judgements.clear()
    with ExitStack() as held:

        def function(logical_id: str) -> Any:
            return held.enter_context(standing.running(logical_id, runtime, folder / f"{logical_id}.log"))

        def worker(one: DeployedWorker, name: str, **beside: str) -> RunningWorker:
            variables = {**one.variables, **one.credentials, **beside}
            return held.enter_context(
                started(
                    variables,
                    server.endpoint,
                    folder / f"{name}.log",
                    python=environment / "bin" / "python",
                    folder=environment / "share" / "sluice",
                )
            )

        for queue in (SERVICE, GROUP):
            standing.account.send(queue, 1)  # no test message: it goes back and comes again
        send = function("SendTestMessagesFunction")
        for workload, messages, duration_s in ((SERVICE, MESSAGES, SHORT_S), (GROUP, 1, LONG_S)):
            event = {"workload": workload, "messages": messages, "duration_s": duration_s}
            assert send.invoke(event) is None
        (instance_id,) = protected(server.aws)
        beside_task = held.enter_context(agent(asking_ecs(server.endpoint, task)))
        beside_instance = held.enter_context(metadata(instance_id=instance_id))
        at_work = {
            "task": worker(task, "task", ECS_AGENT_URI=beside_task.endpoint),
            "instance": worker(
                instance,
                "instance",
                AWS_EC2_METADATA_DISABLED="false",
                AWS_EC2_METADATA_SERVICE_ENDPOINT=beside_instance.endpoint,
            ),
        }
        until(lambda: protected(server.aws)[instance_id], "the instance is protected while it works")
        beside_instance.items["autoscaling/target-lifecycle-state"] = "Terminated"
        until(lambda: waiting(server.aws, SERVICE) == 1, "the task has worked off its queue")
        statuses = {"task": at_work["task"].drain(), "instance": at_work["instance"].ended()}
        durations = standing.account.samples("MsgProcessingDuration")
        # A retune looks at whole minutes that are over.
        whole = max(point.at for point in durations).replace(second=0, microsecond=0) + MINUTE
        until(lambda: datetime.now(UTC) > whole, "the minute of the last message is over")
        assert function("RetuneTargetFunction").invoke({}) is None
        yield Played(
            task=task,
            instance=instance,
            statuses=statuses,
            reports={name: one.last_report() for name, one in at_work.items()},
            agent=beside_task,
            durations=durations,
            target=standing.account.service_policy()["TargetValue"],
            judgements=list(server.gate.judgements),
            left={queue: waiting(server.aws, queue) for queue in (SERVICE, GROUP)},
            protected=protected(server.aws),
        )


def asking_ecs(endpoint: str, task: DeployedWorker) -> Callable[[dict[str, Any]], object]:
    """What the agent does with a state: it asks ECS, in the task's name."""
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


def test_every_message_that_the_plane_sent_is_worked_on_and_deleted(played: Played) -> None:
    assert {name: report["messagesProcessed"] for name, report in played.reports.items()} == {
        "task": MESSAGES,
        "instance": 1,
    }
    assert played.left == {SERVICE: 1, GROUP: 1}  # what was no test message


def test_both_workers_end_in_order_the_task_by_sigterm_the_instance_by_its_lifecycle(played: Played) -> None:
    assert played.statuses == {"task": 0, "instance": 0}


def test_the_policy_holds_latency_x_concurrency_over_the_seconds_that_the_worker_published(
    played: Played,
) -> None:
    """ecsTargetBPI out of the account: nobody but the worker put a duration there."""
    took_s = [point.value for point in played.durations if point.dimensions == DIMENSIONS[SERVICE]]
    assert len(took_s) == MESSAGES
    assert min(took_s) >= SHORT_S
    assert played.target == pytest.approx(LATENCY_S * CONCURRENCY / mean(took_s), rel=1e-6)
    assert played.target != TARGET_BEFORE


def test_each_worker_publishes_for_its_own_fleet_and_again_with_the_outcome(played: Played) -> None:
    seen = {frozenset(point.dimensions.items()) for point in played.durations}
    assert seen == {
        frozenset({**own, **outcome}.items())
        for own in DIMENSIONS.values()
        for outcome in ({}, {"Outcome": "success"}, {"Outcome": "failure"})
    }


def test_task_and_instance_are_protected_while_they_work_and_no_longer(played: Played) -> None:
    assert [state["ProtectionEnabled"] for state in played.agent.calls.recorded] == [True, False]
    assert list(played.protected.values()) == [False]


@pytest.mark.parametrize("place", ["task", "instance"])
def test_a_workers_role_allows_all_that_it_asks_for_and_nothing_that_it_does_not(
    place: str, played: Played, server: Server
) -> None:
    worker: DeployedWorker = getattr(played, place)
    own = [judgement for judgement in played.judgements if judgement.role == worker.role]
    assert [judgement.request for judgement in own if not judgement.allowed] == []
    asked = {judgement.request.action for judgement in own}
    assert granted(server.aws, worker.role) - asked <= set(NOT_BY_THE_WORKER)
    assert not asked & set(NOT_BY_THE_WORKER)
