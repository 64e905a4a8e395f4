"""`sluice events`: what AWS would invoke a function with, filled for one workload."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from sluice.core.model import Workload
from sluice.document import parsing
from sluice_cli.settings import Seconds
from sluice_cli.usage_errors import refusals
from sluice_cli.workloads import CHECKOUT, COMPLETE, config_file, document
from sluice_sim import sample_events
from sluice_sim.template import deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an event is filled with."""

    text: str
    workload: Workload
    at: datetime
    on_the_bus: bool
    messages: int
    duration_s: float

    def alarm(self, arn: str, logical_id: str) -> dict[str, Any]:
        """The alarm of the workload's stack, under the ARN that its document names."""
        parameters = deployment.document_parameters(self.text, what=self.workload.name)
        properties = deployment.resolved(CHECKOUT, parameters).resources[logical_id].properties
        fill = sample_events.alarm_state_change if self.on_the_bus else sample_events.alarm
        return fill(arn, properties, self.at)

    def shard(self) -> dict[str, Any]:
        """Of this workload alone."""
        _, _, _, region, account, _ = self.workload.stack_id.split(":", 5)
        documents = {self.workload.name: self.text}
        return sample_events.shard(documents, self.at, region=region, account=account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of event: who is invoked by it, when, and how it is filled."""

    function: str
    about: str
    fill: Callable[[Asked], dict[str, Any]]


KINDS = {
    "bootstrap-alarm": Kind(
        function="BootstrapFunction",
        about="the bootstrap alarm rings",
        fill=lambda asked: asked.alarm(asked.workload.bootstrap_alarm_arn, "BootstrapAlarm"),
    ),
    "shutdown-alarm": Kind(
        function="ShutdownFunction",
        about="the shutdown alarm rings",
        fill=lambda asked: asked.alarm(asked.workload.shutdown_alarm_arn, "ShutdownAlarm"),
    ),
    "schedule": Kind(
        function="PublishBacklogFunction, RetuneTargetFunction",
        about="the schedule's minute",
        fill=lambda asked: sample_events.schedule(asked.at),
    ),
    "shard": Kind(
        function="PublishBacklogFunction",
        about="a large tick's shard, with this workload",
        fill=Asked.shard,
    ),
    "stack": Kind(
        function="RetuneTargetFunction",
        about="the workload's stack was updated",
        fill=lambda asked: sample_events.stack_status(asked.workload.stack_id, asked.at),
    ),
    "send-test-messages": Kind(
        function="SendTestMessagesFunction",
        about="load for a trial",
        fill=lambda asked: sample_events.load(
            asked.workload.name, asked.at, messages=asked.messages, duration_s=asked.duration_s
        ),
    ),
}


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(click.ParamType):
    """An ISO 8601 time from 1970 on; without an offset it is UTC."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment in UTC, or click's refusal."""
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no ISO 8601 time, such as 2026-01-15T12:00:30Z.", param, ctx)
        if moment < EPOCH:  # epoch milliseconds are below zero, and an alarm's history begins before year 1
            self.fail(f"{value!r} is no time from {EPOCH:%Y} on.", param, ctx)
        return moment


ABOUT = "\n".join(f"  {name:18}  {kind.about} ({kind.function})" for name, kind in KINDS.items())


@click.command(epilog=f"\b\nKinds, and who is invoked by them:\n{ABOUT}")
@click.argument("kind", metavar="KIND", type=click.Choice(list(KINDS)))
@click.argument("workload", shell_complete=COMPLETE)
@config_file
@click.option("--at", type=Moment(), help="When it happens, in ISO 8601 (UTC). [default: now]")
@click.option("--event-bus", "on_the_bus", is_flag=True, help="Alarms: as EventBridge carries them.")
@click.option(
    "--messages",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="send-test-messages: how many.",
)
@click.option("--duration-s", type=Seconds(0, 43_200), default=5, show_default=True,
              help="send-test-messages: seconds that each asks a worker to take.")  # fmt: skip
def events(kind: str, workload: str, at: datetime | None, **options: Any) -> None:
    """Print a filled sample event, for `sam local invoke` or `aws lambda invoke`.

    WORKLOAD is a file with a workload document, or an environment of samconfig.toml. A function refuses an
    alarm that its registered document does not name, so for an account of yours take the document from there:
    `aws ssm get-parameter --name /sluice/workloads/NAME --query Parameter.Value --output text`. Of an
    environment alone the account is not known: the event is of 123456789012 in eu-west-1.
    """
    with refusals():
        text = document(workload)
        parsed = parsing.parse(text, what=workload)
        asked = Asked(text=text, workload=parsed, at=at or datetime.now(UTC), **options)
        event = KINDS[kind].fill(asked)
    click.echo(json.dumps(event, indent=2))
