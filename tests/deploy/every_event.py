"""Every deployed function and every file of events/: what an invocation starts from, and what must follow.

Owns the table of both, and looking at the account afterwards. Whoever invokes the functions brings the
answer: Lambda's runtime as a process (`test_every_event`), or SAM's containers (`local_invoke`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.deploy.account import (
    DIMENSIONS,
    QUEUES,
    Account,
)
from tests.deploy.authorization import Gate
from tests.deploy.build import ROOT

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
    asks_aws: bool = True
    """Whether the account saw a request of the function's role at all."""


WORK_WAITS = Seen(desired=(0, 0), points=0, messages=(3, 3))
PROVEN_EMPTY = Seen(desired=(2, 2), points=16, messages=(0, 0))
AT_REST = Seen(desired=(0, 0), points=0, messages=(0, 0))
NO_ALARM = {"error": "ConfigError", "says": "no CloudWatch alarm event", "asks_aws": False}
NO_WORKLOAD = {"error": "ConfigError", "says": "the event lacks `workload`", "asks_aws": False}
COMPOSITE = {"error": "ConfigError", "says": "composite", "asks_aws": False}
MALFORMED = {"error": "ConfigError", "says": "does not name its workload", "asks_aws": False}


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
        cases["PublishBacklogFunction", event] = replace(WORK_WAITS, asks_aws=False)
    cases["PublishBacklogFunction", "shard"] = replace(
        WORK_WAITS, says="{'batchItemFailures': []}", asks_aws=False
    )
    # The stack it tells of is none that is deployed here.
    cases["RetuneTargetFunction", "stack-status"] = AT_REST
    cases["SendTestMessagesFunction", "send-test-messages"] = replace(AT_REST, messages=(50, 0))
    for function, asleep in (("BootstrapFunction", WORK_WAITS), ("ShutdownFunction", PROVEN_EMPTY)):
        for event in RINGING:
            cases[function, event] = replace(asleep, error="ConfigError", says="stray alarm")
        for event in CALM:
            cases[function, event] = replace(asleep, asks_aws=False)
        cases[function, "alarm-composite"] = replace(asleep, **COMPOSITE)
        cases[function, "alarm-malformed"] = replace(asleep, **MALFORMED)
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


def outcome(
    logical_id: str, event: str, account: Account, gate: Gate, invoke: Callable[[dict[str, Any]], Any]
) -> Seen:
    """What one invocation led to, in an account where both workloads are asleep.

    `invoke` hands over the event and returns what the function answered, be it a value or an error.
    """
    BEFORE[logical_id](account)
    gate.judgements.clear()
    answer = invoke(json.loads((ROOT / "events" / f"{event}.json").read_text()))
    awaited = CASES[logical_id, event].says
    error = answer.get("errorType") if isinstance(answer, dict) else None
    return Seen(
        error=error,
        says=awaited if error and awaited in answer["errorMessage"] else str(answer or ""),
        asks_aws=bool(gate.judgements),
        desired=(account.desired("transcription"), account.desired("queue-proc")),
        points=len(account.points("Sluice", "BacklogPerInstance")),
        messages=(len(account.bodies("transcription")), len(account.bodies("queue-proc"))),
        targets=(account.group_target(), account.service_policy()["TargetValue"]),
    )
