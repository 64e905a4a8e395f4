"""Real processes against a server that speaks SQS: deaths, signals, orphans, and one protection for all."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from sluice_worker import settings, supervisor
from sluice_worker.runtime.worker import Worker
from sluice_worker.supervisor import CHECK_INTERVAL_S, FIRST_BACKOFF_S, HEALTHY_AFTER_S
from tests.worker.fakes import InMemorySqs
from tests.worker.process.endpoints import (
    Agent,
    Metadata,
    serving,
)
from tests.worker.process.handlers import STATUS
from tests.worker.process.processes import (
    Running,
    running,
)
from tests.worker.runtime import parts
from tests.worker.waiting import eventually

pytestmark = pytest.mark.processes

NUMBERS = itertools.count()


class Sqs:
    """One queue at the server."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._client: Any = boto3.client("sqs", endpoint_url=endpoint)
        self.url: str = self._client.create_queue(QueueName=f"work-{next(NUMBERS)}")["QueueUrl"]

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self._client.send_message(QueueUrl=self.url, MessageBody=body)

    def left(self) -> int:
        """Messages that are still there, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(self._counts(*names))

    def visible(self) -> int:
        """Messages that nobody holds."""
        return self._counts("ApproximateNumberOfMessages")[0]

    def _counts(self, *names: str) -> list[int]:
        counts = self._client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return [int(counts[name]) for name in names]

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def sqs(endpoint: str) -> Iterator[Sqs]:
    one = Sqs(endpoint)
    yield one
    one.close()


@pytest.fixture
def worker(sqs: Sqs, tmp_path: Path) -> Any:
    """Starts one: `worker(handler, *options, **variables)`."""

    def start(handler: str, *options: str, **variables: str) -> Any:
        common = ("--queue", sqs.url, "--visibility-s", "2", "--grace-s", "2", "--worker-id", "w")
        return running(tmp_path, handler, *common, *options, AWS_ENDPOINT_URL=sqs.endpoint, **variables)

    return start


TWO = ("--processes", "2", "--max-concurrency", "1")
UNHURRIED = ("--grace-s", "4")
"""For work that must finish on a busy machine."""
PROTECTED, RELEASED = {"ProtectionEnabled": True, "ExpiresInMinutes": 2}, {"ProtectionEnabled": False}
FLEET = ("--cluster", "c", "--service", "s", "--metrics", "none", "--protection-idle-s", "0.5")


def began_in_two_processes(one: Running) -> set[int]:
    pids = set(one.await_events("began", 2).values())
    assert len(pids) == 2
    return pids


# ---- Deaths ------------------------------------------------------------------------------------------------


def test_processes_that_die_are_restarted_and_their_messages_are_redelivered(worker: Any, sqs: Sqs) -> None:
    """One process is ended by its handler, one is killed; neither leaves the task protected."""
    agent = Agent()
    sqs.send("poison", "long")
    with serving(agent) as uri, worker("until_allowed", *TWO, *FLEET, ECS_AGENT_URI=uri) as one:
        [killed] = one.await_events("began", 1).values()
        eventually(lambda: PROTECTED in agent.states, "the task is protected")
        os.kill(killed, signal.SIGKILL)
        one.await_log(f"ended with {STATUS}; started anew in 1 s")
        one.await_log("ended with -9; started anew in 1 s")
        one.go()
        assert killed not in one.await_events("done", 2).values()
        eventually(lambda: sqs.left() == 0, "both are deleted")
        eventually(lambda: agent.states[-1] == RELEASED, "an idle task is not protected")
        one.send_signal(signal.SIGINT)
        assert one.await_end() == 0
    assert "Traceback" not in one.log


@dataclass
class ExitedProcess:
    """A process that has ended as soon as it is started."""

    exitcode: int = 1
    started: int = 0

    def start(self) -> None:
        self.started += 1

    def is_alive(self) -> bool:
        return False


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A supervisor whose processes the test makes, on the clock `family.now`."""
    one: Any = supervisor._ProcessGroup(settings({"queues": ["http://h/q"], "processes": 2}), print)
    one.now = 1000.0
    one.births = []

    def born(**_: object) -> ExitedProcess:
        one.births.append(one.now)
        return ExitedProcess()

    monkeypatch.setattr(one._context, "Process", born, raising=False)
    monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=lambda: one.now))
    return one


