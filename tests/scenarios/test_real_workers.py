"""Runs with worker processes: `sluice demo --real-workers`, at a faster pace."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from moto.sqs.models import Message, SQSBackend

from sluice.core.model import AutoScalingGroup
from sluice_cli.main import main
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded import (
    handler,
    processes,
    real_processes,
)
from sluice_sim.embedded.cloud import START, EmbeddedAws, embedded_aws
from sluice_sim.embedded.processes import WorkerProcess, WorkerProcesses, WorkersFailedError
from sluice_sim.embedded.scenarios import PHOTO_IMPORT, TRANSCRIPTION
from sluice_sim.embedded.serialised_requests import (
    LONG_POLL_CHECK_S,
    serialise_requests,
)
from sluice_sim.embedded.server import http_endpoint
from sluice_sim.embedded.timeline import (
    Minute,
    ProcessSummary,
    Summary,
    Timeline,
)
from sluice_sim.embedded.wall_clock import (
    MAX_STEP_S,
    STEP_S,
    WallClock,
    now_s,
    sqs_on_wall_clock,
)
from sluice_sim.embedded.workers import Assignment
from sluice_worker.aws.metadata import InstanceMetadata

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
PACE = 120.0
"""A virtual minute takes half a second."""
BRIEF = replace(
    TRANSCRIPTION,
    bursts={0: 6},
    durations=((0, 30),),
    boot_s=30,
    quiet_minutes=0,
    max_minutes=240,
    parameters={"IdleMinutes": "1"},
)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(holds: Callable[[], bool]) -> None:
    """A limit of one minute, more than any machine needs."""
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, "it did not happen within a minute"
        time.sleep(0.02)


# ---- A whole run -------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of all worker processes that a run starts."""
    pids: list[int] = []
    start = WorkerProcesses.start

    def recorded(worker_processes: WorkerProcesses) -> WorkerProcess:
        worker = start(worker_processes)
        pids.append(worker.pid)
        return worker

    monkeypatch.setattr(WorkerProcesses, "start", recorded)
    return pids


def test_real_processes_process_a_workload_from_zero_and_back_to_zero(started: list[int]) -> None:
    timeline: Timeline
    (timeline,) = real_processes.run_scenarios(ROOT, [BRIEF], pace=PACE)
    summary = timeline.summary
    assert summary.ok, summary
    assert (summary.sent, summary.processed, summary.processed_twice, summary.left) == (6, 6, 0, 0)
    assert summary.decisions == {"bootstrap": 1, "shutdown": 1}
    assert summary.processes is not None
    assert summary.processes.started == len(started) == summary.peak_instances
    assert summary.processes.failed == 0
    # Every processing time reached CloudWatch, under the dimensions a retune would read.
    assert summary.processes.published == 6
    assert summary.processes.mean_s is not None
    assert summary.processes.mean_s >= 0.99 * 30 / PACE
    assert not [event for minute in timeline.minutes for event in minute.events if event.kind == "failure"]
    assert not any(map(alive, started))


def test_ticks_below_a_minute_come_on_the_virtual_clock_while_sqs_is_on_the_wall_clock() -> None:
    """The deadline engine sizes a fleet of processes: from zero, and back to zero between two minutes."""
    brief = replace(
        PHOTO_IMPORT,
        bursts={2: 12},
        durations=((0, 60),),
        boot_s=30,
        quiet_minutes=0,
        max_minutes=60,
        parameters={"ProcessingSeconds": "60", "BootSeconds": "30", "MaxCapacity": "4", "IdleMinutes": "5"},
    )
    timeline: Timeline
    (timeline,) = real_processes.run_scenarios(ROOT, [brief], pace=PACE)
    summary = timeline.summary
    assert summary.ok, summary
    assert (summary.sent, summary.processed, summary.processed_twice, summary.left) == (12, 12, 0, 0)
    assert summary.decisions.keys() == {"scale"}, "no minute's tick had to start or to stop it"
    assert summary.processes is not None
    assert summary.processes.failed == 0
    assert summary.peak_instances >= 2
    assert not [event for minute in timeline.minutes for event in minute.events if event.kind == "failure"]


def test_an_interrupted_run_leaves_no_process(started: list[int]) -> None:
    def interrupt(_: str, minute: Minute) -> None:
        if minute.running:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        real_processes.run_scenarios(ROOT, [BRIEF], pace=PACE, on_minute=interrupt)
    assert started
    assert not any(map(alive, started))


