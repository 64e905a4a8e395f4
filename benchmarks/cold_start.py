"""How long the first response of each function takes: `python benchmarks/cold_start.py`.

Compares every function, as `make deploy` ships it and as `sam build` alone does (its layer is without
bytecode), with two handlers on the same runtime: one does nothing, one imports boto3 and makes a client. A
round is a fresh runtime process behind the runtime interface emulator, and two events posted to it. The first
response includes the process's start, imports, clients and calls; the second the calls alone. An embedded AWS
in this process answers over HTTP, without TLS. As in Lambda, the runtime's own modules have their bytecode,
and no process can write bytecode for the layer. Ratios compare the best rounds, as timeit does: other load on
the machine can only slow a round down. Exits with 1 if a function does not answer.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from py_compile import PycInvalidationMode
from statistics import median
from typing import Any

import click
import pytest
from moto.cloudwatch.models import cloudwatch_backends
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from sluice.events import Shard, shard_message  # noqa: E402
from sluice_cli.progress import ProgressBar  # noqa: E402
from sluice_sim.account import ACCOUNT_ID, ENVIRONMENT, REGION  # noqa: E402
from sluice_sim.embedded.server import http_endpoint  # noqa: E402
from tests.deploy.build import sam_build  # noqa: E402
from tests.deploy.deployment import DeployedFunction  # noqa: E402
from tests.deploy.emulator import (  # noqa: E402
    RunningFunction,
    emulated,
    lambda_runtime,
)
from tests.sluice.aws import account  # noqa: E402
from tests.support.builders import (  # noqa: E402
    deadline_document,
    document,
    dynamic_section,
    ecs_document,
    queue_url,
)

GROUP, CLUSTER, SERVICE = "transcription", "workers", "queue-proc"
BURSTS = "bursts"
"""A group that the deadline engine scales."""
COLORS = "colors"
"""A workload on two groups, of which blue is active."""
MINUTE = timedelta(minutes=1)
PROVEN_MINUTES = 8
"""More minutes than the proof of emptiness needs, because the clock goes on meanwhile."""
Event = Callable[[], Mapping[str, Any]]


def sample(name: str) -> Event:
    """Read a file of events/."""
    return lambda: json.loads((ROOT / "events" / f"{name}.json").read_text())  # type: ignore[no-any-return]


def tick_of_now() -> Mapping[str, Any]:
    """A tick below a minute that is due now: the one of events/ is long past, so it would be dropped."""
    event = sample("deadline-tick")()
    tick = Shard(scheduled=datetime.now(UTC), documents={BURSTS: json.dumps(deadline_document(BURSTS))})
    event["Records"][0]["body"] = shard_message(tick)
    return event


FUNCTIONS: Mapping[str, tuple[str, Event]] = {
    "publish_backlog": ("PublishBacklogFunction", sample("schedule-manual")),
    "deadline_tick": ("DeadlineTickFunction", tick_of_now),
    "retune_target": ("RetuneTargetFunction", sample("schedule")),
    "bootstrap": ("BootstrapFunction", sample("bootstrap-ecs-direct")),
    "shutdown": ("ShutdownFunction", sample("shutdown-asg-direct")),
    "surge": ("SurgeFunction", sample("surge")),
    "switch": ("SwitchFunction", lambda: sample("switch")() | {"workload": COLORS}),
    "guard_downstream": ("GuardDownstreamFunction", sample("schedule-manual")),
    "send_test_messages": ("SendTestMessagesFunction", sample("send-test-messages")),
}
"""Function -> its logical id, and an event that takes it through its whole path below."""
PURGE_AT_ANY_TIME = {"MOTO_SQS_ENFORCE_STRICT_QUEUE_PURGE_BEHAVIOUR": "false"}
NO_BYTECODE = ", no bytecode"
TABLE = "states"
TICK_QUEUE = "ticks"
PAUSES, GUARDS = "sluice-pauses", "sluice-guards"
"""The schedule groups of the ends of holds."""
SETTINGS = {
    "SLUICE_TICK_QUEUE_URL": queue_url(TICK_QUEUE),
    "SLUICE_STATE_TABLE": TABLE,
    "SLUICE_PAUSE_SCHEDULE_GROUP": PAUSES,
    "SLUICE_GUARD_SCHEDULE_GROUP": GUARDS,
    "SLUICE_HOLD_END_ROLE_ARN": "arn:aws:iam::123456789012:role/hold-end",
    "SLUICE_REGISTRY_PREFIX": account.PREFIX,
    "SLUICE_METRIC_NAMESPACE": "Sluice",
    "POWERTOOLS_METRICS_NAMESPACE": "Sluice/ControlPlane",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}
REFERENCES: Mapping[str, str] = {
    "empty": "def handler(event, context):\n    return None\n",
    "boto3": "import boto3\n\nsqs = boto3.client('sqs')\n\n\ndef handler(event, context):\n    return None\n",
}
# /opt and /var/task are read-only: a module without bytecode is compiled in every cold start.
READ_ONLY_BYTECODE = {"PYTHONPYCACHEPREFIX": "", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(slots=True, kw_only=True)
class Handler:
    """A handler to measure, and the times of its responses."""

    name: str
    function: DeployedFunction
    event: Event
    cold_ms: list[float] = field(default_factory=list)
    warm_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One handler's response times; the ratios compare the best rounds."""

    name: str
    median_ms: float
    best_ms: float
    times_empty: float
    times_boto3: float
    second_median_ms: float