def test_a_process_that_fails_to_start_is_retried_with_backoff_up_to_a_minute(
    family: Any,
) -> None:
    for _ in range(round(350 / CHECK_INTERVAL_S)):
        family._restart_if_dead(0, family._children[0])
        family.now += CHECK_INTERVAL_S
    pauses = [later - sooner for sooner, later in itertools.pairwise(family.births)]
    assert (
        pauses
        == [CHECK_INTERVAL_S + pause_s for pause_s in (1, 2, 4, 8, 16, 32, 60, 60, 60, 60)][: len(pauses)]
    )
    assert len(pauses) > 8


def test_a_process_that_failed_to_start_for_a_day_is_still_retried(family: Any) -> None:
    """A doubled pause outgrows a float at the 1025th failure."""
    child = family._children[0]
    family._restart_if_dead(0, child)
    child.failures = 2000
    family._restart_if_dead(0, child)
    family.now += 60
    family._restart_if_dead(0, child)
    assert len(family.births) == 2


def test_a_process_that_dies_after_a_long_run_is_restarted_without_extra_delay(
    family: Any,
) -> None:
    child = family._children[0]
    for _ in range(5):
        family._restart_if_dead(0, child)
        family.now += HEALTHY_AFTER_S
        family._restart_if_dead(0, child)  # detected as dead
        assert child.start_at == family.now + FIRST_BACKOFF_S
        family.now += FIRST_BACKOFF_S


