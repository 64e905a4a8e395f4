"""Every deployed function with every file of events/: the account before, and the expected outcome.

Owns the table of cases and the check of the account afterwards. The callers invoke the functions: as a
process of Lambda's runtime (`test_every_event`), or in SAM's containers (`local_invoke`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sluice.events import Shard, shard_message
from tests.deploy.account import (
    DIMENSIONS,
    QUEUES,
    Account,
)
from tests.deploy.authorization import Gate
from tests.deploy.build import ROOT

EVENTS = sorted(path.stem for path in (ROOT / "events").glob("*.json"))
OWN_ALARMS = [name for name in EVENTS if name.startswith(("bootstrap-", "shutdown-", "surge-alarm-"))]
NOT_IN_ALARM = ["alarm-ok", "alarm-insufficient"]
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of an invocation; pairs are for transcription and queue-proc, in this order."""

    error: str | None = None
    text: str = ""
    desired: tuple[int, int]
    points: int
    messages: tuple[int, int]
    targets: tuple[float, float] = (8, 10)
    held: tuple[bool, bool] = (False, False)
    """Whether AWS's own policies are held, so that they do not scale out."""
    calls_aws: bool = True
    """Whether the function's role sent any request to the account."""


WORK_WAITS = Outcome(desired=(0, 0), points=0, messages=(3, 3))
PROVEN_EMPTY = Outcome(desired=(2, 2), points=16, messages=(0, 0))
IDLE = Outcome(desired=(0, 0), points=0, messages=(0, 0))
NO_ALARM = {"error": "ConfigError", "text": "not a CloudWatch alarm event", "calls_aws": False}
NO_WORKLOAD = {"error": "ConfigError", "text": "the event lacks `workload`", "calls_aws": False}
NO_STEP = {"error": "ConfigError", "text": "the event lacks `step`", "calls_aws": False}
NO_DELIVERY = {"error": "ConfigError", "text": "not a delivery from a queue", "calls_aws": False}
COMPOSITE = {"error": "ConfigError", "text": "composite", "calls_aws": False}
MALFORMED = {"error": "ConfigError", "text": "does not name its workload", "calls_aws": False}


def work_waits(account: Account) -> None:
    for queue in QUEUES:
        account.send(queue, 3)


def proven_empty(account: Account) -> None:
    # The present minute too: it is a past one if a new minute begins before the function reads the clock.
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    for workload, dimensions in DIMENSIONS.items():
        account.set_desired(workload, 2)
        account.publish(
            "Sluice", "BacklogPerInstance", dimensions, {now - MINUTE * back: 0.0 for back in range(8)}
        )


def messages_took_100_s(account: Account) -> None:
    now = datetime.now(UTC)
    durations = {now - MINUTE - timedelta(seconds=50 * back): 100.0 for back in range(1, 41)}
    account.publish("Sluice", "MsgProcessingDuration", DIMENSIONS["queue-proc"], durations)


def downstream_fails(account: Account) -> None:
    account.guard()
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    failed = {now - timedelta(seconds=back): 1.0 for back in range(1, 21)}
    for dimensions in DIMENSIONS.values():
        account.publish("Sluice", "MsgProcessingDuration", {**dimensions, "Outcome": "failure"}, failed)


def nothing(account: Account) -> None:
    del account


def deadline_tick(account: Account, moment: datetime) -> dict[str, Any]:
    """A tick below a minute for both workloads, which are handed to the deadline engine."""
    event: dict[str, Any] = json.loads((ROOT / "events" / "deadline-tick.json").read_text())
    tick = Shard(scheduled=moment, documents=account.scale_by_deadline())
    event["Records"][0]["body"] = shard_message(tick)
    return event


