"""examples/processes, running: supervisord and honcho start workers, and end them without a message lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import pytest

from sluice_sim.account import ENVIRONMENT
from tests.deploy.processes import running
from tests.examples import supervisors
from tests.support.aws_environment import EmbeddedAws, embedded_aws
from tests.templates.stacks import REGION
from tests.worker.waiting import eventually

pytestmark = pytest.mark.processes

BIN = Path(sys.executable).parent
MESSAGES = 12
LIMIT_S = 60


class Queue:
    """The queue of the example, at the embedded AWS."""

    def __init__(self, aws: EmbeddedAws) -> None:
        self.sqs = boto3.client("sqs", endpoint_url=aws.endpoint, region_name=REGION)
        self.url: str = self.sqs.create_queue(QueueName="transcription")["QueueUrl"]

    def send(self, *durations_s: float) -> None:
        for duration_s in durations_s:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=f'{{"duration_s": {duration_s}}}')

    def counts(self) -> tuple[int, int]:
        """Messages that are visible, and in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(counts[names[0]]), int(counts[names[1]])


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws() as aws:
        yield aws


@pytest.fixture
def queue(aws: EmbeddedAws) -> Iterator[Queue]:
    queue = Queue(aws)
    yield queue
    queue.sqs.delete_queue(QueueUrl=queue.url)  # with the long messages
    queue.sqs.close()


@pytest.fixture
def told(aws: EmbeddedAws, queue: Queue) -> Mapping[str, str]:
    """worker.env, with the queue and the endpoint of this machine."""
    return {
        **ENVIRONMENT,
        **supervisors.variables(),
        "AWS_ENDPOINT_URL": aws.endpoint,
        "SLUICE_WORKER_QUEUE": queue.url,
        "SLUICE_WORKER_REPORT_S": "1",
        "PYTHONPATH": os.pathsep.join(
            str(supervisors.ROOT / path) for path in ("layers/sluice", "", "examples")
        ),
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }


def ended(process: subprocess.Popen[bytes], log: Path) -> int:
    try:
        return process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it did not end:\n{log.read_text()}") from None


def drains(queue: Queue, process: subprocess.Popen[bytes], log: Path) -> None:
    """Two workers take all messages, then two long ones; SIGTERM ends them, and nothing is lost or hidden."""
    eventually(lambda: queue.counts() == (0, 0), f"all messages are processed:\n{log.read_text()}")
    queue.send(600, 600)
    eventually(lambda: queue.counts() == (0, 2), "both workers have a long one")
    process.send_signal(signal.SIGTERM)
    ended(process, log)
    eventually(lambda: queue.counts() == (2, 0), f"both are released:\n{log.read_text()}")
    assert log.read_text().count("draining within") == 2


def test_supervisord_runs_two_workers_and_drains_them(
    queue: Queue, told: Mapping[str, str], tmp_path: Path
) -> None:
    """With a grace that a test can wait for."""
    text = (supervisors.FOLDER / "supervisord.conf").read_text()
    here = {
        "/opt/worker/bin/python": sys.executable,
        "/opt/worker/share/sluice": str(supervisors.ROOT / "examples"),
        "/tmp/supervisord.pid": str(tmp_path / "pid"),
    }
    for on_an_instance, on_this_machine in here.items():
        assert on_an_instance in text
        text = text.replace(on_an_instance, on_this_machine)
    configuration = tmp_path / "supervisord.conf"
    configuration.write_text(text)
    queue.send(*[0.1] * MESSAGES)
    log = tmp_path / "log"
    command = [BIN / "supervisord", "-c", configuration]
    environment = {**told, "SLUICE_WORKER_GRACE_S": "3"}
    with running(command, cwd=tmp_path, environment=environment, log=log) as process:
        drains(queue, process, log)


def test_honcho_runs_two_workers_and_drains_them(
    queue: Queue, told: Mapping[str, str], tmp_path: Path
) -> None:
    variables = tmp_path / "worker.env"
    variables.write_text("".join(f"{name}={value}\n" for name, value in told.items()))
    queue.send(*[0.1] * MESSAGES)
    log = tmp_path / "log"
    procfile = supervisors.FOLDER / "Procfile"
    command = [BIN / "honcho", "-f", procfile, "-e", variables, "start", "--concurrency", "worker=2"]
    with running(command, cwd=tmp_path, environment={"PATH": told["PATH"]}, log=log) as process:
        drains(queue, process, log)
