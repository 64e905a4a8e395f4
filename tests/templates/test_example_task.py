"""The real worker with the variables of examples/fleet-ecs.yaml: three tasks, each stopped at its time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import boto3
import pytest

from tests.support.aws_environment import (
    Agent,
    EmbeddedAws,
    agent,
    embedded_aws,
)
from tests.templates import fleet_workers
from tests.templates.running_worker import RunningWorker, started
from tests.templates.stacks import DIMENSIONS, REGION

NO_TEST_MESSAGES = ("not a test message", "{}", '{"duration_s": "soon"}', '{"duration_s": -1}')
WORKED_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task, and what it left behind when it ended."""

    worker: RunningWorker
    aws: EmbeddedAws
    agent: Agent
    queue_url: str

    def in_batches(self, operation: str) -> list[dict]:
        """Every entry of the task's batches of an operation."""
        return [entry for request in self.aws.of(operation, self.queue_url) for entry in request["Entries"]]

    def left(self) -> tuple[int, int]:
        """Messages that wait in its queue, and those hidden."""
        sqs = boto3.client("sqs", endpoint_url=self.aws.endpoint, region_name=REGION)
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        sqs.close()
        return int(counts[names[0]]), int(counts[names[1]])


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Task]]:
    """Three tasks at work side by side; what a task waits for by the clock is cut short."""
    folder = tmp_path_factory.mktemp("tasks")
    with ExitStack() as contexts:
        aws = contexts.enter_context(embedded_aws())

        def task(name: str, grace_s: str, bodies: list[str]) -> Task:
            variables = fleet_workers.variables("ecs", FleetName=name)
            sqs = boto3.client("sqs", endpoint_url=aws.endpoint, region_name=REGION)
            url = variables["SLUICE_WORKER_QUEUE"]
            sqs.create_queue(QueueName=url.rsplit("/", 1)[-1])
            for body in bodies:
                sqs.send_message(QueueUrl=url, MessageBody=body)
            sqs.close()
            ecs_agent = contexts.enter_context(agent())
            variables |= {"ECS_AGENT_URI": ecs_agent.endpoint, "SLUICE_WORKER_GRACE_S": grace_s}
            worker = contexts.enter_context(started(variables, aws.endpoint, folder / f"{name}.log"))
            return Task(worker=worker, aws=aws, agent=ecs_agent, queue_url=url)

        works = [json.dumps({"duration_s": WORKED_S})] * 3
        all_three = {
            "idle": task("idle", "2", [*works, *NO_TEST_MESSAGES]),
            "busy": task("busy", "30", ['{"duration_s": 2}'] * 2),
            "too late": task("too-late", "1", ['{"duration_s": 600}']),
        }
        for name in ("busy", "too late"):
            waiting = all_three[name]
            waiting.agent.calls.wait_for(lambda waiting=waiting: bool(waiting.agent.calls.recorded))
            assert waiting.worker.drain() == 0, waiting.worker.log.read_text()
        idle = all_three["idle"]
        aws.calls.wait_for(
            lambda: (
                len(idle.in_batches("DeleteMessageBatch")) == len(works)
                and len(idle.in_batches("ChangeMessageVisibilityBatch")) == len(NO_TEST_MESSAGES)
            )
        )
        assert idle.worker.drain() == 0, idle.worker.log.read_text()
        yield all_three


def test_a_task_processes_deletes_reports_and_stops_on_request(tasks: dict[str, Task]) -> None:
    task = tasks["idle"]
    assert len(task.in_batches("DeleteMessageBatch")) == 3
    assert task.worker.last_report()["messagesProcessed"] == 3
    assert task.worker.process.returncode == 0


def test_a_task_reports_its_seconds_under_exactly_the_services_dimensions(tasks: dict[str, Task]) -> None:
    own = {**DIMENSIONS["ecs"], "ServiceName": "idle"}
    published = [
        (request["Namespace"], datum)
        for request in tasks["idle"].aws.of("PutMetricData")
        for datum in request["MetricData"]
        if {pair["Name"]: pair["Value"] for pair in datum["Dimensions"]} == own
    ]
    assert {(namespace, datum["MetricName"], datum["Unit"]) for namespace, datum in published} == {
        ("Sluice", "MsgProcessingDuration", "Seconds")
    }
    took_s = [
        float(value)
        for _, datum in published
        for value, count in zip(datum["Values"], datum["Counts"], strict=True)
        for _ in range(int(float(count)))
    ]
    assert len(took_s) == 3
    assert all(seconds >= WORKED_S for seconds in took_s)


def test_a_busy_task_requests_protection_once_and_releases_it_once(tasks: dict[str, Task]) -> None:
    for task in tasks.values():
        assert [state["ProtectionEnabled"] for state in task.agent.calls.recorded] == [True, False]


def test_protection_outlasts_the_visibility_timeout(tasks: dict[str, Task]) -> None:
    settings, _ = fleet_workers.understood(fleet_workers.variables("ecs"))
    for task in tasks.values():
        protected, _ = task.agent.calls.recorded
        assert protected["ExpiresInMinutes"] * 60 > settings.visibility_s


def test_a_stopping_task_finishes_its_message_and_receives_no_other(tasks: dict[str, Task]) -> None:
    task = tasks["busy"]
    assert len(task.in_batches("DeleteMessageBatch")) == 1
    assert task.left() == (1, 0)


def test_a_message_that_cannot_end_before_the_kill_goes_back_to_the_queue(tasks: dict[str, Task]) -> None:
    task = tasks["too late"]
    assert [entry["VisibilityTimeout"] for entry in task.in_batches("ChangeMessageVisibilityBatch")] == [0]
    assert task.in_batches("DeleteMessageBatch") == []
    assert task.left() == (1, 0)


def test_a_task_deletes_nothing_it_did_not_work_on(tasks: dict[str, Task]) -> None:
    task = tasks["idle"]
    hidden_s = [entry["VisibilityTimeout"] for entry in task.in_batches("ChangeMessageVisibilityBatch")]
    assert len(hidden_s) == len(NO_TEST_MESSAGES)
    assert all(seconds > 0 for seconds in hidden_s)  # SQS counts its receipts until the dead letters have it
    assert sum(task.left()) == len(NO_TEST_MESSAGES)
    assert task.worker.last_report()["messagesFailed"] == len(NO_TEST_MESSAGES)
