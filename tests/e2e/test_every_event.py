"""Every deployed function is fed with every file of events/: the account changes where it should alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.account import DIMENSIONS, QUEUES, Account
from tests.e2e.build import ROOT
from tests.e2e.deployment import FUNCTIONS
from tests.e2e.emulator import RunningFunction
from tests.e2e.standing import Standing, Start

EVENTS = sorted(path.stem for path in (ROOT / "events").glob("*.json"))
RINGING = [name for name in EVENTS if name.startswith(("bootstrap-", "shutdown-"))]
CALM = ["alarm-ok", "alarm-insufficient"]
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an invocation led to; the fleets are transcription and queue-proc, in this order."""

    error: str | None = None
    says: str = ""
    desired: tuple[int, int]
    points: int
    messages: tuple[int, int]
    targets: tuple[float, float] = (8, 10)


WORK_WAITS = Seen(desired=(0, 0), points=0, messages=(3, 3))
PROVEN_EMPTY = Seen(desired=(2, 2), points=16, messages=(0, 0))
AT_REST = Seen(desired=(0, 0), points=0, messages=(0, 0))
NO_ALARM = {"error": "ConfigError", "says": "no CloudWatch alarm event"}
NO_WORKLOAD = {"error": "ConfigError", "says": "the event lacks `workload`"}


def work_waits(account: Account) -> None:
    for queue in QUEUES:
        account.send(queue, 3)


def proven_empty(account: Account) -> None:
    # The present minute too: it is in the past if the clock turns before the function looks at it.
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    for workload, dimensions in DIMENSIONS.items():
        account.size(workload, 2)
        account.publish(
            "Sluice", "BacklogPerInstance", dimensions, {now - MINUTE * back: 0.0 for back in range(8)}
        )


def messages_took_100_s(account: Account) -> None:
    now = datetime.now(UTC)
    took = {now - MINUTE - timedelta(seconds=50 * back): 100.0 for back in range(1, 41)}
    account.publish("Sluice", "MsgProcessingDuration", DIMENSIONS["queue-proc"], took)


def nothing(account: Account) -> None:
    del account


def expected() -> dict[tuple[str, str], Seen]:
    """Function and event -> what follows: first what holds for all events, then what some do differently."""
    cases: dict[tuple[str, str], Seen] = {}
    for event in EVENTS:
        # A tick by hand, whatever came with it: both fleets are woken, both metrics published.
        cases["PublishBacklogFunction", event] = replace(WORK_WAITS, desired=(1, 1), points=2)
        cases["RetuneTargetFunction", event] = replace(AT_REST, targets=(8, 6))
        cases["BootstrapFunction", event] = replace(WORK_WAITS, **NO_ALARM)
        cases["ShutdownFunction", event] = replace(PROVEN_EMPTY, **NO_ALARM)
        cases["SendTestMessagesFunction", event] = replace(AT_REST, **NO_WORKLOAD)
    for event in ("schedule", "schedule-stale", "send-test-messages"):  # their minute is long gone
        cases["PublishBacklogFunction", event] = WORK_WAITS
    cases["PublishBacklogFunction", "shard"] = replace(WORK_WAITS, says="{'batchItemFailures': []}")
    # The stack it tells of is none that is deployed here.
    cases["RetuneTargetFunction", "stack-status"] = AT_REST
    cases["SendTestMessagesFunction", "send-test-messages"] = replace(AT_REST, messages=(50, 0))
    for function, asleep in (("BootstrapFunction", WORK_WAITS), ("ShutdownFunction", PROVEN_EMPTY)):
        for event in RINGING:
            cases[function, event] = replace(asleep, error="ConfigError", says="stray alarm")
        for event in CALM:
            cases[function, event] = asleep
        cases[function, "alarm-composite"] = replace(asleep, error="ConfigError", says="composite")
        cases[function, "alarm-malformed"] = replace(
            asleep, error="ConfigError", says="does not name its workload"
        )
    for path in ("direct", "eventbridge"):
        cases["BootstrapFunction", f"bootstrap-asg-{path}"] = replace(WORK_WAITS, desired=(1, 0))
        cases["BootstrapFunction", f"bootstrap-ecs-{path}"] = replace(WORK_WAITS, desired=(0, 1))
        cases["ShutdownFunction", f"shutdown-asg-{path}"] = replace(PROVEN_EMPTY, desired=(0, 2))
        cases["ShutdownFunction", f"shutdown-ecs-{path}"] = replace(PROVEN_EMPTY, desired=(2, 0))
    return cases


CASES = expected()
BEFORE: dict[str, Callable[[Account], None]] = {
    "PublishBacklogFunction": work_waits,
    "RetuneTargetFunction": messages_took_100_s,
    "BootstrapFunction": work_waits,
    "ShutdownFunction": proven_empty,
    "SendTestMessagesFunction": nothing,
}


@pytest.fixture(scope="module")
def warm(
    shared: Standing, runtime: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], RunningFunction]]:
    """Each function is started once and then stays, as Lambda keeps its processes."""
    shared.current()
    running: dict[str, RunningFunction] = {}
    folder = tmp_path_factory.mktemp("warm")
    with ExitStack() as started:

        def start(logical_id: str) -> RunningFunction:
            if logical_id not in running:
                running[logical_id] = started.enter_context(
                    shared.running(logical_id, runtime, folder / f"{logical_id}.log")
                )
            return running[logical_id]

        yield start


@pytest.mark.usefixtures("nothing_refused")
@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("logical_id", FUNCTIONS)
def test_an_event_does_what_it_should_and_nothing_else(
    logical_id: str, event: str, account: Account, warm: Start
) -> None:
    function = warm(logical_id)
    BEFORE[logical_id](account)
    answer = function.answer(json.loads((ROOT / "events" / f"{event}.json").read_text()))
    awaited = CASES[logical_id, event]
    error = answer.get("errorType") if isinstance(answer, dict) else None
    seen = Seen(
        error=error,
        says=awaited.says if error and awaited.says in answer["errorMessage"] else str(answer or ""),
        desired=(account.desired("transcription"), account.desired("queue-proc")),
        points=len(account.points("Sluice", "BacklogPerInstance")),
        messages=(len(account.bodies("transcription")), len(account.bodies("queue-proc"))),
        targets=(account.group_target(), account.service_policy()["TargetValue"]),
    )
    assert seen == awaited


def test_every_function_and_every_event_is_in_the_table() -> None:
    assert len(CASES) == len(FUNCTIONS) * len(EVENTS) == 90
