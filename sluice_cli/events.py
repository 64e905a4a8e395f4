"""`sluice events`: print the event that AWS would invoke a function with, filled in for one workload."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from sluice.core.model import Color, Workload
from sluice.document import parsing
from sluice.errors import ConfigError
from sluice_cli.settings import Seconds
from sluice_cli.usage_errors import as_usage_errors
from sluice_cli.workloads import CHECKOUT, COMPLETE, config_file, document
from sluice_sim import sample_events
from sluice_sim.template import deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRequest:
    """The values that an event is filled with."""

    text: str
    workload: Workload
    at: datetime
    via_event_bus: bool
    messages: int
    duration_s: float

    def alarm(self, arn: str, logical_id: str) -> dict[str, Any]:
        """An alarm of the workload's stack, with the ARN that its document names."""
        parameters = deployment.document_parameters(self.text, what=self.workload.name)
        properties = deployment.resolved(CHECKOUT, parameters).resources[logical_id].properties
        fill = sample_events.alarm_state_change if self.via_event_bus else sample_events.alarm
        return fill(arn, properties, self.at)

    def surge(self) -> dict[str, Any]:
        """To the workload's maximum, which a surge never refuses."""
        return sample_events.surge(self.workload.name, self._operator, to=self.workload.bounds.max)

    def switch(self) -> dict[str, Any]:
        """The first step of a switch to the color that is not active."""
        if self.workload.idle is None:
            raise ConfigError(
                f"{self.workload.name} has one fleet only, {self.workload.fleet}, so there is nothing to "
                "switch to: give its stack a GreenAutoScalingGroupName or a GreenServiceName"
            )
        _, partition, _, region, account, _ = self.workload.stack_id.split(":", 5)
        machine = f"arn:{partition}:states:{region}:{account}:execution:sluice-switch"
        to = self.workload.idle.color.value
        return sample_events.switch(self.workload.name, self._operator, to=to, machine=machine)

    @property
    def _operator(self) -> str:
        """The ARN of whoever asks."""
        _, partition, _, _, account, _ = self.workload.stack_id.split(":", 5)
        return f"arn:{partition}:sts::{account}:assumed-role/on-call/alice"

    def surge_alarm(self) -> dict[str, Any]:
        """The first critical alarm that the document names."""
        if self.workload.surge is None:
            raise ConfigError(
                f"the document of {self.workload.name} names no alarm that starts a surge: deploy it with "
                "SurgeOnCriticalAlarms=true, and with DepthAlarms=true or AgeAlarms=true"
            )
        arn = self.workload.surge.alarm_arns[0]
        return self.alarm(arn, "CriticalAgeAlarm" if "-age-" in arn else "CriticalDepthAlarm")

    def shard(self) -> dict[str, Any]:
        """A shard with this workload alone."""
        return self._delivery(sample_events.shard)

    def deadline_tick(self) -> dict[str, Any]:
        """A tick below a minute with this workload alone."""
        return self._delivery(sample_events.deadline_tick)

    def _delivery(self, fill: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        _, _, _, region, account, _ = self.workload.stack_id.split(":", 5)
        return fill({self.workload.name: self.text}, self.at, region=region, account=account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of event: the function that it invokes, when it occurs, and how it is filled in."""

    function: str
    about: str
    fill: Callable[[EventRequest], dict[str, Any]]


KINDS = {
    "bootstrap-alarm": Kind(
        function="BootstrapFunction",
        about="the bootstrap alarm goes into ALARM",
        fill=lambda request: request.alarm(request.workload.bootstrap_alarm_arn, "BootstrapAlarm"),
    ),
    "shutdown-alarm": Kind(
        function="ShutdownFunction",
        about="the shutdown alarm goes into ALARM",
        fill=lambda request: request.alarm(request.workload.shutdown_alarm_arn, "ShutdownAlarm"),
    ),
    "surge": Kind(
        function="SurgeFunction",
        about="an operator asks for the maximum with `sluice surge`",
        fill=EventRequest.surge,
    ),
    "surge-alarm": Kind(
        function="SurgeFunction",
        about="a critical alarm that starts a surge goes into ALARM",
        fill=EventRequest.surge_alarm,
    ),
    "switch": Kind(
        function="SwitchFunction",
        about="the state machine asks for the first step of a switch between two colors",
        fill=EventRequest.switch,
    ),
    "schedule": Kind(
        function="PublishBacklogFunction, RetuneTargetFunction",
        about="the schedule fires",
        fill=lambda request: sample_events.schedule(request.at),
    ),
    "shard": Kind(
        function="PublishBacklogFunction",
        about="one shard of a large tick, with this workload",
        fill=EventRequest.shard,
    ),
    "deadline-tick": Kind(
        function="DeadlineTickFunction",
        about="a tick below a minute, with this workload",
        fill=EventRequest.deadline_tick,
    ),
    "stack": Kind(
        function="RetuneTargetFunction",
        about="the workload's stack was updated",
        fill=lambda request: sample_events.stack_status(request.workload.stack_id, request.at),
    ),
    "send-test-messages": Kind(
        function="SendTestMessagesFunction",
        about="an operator sends test messages",
        fill=lambda request: sample_events.load(
            request.workload.name, request.at, messages=request.messages, duration_s=request.duration_s
        ),
    ),
}


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcTime(click.ParamType):
    """An ISO 8601 time from 1970 on; without an offset it is UTC."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time in UTC; fails as click does."""
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not an ISO 8601 time, such as 2026-01-15T12:00:30Z.", param, ctx)
        # Epoch milliseconds would be negative, and the alarm's history would begin before year 1.
        if moment < EPOCH:
            self.fail(f"{value!r} is before {EPOCH:%Y}; give a later time.", param, ctx)
        return moment


ABOUT = "\n".join(f"  {name:18}  {kind.about} ({kind.function})" for name, kind in KINDS.items())


@click.command(epilog=f"\b\nKinds, and the functions that they invoke:\n{ABOUT}")
@click.argument("kind", metavar="KIND", type=click.Choice(list(KINDS)))
@click.argument("workload", shell_complete=COMPLETE)
@config_file
@click.option("--at", type=UtcTime(), help="When the event occurs, in ISO 8601 (UTC). [default: now]")
@click.option("--event-bus", "via_event_bus", is_flag=True, help="Alarms: as EventBridge delivers them.")
@click.option(
    "--messages",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="send-test-messages: how many.",
)
@click.option("--duration-s", type=Seconds(0, 43_200), default=5, show_default=True,
              help="send-test-messages: seconds that a worker takes for each.")  # fmt: skip
def events(kind: str, workload: str, at: datetime | None, **options: Any) -> None:
    """Print a filled sample event, for `sam local invoke` or `aws lambda invoke`.

    WORKLOAD is a file with a workload document, or an environment of samconfig.toml. A function rejects
    an alarm that its registered document does not name, so for a real account use the document from there:
    `aws ssm get-parameter --name /sluice/workloads/NAME --query Parameter.Value --output text`. An
    environment does not name its account: the event then has account 123456789012 and region eu-west-1.
    """
    with as_usage_errors():
        text = document(workload)
        parsed = parsing.parse(text, what=workload, active=Color.BLUE)
        request = EventRequest(text=text, workload=parsed, at=at or datetime.now(UTC), **options)
        event = KINDS[kind].fill(request)
    click.echo(json.dumps(event, indent=2))