def test_workers_that_cannot_start_end_the_run_with_their_own_error(
    monkeypatch: pytest.MonkeyPatch, started: list[int]
) -> None:
    monkeypatch.setattr(handler.work, "__name__", "nobody")
    with pytest.raises(WorkersFailedError, match=r"ended by itself \(2\)\n(.*\n)*.*has no function nobody"):
        real_processes.run_scenarios(ROOT, [BRIEF], pace=PACE)
    assert not any(map(alive, started))


# ---- One process -------------------------------------------------------------------------------------------

SLEEPS = "import time; time.sleep(600)"
FAILS = (
    "import sys; print('first', 'second', 'third', 'the last word', sep='\\n', file=sys.stderr); sys.exit(3)"
)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[[str], WorkerProcess]]:
    running = []

    def start(program: str) -> WorkerProcess:
        log = tmp_path / f"{len(running)}.log"
        worker = WorkerProcess([sys.executable, "-c", program], dict(os.environ), ROOT, log)
        running.append(worker)
        return worker

    yield start
    for worker in running:
        worker.wait_or_kill(0)


def test_a_process_that_exits_by_itself_is_reported_once_with_the_end_of_its_log(
    process: Callable[[str], WorkerProcess],
) -> None:
    worker = process(FAILS)
    wait_until(lambda: not worker.alive)
    exit_report = worker.check_exit()
    assert exit_report is not None
    assert "ended by itself (3)" in exit_report
    assert exit_report.endswith("the last word")
    assert "first" not in exit_report
    assert worker.check_exit() is None


def test_a_drained_process_reports_its_exit(process: Callable[[str], WorkerProcess]) -> None:
    worker, ended = process(SLEEPS), []
    worker.drain(lambda: ended.append(True))
    assert not ended
    wait_until(lambda: not worker.alive)
    assert worker.check_exit() is None
    assert ended == [True]


def test_a_failed_drain_is_reported(process: Callable[[str], WorkerProcess]) -> None:
    worker, ended = process(FAILS), []
    wait_until(lambda: not worker.alive)
    worker.drain(lambda: ended.append(True))
    assert "ended by itself (3)" in (worker.check_exit() or "")
    assert ended == [True]