def references(folder: Path) -> list[Handler]:
    """The two handlers that the functions are compared with."""
    handlers = []
    for name, code in REFERENCES.items():
        place = folder / name
        place.mkdir()
        (place / "app.py").write_text(code)
        handlers.append(Handler(name=name, function=_function(name, place, (), {}), event=dict))
    return handlers


def functions(built: Path) -> list[Handler]:
    """Every function of the control plane, on the layer with its bytecode and without."""
    bare = built / "SluiceLayer"
    layer = shutil.copytree(bare, built / "deployed")
    compileall.compile_dir(layer, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return [
        Handler(
            name=name + remark,
            function=_function(
                name, built / logical_id, layers, SETTINGS | {"POWERTOOLS_SERVICE_NAME": name}
            ),
            event=event,
        )
        for layers, remark in (((layer,), ""), ((bare,), NO_BYTECODE))
        for name, (logical_id, event) in FUNCTIONS.items()
    ]


def _function(
    name: str, folder: Path, layers: tuple[Path, ...], variables: Mapping[str, str]
) -> DeployedFunction:
    return DeployedFunction(
        name=name,
        folder=folder,
        handler="app.handler",
        layers=layers,
        environment={**variables, **READ_ONLY_BYTECODE},
        timeout_s=300,
        memory_mb=512,
        role_arn="",
    )


def build(folder: Path) -> Path:
    """Run `sam build` on the control plane; returns its build folder."""
    without_event = {app.parent.name for app in (ROOT / "functions").glob("*/app.py")} - FUNCTIONS.keys()
    if without_event:
        raise click.ClickException(f"FUNCTIONS has no event for {', '.join(sorted(without_event))}: add one")
    try:
        return sam_build(folder)
    except pytest.fail.Exception as failed:
        raise click.ClickException(str(failed)) from None


def runtime(folder: Path) -> Path:
    """The libraries of Lambda's runtime, with their bytecode."""
    libraries = lambda_runtime(folder / "runtime")
    for library in libraries.iterdir():
        place = library.resolve()
        compileall.compile_dir(place, quiet=2) if place.is_dir() else compileall.compile_file(place, quiet=2)
    return libraries


def register_workloads() -> None:
    """Register four workloads.

    One is on a group, whose target a retune changes, one on a service with a backlog, one on a group that the
    deadline engine scales and learns of, and one on two groups that are idle.
    """
    for queue in (GROUP, SERVICE, BURSTS, COLORS, TICK_QUEUE):
        account.create_queue(queue)
    for group in (GROUP, BURSTS):
        account.create_group(group)
    account.create_state_table(TABLE)
    service = account.create_service(SERVICE)
    account.register(document(target=dynamic_section(), policy_arn=account.create_group_policy(GROUP)))
    account.register(ecs_document(policy_arn=account.create_service_policy(service)))
    account.register(deadline_document(BURSTS, guard={"failed_percent": 50}))
    for group in (PAUSES, GUARDS):
        account.client("scheduler").create_schedule_group(Name=group)
    _register_colors()
    for queue in (SERVICE, BURSTS):
        account.send(queue_url(queue), 3)


def _register_colors() -> None:
    """Register the workload with two colors, each with a policy of its own."""
    fleets: dict[str, Any] = {"type": "blue_green"}
    for color in ("blue", "green"):
        group = f"{COLORS}-{color}"
        account.create_group(group, desired=int(color == "blue"))
        fleet = {"type": "asg", "name": group}
        fleets[color] = {"fleet": fleet, "policy_arn": account.create_group_policy(group)}
    account.register(document(COLORS) | {"fleet": fleets, "policy_arn": ""})
    for name, value in (("active-color", "blue"), ("draining-color", "none")):
        path = f"{account.PREFIX}/{COLORS}/{name}"
        account.client("ssm").put_parameter(Name=path, Value=value, Type="String")


def reset_account() -> None:
    """Reset the account before each event: an idle group with a wrong target, and two fleets at zero."""
    for queue in (GROUP, TICK_QUEUE):
        account.client("sqs").purge_queue(QueueUrl=queue_url(queue))
    autoscaling = account.client("autoscaling")
    for action in autoscaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"]:
        autoscaling.delete_scheduled_action(
            AutoScalingGroupName=GROUP, ScheduledActionName=action["ScheduledActionName"]
        )
    for group, desired in ((GROUP, 2), (BURSTS, 0)):
        autoscaling.update_auto_scaling_group(AutoScalingGroupName=group, MinSize=0)
        autoscaling.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=desired)
    for workload in (BURSTS, COLORS):
        account.client("dynamodb").delete_item(TableName=TABLE, Key={"workload": {"S": workload}})
    account.create_group_policy(GROUP, target=10)
    account.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=0)
    cloudwatch_backends[ACCOUNT_ID][REGION].metric_data.clear()  # AWS has no call that deletes metrics
    this_minute = datetime.now(UTC).replace(second=0, microsecond=0)
    for back in range(PROVEN_MINUTES):
        _put(GROUP, "BacklogPerInstance", this_minute - back * MINUTE, [0])
    _put(GROUP, "MsgProcessingDuration", this_minute - 10 * MINUTE, [5] * 40)
    _put(BURSTS, "MsgProcessingDuration", this_minute - 60 * MINUTE, [5] * 40)
    _put(BURSTS, "MsgProcessingDuration", this_minute - MINUTE, [5] * 20, Outcome="failure")