def test_a_process_that_cannot_be_created_is_retried_and_the_others_continue(
    family: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Out of memory: the other processes are working, and must be drained in the end."""
    born, refused = family._context.Process, [OSError("Resource temporarily unavailable")]

    def make(**options: Any) -> ExitedProcess:
        if options["name"] == "worker-0" and refused:
            raise refused.pop()
        return born(**options)

    monkeypatch.setattr(family._context, "Process", make)
    looks = itertools.count()

    def wait(_: float) -> bool:
        family.now += 60
        return next(looks) == 3

    monkeypatch.setattr(family._draining, "wait", wait)
    monkeypatch.setattr(family, "_end", lambda: 0)
    monkeypatch.setattr(supervisor, "_on_signals", lambda _: None)
    assert family.run() == 0
    assert all(child.process or child.failures for child in family._children)
    assert "Resource temporarily unavailable" in caplog.text


def test_a_dead_process_counts_as_idle_until_it_is_restarted(family: Any) -> None:
    family._restart_if_dead(0, family._children[0])
    family._states[0] = supervisor.BUSY
    family._restart_if_dead(0, family._children[0])
    assert list(family._states) == [supervisor.IDLE] * 2


@pytest.mark.parametrize(
    ("states", "drained", "busy"),
    [
        ((supervisor.DRAINED, supervisor.DRAINED), True, False),
        ((supervisor.DRAINED, supervisor.IDLE), False, False),  # it may still receive
        ((supervisor.DRAINED, supervisor.BUSY), False, True),
    ],
)
def test_processes_are_drained_only_once_each_of_them_is(
    family: Any, states: tuple[int, int], drained: bool, busy: bool
) -> None:
    family._states[:] = states
    family._is_receiving = lambda: False
    assert (family.is_drained, family.busy) == (drained, busy)
    family._is_receiving = lambda: True  # their states may be a moment old
    assert not family.is_drained


def test_the_busy_flags_need_no_lock_that_a_killed_process_could_keep(family: Any) -> None:
    """A lock shared by processes and held by a dead one would stop the parent for good."""
    assert not hasattr(family._states, "get_lock")


# ---- Signals -----------------------------------------------------------------------------------------------


def test_sigterm_to_the_parent_drains_every_process_under_one_protection(worker: Any, sqs: Sqs) -> None:
    agent = Agent()
    sqs.send("a", "b")
    with serving(agent) as uri, worker("until_allowed", *TWO, *UNHURRIED, *FLEET, ECS_AGENT_URI=uri) as one:
        pids = began_in_two_processes(one)
        assert one.process.pid not in pids
        eventually(lambda: PROTECTED in agent.states, "the task is protected")
        one.send_signal(signal.SIGTERM)
        one.await_log("draining 2 processes: SIGTERM")
        one.go()
        assert one.await_end() == 0
    assert set(one.logged_events("done")) == {"a", "b"}
    assert sqs.left() == 0
    assert agent.states[-2:] == [PROTECTED, RELEASED]
    assert agent.states.count(PROTECTED) == 1
    last = {line["workerId"]: line["messagesProcessed"] for line in map(json.loads, one.reports)}
    assert last == {"w-0": 1, "w-1": 1}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_thread_that_a_handler_left_behind_does_not_keep_the_process(
    worker: Any, sqs: Sqs, processes: int
) -> None:
    sqs.send("one")
    with worker("leaving_a_thread", "--processes", str(processes)) as one:
        one.await_events("done", 1)
        one.send_signal(signal.SIGTERM)
        assert one.await_end() == 0
        assert "cut off" in one.log


def test_a_signal_that_comes_while_the_processes_start_is_not_lost_and_ends_all_in_order(worker: Any) -> None:
    with worker("at_once", *TWO) as one:
        eventually(lambda: children(one.process.pid), "a child is on its way")
        one.send_signal(signal.SIGTERM)
        assert one.await_end() == 0, one.log
    assert "Traceback" not in one.log


def test_a_second_sigint_ends_at_once(worker: Any, sqs: Sqs) -> None:
    sqs.send("long")
    with worker("until_allowed") as one:
        one.await_events("began", 1)
        one.send_signal(signal.SIGINT)
        one.await_log("draining within 2 s: SIGINT")
        one.send_signal(signal.SIGINT)
        assert one.await_end() == -signal.SIGINT


def test_processes_whose_parent_was_killed_drain_by_themselves(worker: Any, sqs: Sqs) -> None:
    sqs.send("a", "b")
    with worker("until_allowed", *TWO, *UNHURRIED) as one:
        began_in_two_processes(one)
        one.send_signal(signal.SIGKILL)
        one.await_log("the parent process is gone")
        one.go()
        assert one.await_end() == -signal.SIGKILL
    assert set(one.logged_events("done")) == {"a", "b"}
    assert sqs.left() == 0


def children(pid: int) -> list[str]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return path.read_text(encoding="ascii").split() if path.exists() else []


@pytest.fixture
def _signals_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in supervisor.DRAIN_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals_as_they_were")
def test_a_signal_that_interrupts_the_holder_of_the_lock_which_the_drain_needs_drains_all_the_same() -> None:
    lock, drained = threading.Lock(), threading.Event()

    def drain(_: str) -> None:
        if lock.acquire(timeout=5):
            lock.release()
            drained.set()

    supervisor._on_signals(drain)
    with lock:
        os.kill(os.getpid(), signal.SIGTERM)
        eventually(lambda: signal.SIGTERM not in signal.sigpending(), "the signal has come")
    assert drained.wait(20)


@pytest.mark.usefixtures("_signals_as_they_were")
def test_a_signal_that_another_thread_receives_drains_all_the_same() -> None:
    """The kernel may choose any thread: then nothing interrupts what the main thread waits for."""
    one = Worker(parts.settings(parts.WORK), print, InMemorySqs())
    supervisor._on_signals(one.drain)

    def receive() -> None:
        time.sleep(0.3)  # the main thread waits by then
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    threading.Thread(target=receive, daemon=True).start()
    too_late = threading.Timer(10, one.drain, ("ten seconds without a drain",))
    too_late.start()
    try:
        assert one.run() == 0
    finally:
        too_late.cancel()
    assert one._reason == "SIGTERM"


# ---- In service --------------------------------------------------------------------------------------------

STATE = "autoscaling/target-lifecycle-state"


@pytest.mark.parametrize("processes", [1, 2])
def test_a_warm_pool_instance_starts_work_only_in_service_and_drains_when_it_returns(
    worker: Any, sqs: Sqs, processes: int
) -> None:
    metadata = Metadata()
    metadata.items[STATE] = "Warmed:Running"
    group = ("--auto-scaling-group", "g", "--no-protect", "--metrics", "none", "--processes", str(processes))
    sqs.send(*map(str, range(6)))
    with (
        serving(metadata) as address,
        worker(
            "at_once",
            *group,
            AWS_EC2_METADATA_SERVICE_ENDPOINT=address,
            AWS_EC2_METADATA_DISABLED="false",
        ) as one,
    ):
        one.await_log("g keeps the instance in its warm pool (Warmed:Running)")
        eventually(lambda: len(metadata.paths) > 4, "it goes on asking")
        assert one.logged_events("done") == {}
        metadata.items[STATE] = "InService"
        one.await_events("done", 6)
        metadata.items[STATE] = "Warmed:Running"
        one.await_log("draining")
        eventually(lambda: one.log.count("(Warmed:Running): nothing is received") == 2, "it waits again")
        sqs.send("warm")
        metadata.items[STATE] = "InService"
        assert "warm" not in one.logged_events("done")
        one.await_events("done", 7)
        one.send_signal(signal.SIGTERM)
        assert one.await_end() == 0
    assert "Traceback" not in one.log


# ---- Colors ------------------------------------------------------------------------------------------------

PARAMETER = "/sluice/workloads/work/draining-color"
GREEN = ("--color", "green", "--draining-color-parameter", PARAMETER)
LONG_LINGER = ("--cluster", "c", "--service", "s", "--metrics", "none", "--protection-idle-s", "600")
"""Protection that is released within the test was released because the color drains."""


@pytest.fixture
def put_draining_color(endpoint: str) -> Iterator[Any]:
    ssm: Any = boto3.client("ssm", endpoint_url=endpoint)
    yield lambda value: ssm.put_parameter(Name=PARAMETER, Value=value, Type="String", Overwrite=True)
    ssm.close()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_draining_color_finishes_what_it_holds_gives_up_its_protection_and_receives_again_afterwards(
    worker: Any, sqs: Sqs, put_draining_color: Any, processes: int
) -> None:
    agent = Agent()
    put_draining_color("none")
    options = ("--processes", str(processes), "--max-concurrency", "1", *LONG_LINGER, *GREEN)
    sqs.send(*map(str, range(processes)))
    with (
        serving(agent) as uri,
        worker(
            "until_allowed", *options, module="tests.worker.process.quick_reads", ECS_AGENT_URI=uri
        ) as one,
    ):
        pids = set(one.await_events("began", processes).values())
        eventually(lambda: agent.states == [PROTECTED], "it is protected")
        put_draining_color("green")
        one.await_log(f"nothing is received for now, and what was received is finished: {PARAMETER} is green")
        assert agent.states == [PROTECTED]
        one.go()
        one.await_events("done", processes)
        eventually(lambda: agent.states == [PROTECTED, RELEASED], "it has no message, and gets none")
        assert sqs.left() == 0
        sqs.send("late")
        began_at = time.monotonic()
        eventually(lambda: time.monotonic() - began_at > 3, "pollers would have looked for it three times")
        assert sqs.visible() == 1
        put_draining_color("blue")
        one.await_log(f"messages are received again: {PARAMETER} is blue")
        assert one.await_events("done", processes + 1)["late"] in pids
        one.send_signal(signal.SIGTERM)
        assert one.await_end() == 0
    assert len([line for line in one.logs if PARAMETER in line]) == 2


def test_processes_that_start_while_their_color_drains_receive_nothing_and_end_in_order(
    worker: Any, sqs: Sqs, put_draining_color: Any
) -> None:
    agent = Agent()
    put_draining_color("green")
    sqs.send("late")
    with (
        serving(agent) as uri,
        worker("at_once", *TWO, *LONG_LINGER, *GREEN, ECS_AGENT_URI=uri) as one,
    ):
        one.await_log(f"{PARAMETER} is green")
        eventually(lambda: agent.states == [RELEASED], "both processes run, and can get no message")
        one.send_signal(signal.SIGTERM)
        assert one.await_end() == 0
    assert one.logged_events("done") == {}
    assert sqs.visible() == 1
    assert [json.loads(line)["receiving"] for line in one.reports] == [False, False]


# ---- Quiet -------------------------------------------------------------------------------------------------


def test_a_worker_that_runs_and_drains_logs_little(worker: Any, sqs: Sqs) -> None:
    sqs.send(*map(str, range(30)))
    with worker("at_once") as one:
        one.await_events("done", 30)
        one.send_signal(signal.SIGTERM)
        assert one.await_end() == 0
    draining, *waiting = [line.split(" ", 4)[-1] for line in one.logs]
    assert draining == "draining within 2 s: SIGTERM"
    # A line more if the signal met a long poll, which begins as soon as the queue is empty.
    assert [line.partition(":")[0] for line in waiting] in ([], ["waiting for up to 1 s"])
    assert len(one.reports) == 1