def test_a_worker_does_not_outlive_a_demo_that_was_killed(
    process: Callable[[str], WorkerProcess], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A killed process closes its children's standard input."""
    monkeypatch.setenv(handler.RECORD, str(tmp_path / "record"))
    worker = process(f"import sluice_sim.embedded.handler; {SLEEPS}")
    worker.close_stdin()
    wait_until(lambda: not worker.alive)


@pytest.fixture
def worker_processes(tmp_path: Path) -> Iterator[tuple[WorkerProcesses, EmbeddedAws, list[Any]]]:
    """Worker processes that fail at once, and what they report."""
    exit_report: list[Any] = []
    with embedded_aws(ROOT) as aws:
        aws.pace = PACE
        assignment = Assignment(
            scenario=BRIEF,
            queue_url=aws.create_queue("work", visibility_timeout_s=60),
            fleet=AutoScalingGroup(name="work"),
            namespace="Sluice",
            on_processed=lambda *message: exit_report.append(message),
            publishes_waits=False,
            on_failure=exit_report.append,
        )
        one = WorkerProcesses(aws, assignment, root=ROOT, endpoint="http://127.0.0.1:9", folder=tmp_path)
        yield one, aws, exit_report
        one.kill()


def test_a_worker_that_dies_while_others_work_is_reported_and_the_run_continues(
    worker_processes: tuple[WorkerProcesses, EmbeddedAws, list[Any]], tmp_path: Path
) -> None:
    one, aws, exit_report = worker_processes
    worker = one.start()
    worker.terminate()  # by somebody else than the fleet
    wait_until(lambda: not worker.alive)
    (tmp_path / "record").write_text(f"a-message {30 / PACE} {90 / PACE}\n", encoding="utf-8")
    aws.clock.run_until(aws.clock.now + 10)
    assert exit_report[0] == ("a-message", 30, 90)
    assert "was ended by SIGTERM" in exit_report[1]
    assert len(exit_report) == 2
    summary = one.stop()
    assert (summary.started, summary.failed) == (1, 1)


def test_all_durations_are_scaled_alike(
    worker_processes: tuple[WorkerProcesses, EmbeddedAws, list[Any]],
) -> None:
    one, _, _ = worker_processes
    for pace in (30.0, 60.0):
        words = processes.options(one.assignment, "http://127.0.0.1:9", pace)
        options = dict(zip(words[:-1:2], words[1::2], strict=False))
        assert float(options["--visibility-s"]) == 300 / pace
        assert float(options["--delete-linger-s"]) == 0.2 / pace
        assert options["--queue"] == "http://127.0.0.1:9/123456789012/work"


# ---- The wall clock ----------------------------------------------------------------------------------------


class FakeWallClock:
    """A wall clock that advances with each pause, and as a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def pause(self, seconds: float) -> None:
        self.now += seconds


def test_virtual_time_keeps_pace_with_the_wall_clock() -> None:
    clock, wall = VirtualClock(), FakeWallClock()
    driver = WallClock(clock, 29, now=lambda: wall.now, pause=wall.pause)
    for minute in range(1, 30):
        driver.run_until(minute * 60)
        assert clock.now == minute * 60
    assert 60 <= wall.now - 1000 <= 60 + 2 * STEP_S


def test_time_spent_in_handlers_is_caught_up() -> None:
    clock, wall = VirtualClock(), FakeWallClock()
    clock.at(30, lambda: wall.pause(0.5))
    WallClock(clock, 30, now=lambda: wall.now, pause=wall.pause).run_until(60)
    assert 2 <= wall.now - 1000 <= 2.1


def test_no_minute_is_skipped_after_the_machine_was_suspended() -> None:
    clock, wall = VirtualClock(), FakeWallClock()
    times: list[float] = []
    clock.every(30, lambda: times.append(wall.now))
    driver = WallClock(clock, 30, now=lambda: wall.now, pause=wall.pause)
    wall.now += 3600
    driver.run_until(300)
    assert wall.now - 1000 - 3600 >= 10 - MAX_STEP_S
    assert times == sorted(times)


# ---- SQS for several at once, on the wall clock ------------------------------------------------------------


@pytest.fixture
def receives(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queue name of each receive in moto."""
    names: list[str] = []
    receive = SQSBackend.receive_message

    def recorded(backend: SQSBackend, queue_name: str, *how: Any) -> list[Any]:
        names.append(queue_name)
        return receive(backend, queue_name, *how)

    monkeypatch.setattr(SQSBackend, "receive_message", recorded)
    return names


@pytest.fixture
def aws(receives: list[str]) -> Iterator[EmbeddedAws]:
    with embedded_aws(ROOT) as account, sqs_on_wall_clock(), serialise_requests(pace=40):
        yield account


def many(count: int, act: Callable[[], object]) -> None:
    """Run `act` in this many threads, and wait for all of them."""
    threads = [threading.Thread(target=act) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_concurrent_receives_return_each_message_once(
    aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = aws.create_queue("work", visibility_timeout_s=600)
    for number in range(8):
        aws.sqs.send_message(QueueUrl=url, MessageBody=str(number))
    visible = Message.visible.fget

    def slowly(message: Message) -> bool:
        """A check that lets another thread run before the receive."""
        is_visible: bool = visible(message)
        time.sleep(0.0005)
        return is_visible

    monkeypatch.setattr(Message, "visible", property(slowly))
    got: list[str] = []
    many(
        4,
        lambda: got.extend(
            message["Body"]
            for message in aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2).get("Messages", ())
        ),
    )
    assert sorted(got, key=int) == [str(number) for number in range(8)]


def test_a_long_poll_lets_other_requests_through_and_returns_what_they_send(receives: list[str]) -> None:
    with embedded_aws(ROOT) as aws, sqs_on_wall_clock(), serialise_requests():
        url = aws.create_queue("work", visibility_timeout_s=60)
        got: list[Any] = []
        poll = threading.Thread(
            target=lambda: got.append(aws.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))
        )
        poll.start()
        wait_until(lambda: bool(receives))
        aws.sqs.send_message(QueueUrl=url, MessageBody="here")
        poll.join()
    assert [message["Body"] for message in got[0]["Messages"]] == ["here"]


def test_a_long_poll_behind_a_busy_group_is_short_and_does_not_spin(
    aws: EmbeddedAws, receives: list[str]
) -> None:
    url = aws.create_queue("work.fifo", visibility_timeout_s=36_000)
    for number in "12":
        aws.sqs.send_message(
            QueueUrl=url, MessageBody=number, MessageGroupId="one", MessageDeduplicationId=number
        )
    assert len(aws.sqs.receive_message(QueueUrl=url)["Messages"]) == 1
    receives.clear()
    assert not aws.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages")
    assert 1 < len(receives) <= 20 / 40 / LONG_POLL_CHECK_S + 2


def test_sqs_uses_wall_time_while_virtual_time_stands_still(aws: EmbeddedAws) -> None:
    url = aws.create_queue("work", visibility_timeout_s=60)
    aws.sqs.send_message(QueueUrl=url, MessageBody="here")
    how = {"QueueUrl": url, "VisibilityTimeout": 1, "MessageSystemAttributeNames": ["SentTimestamp"]}
    (message,) = aws.sqs.receive_message(**how)["Messages"]
    assert abs(int(message["Attributes"]["SentTimestamp"]) / 1000 - now_s()) < 3600
    assert time.time() == START.timestamp()
    assert not aws.sqs.receive_message(**how).get("Messages")
    wait_until(lambda: bool(aws.sqs.receive_message(**how).get("Messages")))


def test_the_metadata_announces_no_termination() -> None:
    with http_endpoint() as endpoint:
        metadata = InstanceMetadata(endpoint)
        assert metadata.get("spot/instance-action") is None
        assert metadata.get("autoscaling/target-lifecycle-state") is None


# ---- A fleet whose workers may die -------------------------------------------------------------------------


class DyingWorker:
    """A worker that dies when the test says so, and protects no instance."""

    protected = False

    def __init__(self) -> None:
        self.alive = True

    def drain(self, when_drained: Callable[[], None]) -> None:
        when_drained()


def test_an_instance_whose_worker_died_is_replaced_after_a_boot() -> None:
    workers: list[DyingWorker] = []

    def start() -> DyingWorker:
        workers.append(DyingWorker())
        return workers[-1]

    with embedded_aws(ROOT) as aws:
        fleet = aws.create_group("group", minimum=2, maximum=2, boot_s=60, start=start)
        aws.clock.run_until(aws.clock.now + 60)
        assert fleet.size().running == 2
        workers[0].alive = False
        aws.clock.run_until(aws.clock.now + 10)
        assert (fleet.size().running, fleet.size().booting) == (1, 1)
        aws.clock.run_until(aws.clock.now + 60)
        assert (fleet.size().running, len(workers)) == (2, 3)
        (group,) = aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        assert [instance["LifecycleState"] for instance in group["Instances"]] == ["InService"] * 2


# ---- The command -------------------------------------------------------------------------------------------


def test_a_dynamic_target_is_refused_with_the_reason() -> None:
    refused = CliRunner().invoke(main, ["demo", "--real-workers", "--scenario", "queue-proc"])
    assert refused.exit_code == 2
    assert "queue-proc is not for --real-workers: its target follows MsgProcessingDuration" in refused.output


def test_removing_the_retune_is_refused_if_nothing_is_retuned() -> None:
    refused = CliRunner().invoke(main, ["demo", "--real-workers", "--without", "retune"])
    assert refused.exit_code == 2
    assert "no target is dynamic" in refused.output


def test_the_command_prints_the_scaled_durations_and_the_summary_of_the_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exit_report = Summary(
        name="transcription", minimum=0, maximum=5, sent=84, processed=84, processed_twice=1,
        processes=ProcessSummary(started=5, failed=0, published=84, mean_s=2.004),
    )  # fmt: skip
    monkeypatch.setattr(
        real_processes, "run_scenarios", lambda *_, **__: [Timeline(summary=exit_report, minutes=())]
    )
    shown = CliRunner().invoke(main, ["demo", "--real-workers"])
    assert shown.exit_code == 0
    assert "A minute takes 2 s" in shown.output
    assert "a message takes 2 s in place of 60 s, a boot 4 s in place of 120 s" in shown.output
    assert "the idle window 10 s in place of 300 s" in shown.output
    assert re.search(r"processed twice +│ 1 ", shown.output)
    assert re.search(r"worker processes +│ 5 started, none failed", shown.output)
    as_json = CliRunner().invoke(main, ["demo", "--real-workers", "--json"])
    (workload,) = json.loads(as_json.output.splitlines()[-1])["workloads"]
    assert workload["processed_twice"] == 1
    assert workload["processes"] == {
        "started": 5,
        "failed": 0,
        "durations_published": 84,
        "mean_wall_s": 2.004,
    }


def test_workers_that_cannot_work_end_the_command_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> list[Timeline]:
        raise WorkersFailedError("no message was processed, and worker process 7 ended by itself (2)")

    monkeypatch.setattr(real_processes, "run_scenarios", broken)
    refused = CliRunner().invoke(main, ["demo", "--real-workers"])
    assert refused.exit_code == 1
    assert "Error: the workers failed: no message was processed, and worker process 7" in refused.output