def _put(group: str, metric: str, at: datetime, values: list[float], **more: str) -> None:
    named = {"AutoScalingGroupName": group, **more}
    dimensions = [{"Name": name, "Value": value} for name, value in named.items()]
    data = [
        {"MetricName": metric, "Dimensions": dimensions, "Timestamp": at, "Value": value} for value in values
    ]
    account.client("cloudwatch").put_metric_data(Namespace="Sluice", MetricData=data)


def run_once(handler: Handler, libraries: Path, endpoint: str, log: Path) -> tuple[float, float]:
    """Milliseconds to the first and to the second response of a fresh process."""
    try:
        with emulated(handler.function, libraries, endpoint, {}, log) as running:
            return _answer_ms(running, handler.event()), _answer_ms(running, handler.event())
    except (AssertionError, OSError, ValueError) as error:
        raise click.ClickException(f"{handler.name} does not answer: {error}") from None


def _answer_ms(running: RunningFunction, event: Mapping[str, Any]) -> float:
    reset_account()
    started_s = time.perf_counter()
    running.invoke(event)
    return (time.perf_counter() - started_s) * 1000


def measure(rounds: int, show: Callable[[str, float], None]) -> list[Handler]:
    """Every handler in every round, one at a time; the first round only warms caches and is dropped."""
    with tempfile.TemporaryDirectory() as temporary, account.account(), http_endpoint() as endpoint:
        folder = Path(temporary)
        show("sam build", 0)
        handlers = [*references(folder), *functions(build(folder))]
        libraries = runtime(folder)
        register_workloads()
        measurements = [(number, handler) for number in range(rounds + 1) for handler in handlers]
        for done, (number, handler) in enumerate(measurements):
            show("cold starts", done / len(measurements))
            cold_ms, warm_ms = run_once(handler, libraries, endpoint, folder / "log")
            if number:
                handler.cold_ms.append(cold_ms)
                handler.warm_ms.append(warm_ms)
    return handlers


def rows(handlers: list[Handler]) -> list[Row]:
    """How the handlers compare, by their best rounds."""
    best_ms = {handler.name: min(handler.cold_ms) for handler in handlers}
    return [
        Row(
            name=handler.name,
            median_ms=median(handler.cold_ms),
            best_ms=best_ms[handler.name],
            times_empty=best_ms[handler.name] / best_ms["empty"],
            times_boto3=best_ms[handler.name] / best_ms["boto3"],
            second_median_ms=median(handler.warm_ms),
        )
        for handler in handlers
    ]


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="Rounds of each.")
@click.option("--json", "as_json", is_flag=True, help="The table as JSON.")
def main(rounds: int, as_json: bool) -> None:
    """Measure the first and second response of each function, and of two reference handlers."""
    os.environ |= ENVIRONMENT | PURGE_AT_ANY_TIME
    with ProgressBar(Console(stderr=True)) as progress:
        table = rows(measure(rounds, progress.show))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in table], indent=2))
        return
    click.echo(
        f"{'first answer, ms':34}{'median':>8}{'best':>8}{'x empty':>9}{'x boto3':>9}{'second answer':>15}"
    )
    for row in table:
        click.echo(
            f"{row.name:34}{row.median_ms:>8.0f}{row.best_ms:>8.0f}{row.times_empty:>9.1f}{row.times_boto3:>9.2f}"
            f"{row.second_median_ms:>15.0f}"
        )


if __name__ == "__main__":
    main()