def expected() -> dict[tuple[str, str], Outcome]:
    """(function, event) -> the expected outcome: first for all events, then for those that differ."""
    cases: dict[tuple[str, str], Outcome] = {}
    for event in EVENTS:
        # Any other event is a manual tick: both fleets are bootstrapped, both metrics published.
        cases["PublishBacklogFunction", event] = replace(WORK_WAITS, desired=(1, 1), points=2)
        cases["DeadlineTickFunction", event] = replace(WORK_WAITS, **NO_DELIVERY)
        cases["RetuneTargetFunction", event] = replace(IDLE, targets=(8, 6))
        cases["BootstrapFunction", event] = replace(WORK_WAITS, **NO_ALARM)
        cases["ShutdownFunction", event] = replace(PROVEN_EMPTY, **NO_ALARM)
        cases["SurgeFunction", event] = replace(WORK_WAITS, **NO_WORKLOAD)
        cases["SwitchFunction", event] = replace(WORK_WAITS, **NO_STEP)
        cases["GuardDownstreamFunction", event] = replace(IDLE, held=(True, True))
        cases["SendTestMessagesFunction", event] = replace(IDLE, **NO_WORKLOAD)
    for event in ("schedule", "schedule-stale", "send-test-messages"):  # their minute is long past
        cases["PublishBacklogFunction", event] = replace(WORK_WAITS, calls_aws=False)
        cases["GuardDownstreamFunction", event] = replace(IDLE, calls_aws=False)
    for event in ("shard", "deadline-tick"):
        cases["PublishBacklogFunction", event] = replace(
            WORK_WAITS, text="{'batchItemFailures': []}", calls_aws=False
        )
        cases["DeadlineTickFunction", event] = replace(WORK_WAITS, calls_aws=False)
    # The stack of this event is not deployed here.
    cases["RetuneTargetFunction", "stack-status"] = IDLE
    for event in ("send-test-messages", "surge", "switch"):
        cases["SendTestMessagesFunction", event] = replace(IDLE, messages=(50, 0))
    cases["SwitchFunction", "switch"] = replace(WORK_WAITS, error="ConfigError", text="has one fleet only")
    cases["SurgeFunction", "switch"] = replace(
        WORK_WAITS, error="ConfigError", text="to: 'green': give a whole number", calls_aws=False
    )
    for event in ("stack-status", "switch-execution-status"):
        cases["SurgeFunction", event] = replace(WORK_WAITS, **NO_ALARM)
    cases["SurgeFunction", "send-test-messages"] = replace(
        WORK_WAITS, error="ConfigError", text="the event lacks `by`", calls_aws=False
    )
    cases["SurgeFunction", "surge"] = replace(WORK_WAITS, text="surge 0 -> 5", desired=(5, 0))
    for function, unchanged in (
        ("BootstrapFunction", WORK_WAITS),
        ("ShutdownFunction", PROVEN_EMPTY),
        ("SurgeFunction", WORK_WAITS),
    ):
        for event in OWN_ALARMS:
            cases[function, event] = replace(unchanged, error="ConfigError", text="stray alarm")
        for event in NOT_IN_ALARM:
            cases[function, event] = replace(unchanged, calls_aws=False)
        cases[function, "alarm-composite"] = replace(unchanged, **COMPOSITE)
        cases[function, "alarm-malformed"] = replace(unchanged, **MALFORMED)
    for path in ("direct", "eventbridge"):
        cases["BootstrapFunction", f"bootstrap-asg-{path}"] = replace(WORK_WAITS, desired=(1, 0))
        cases["BootstrapFunction", f"bootstrap-ecs-{path}"] = replace(WORK_WAITS, desired=(0, 1))
        cases["ShutdownFunction", f"shutdown-asg-{path}"] = replace(PROVEN_EMPTY, desired=(0, 2))
        cases["ShutdownFunction", f"shutdown-ecs-{path}"] = replace(PROVEN_EMPTY, desired=(2, 0))
    return cases


CASES = expected()
BEFORE: dict[str, Callable[[Account], None]] = {
    "PublishBacklogFunction": work_waits,
    "DeadlineTickFunction": work_waits,
    "RetuneTargetFunction": messages_took_100_s,
    "BootstrapFunction": work_waits,
    "ShutdownFunction": proven_empty,
    "SurgeFunction": work_waits,
    "SwitchFunction": work_waits,
    "GuardDownstreamFunction": downstream_fails,
    "SendTestMessagesFunction": nothing,
}


def run_case(
    logical_id: str, event: str, account: Account, gate: Gate, invoke: Callable[[dict[str, Any]], Any]
) -> Outcome:
    """Invoke a function once, in an account with both workloads at zero, and return the outcome.

    `invoke` passes the event on and returns the function's response, a value or an error.
    """
    BEFORE[logical_id](account)
    gate.authorizations.clear()
    answer = invoke(json.loads((ROOT / "events" / f"{event}.json").read_text()))
    expected_outcome = CASES[logical_id, event].text
    error = answer.get("errorType") if isinstance(answer, dict) else None
    said = answer["errorMessage"] if error else str(answer or "")
    return Outcome(
        error=error,
        text=expected_outcome if expected_outcome and expected_outcome in said else said,
        calls_aws=bool(gate.authorizations),
        desired=(account.desired("transcription"), account.desired("queue-proc")),
        points=len(account.points("Sluice", "BacklogPerInstance")),
        messages=(len(account.bodies("transcription")), len(account.bodies("queue-proc"))),
        targets=(account.group_target(), account.service_policy()["TargetValue"]),
        held=(account.holds_scale_out("transcription"), account.holds_scale_out("queue-proc")),
    )
