"""The options of `sluice simulate` that are settings of an experiment, and their types.

`--sweep` parses its values with the same types.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import click
from click.shell_completion import CompletionItem

from sluice.document.schedule_lines import ZONE_PATTERN
from sluice_cli import completion
from sluice_cli.usage_errors import UsageError
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.study.experiment import Generated
from sluice_sim.workloads import (
    generators,
    limits,
    service_times,
)
from sluice_sim.workloads.service_times import Boot

GENERATOR_SETTINGS: dict[str, tuple[str, Callable[[str], float]]] = {
    "days": ("days", float),
    "per-day": ("per_day", lambda text: int(text.replace("_", ""))),
    "interval-s": ("interval_s", float),
}


class Seconds(click.FloatRange):
    """A finite number within a range; click's own range accepts NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; fails as click does."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class BootTime(click.ParamType):
    """`180`, or `120-240`."""

    name = "SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Boot:
        """The boot time; fails as click does."""
        if isinstance(value, Boot):
            return value
        try:
            return service_times.boot(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class TimeZone(click.ParamType):
    """A name of the IANA database, such as Europe/Berlin, as a schedule takes it."""

    name = "NAME"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete names that a schedule takes."""
        return completion.names(lambda _: sorted(filter(_is_time_zone, available_timezones())))(
            ctx, param, incomplete
        )

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name; fails as click does."""
        if not _is_time_zone(value) or value not in available_timezones():
            self.fail(f"{value!r} is no time zone: give one like Europe/Berlin, or UTC.", param, ctx)
        return str(value)


def _is_time_zone(name: str) -> bool:
    return re.fullmatch(ZONE_PATTERN, name) is not None


class TraceSource(click.ParamType):
    """A file, or a generated shape: `diurnal`, `spiky:days=7:per-day=50000`."""

    name = "FILE|SHAPE"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete shapes, or else files."""
        return completion.names(lambda _: generators.SHAPES, or_files=True)(ctx, param, incomplete)

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,  # noqa: ARG002
    ) -> Path | Generated:
        """The file's path or the shape to generate; raises UsageError if there is no such file."""
        if not isinstance(value, str):
            given: Path | Generated = value
            return given
        shape, *given_settings = value.split(":")
        if shape in generators.SHAPES:
            return Generated(shape=shape, **dict(map(_generator_setting, given_settings)))
        if os.path.isdir(value):  # noqa: PTH112 - Path raises for a name that is too long
            raise UsageError(f"{value}: it is a folder; name a file")
        if not os.path.isfile(value):  # noqa: PTH113 - Path raises for a name that is too long
            raise UsageError(
                f"{value or repr(value)}: there is no such file; a trace can also be generated: "
                f"{', '.join(generators.SHAPES)}"
            )
        return Path(value)


def _generator_setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    if name not in GENERATOR_SETTINGS:
        raise UsageError(f"{text}: a generated trace takes {', '.join(GENERATOR_SETTINGS)}, as in days=7")
    field, parse = GENERATOR_SETTINGS[name]
    try:
        number = parse(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise UsageError(f"{text}: {name} is a number above 0")
    return field, number


class Choice(click.ParamType):
    """One of an enum's values."""

    name = "CHOICE"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the values."""
        return completion.names(lambda _: list(ScaleIn))(ctx, param, incomplete)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ScaleIn:
        """The enum's member; fails as click does."""
        try:
            return ScaleIn(value)
        except ValueError:
            self.fail(f"{value!r} is not one of {', '.join(ScaleIn)}.", param, ctx)


TIME = Seconds(min=limits.MIN_S, max=limits.MAX_S)
SHARE = Seconds(min=0, max=1, max_open=True)

SETTINGS = [
    click.option(
        "--trace", type=TraceSource(), required=True,
        help="Arrivals: a file with the header timestamp,arrivals (ISO 8601, or seconds from any zero), or a "
        f"generated shape: {', '.join(generators.SHAPES)}, as in spiky or spiky:days=7:per-day=50000.",
    ),
    click.option(
        "--duration-s", type=TIME, default=5.0, show_default=True,
        help="Seconds to process a message, on average.",
    ),
    click.option(
        "--duration-cv", "variation", type=Seconds(min=0, max=limits.MAX_VARIATION),
        default=0.0, show_default=True,
        help="Their coefficient of variation (deviation / mean): lognormal above 0, constant at 0.",
    ),
    click.option(
        "--durations", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
        help="Processing times drawn from the column duration_s of this file instead.",
    ),
    click.option(
        "--boot-s", "boot", type=BootTime(), default="180", show_default=True,
        help="Seconds from launch to ready: one number, or a range such as 120-240.",
    ),
    click.option(
        "--warm-pool", type=click.IntRange(0, limits.MAX_INSTANCES), default=0, show_default=True,
        help="Auto Scaling groups: stopped instances kept ready (warm pool).",
    ),
    click.option(
        "--warm-boot-s", "warm_boot", type=BootTime(), default="45", show_default=True,
        help="Seconds from the start of one of them to ready: one number, or a range such as 30-60.",
    ),
    click.option(
        "--warm-price-ratio", type=Seconds(min=0, max=1), default=0.01, show_default=True,
        help="Price of a stopped instance over that of a running one.",
    ),
    click.option(
        "--warm-reuse", is_flag=True,
        help="Instances return to the warm pool when they are scaled in (ReuseOnScaleIn), and the pool holds "
        "--warm-pool less the desired instances. [default: each instance taken is replaced by a new one]",
    ),
    click.option("--tick-s", type=Seconds(min=limits.MIN_TICK_S, max=limits.MAX_TICK_S),
        help="How often the policy decides. [default: its own period]"),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
                 help="Seed of every random number."),
    click.option(
        "--promise-s", type=TIME,
        help="Acceptable seconds from arrival to start. [default: the workload's AcceptableLatencySeconds, "
        "or MessagesPerInstance x duration / concurrency]",
    ),
    click.option(
        "--concurrency", type=click.IntRange(1, 1000),
        help="Messages an instance works on at a time. [default: ConcurrencyPerInstance, or 1]",
    ),
    click.option(
        "--groups", type=click.IntRange(1, limits.MAX_GROUPS),
        help="FIFO queues: message groups. [default: 10 per slot of the largest fleet]",
    ),
    click.option(
        "--scale-in", type=Choice(), metavar="|".join(ScaleIn),
        help="What happens to a message whose instance is scaled in: it is finished; it returns after its "
        "visibility timeout; or the instance is protected. Refused if the one policy needs another; of "
        "several, the result of each says so. [default: what the policy needs, or drain]",
    ),
    click.option("--visibility-timeout-s", type=Seconds(min=1, max=limits.MAX_VISIBILITY_TIMEOUT_S),
        default=300.0, show_default=True,
                 help="The queue's visibility timeout; workers extend it while they process a message."),
    click.option("--max-receives", type=click.IntRange(1, 1000), default=3, show_default=True,
                 help="Receives after which a message moves to the dead-letter queue."),
    click.option("--delay-s", type=Seconds(min=0, max=limits.MAX_DELAY_S),
        default=0.0, show_default=True,
                 help="The queue's delivery delay: how long a new message is invisible."),
    click.option(
        "--spot-interruptions-per-hour", "interruptions_per_instance_hour",
        type=Seconds(min=0, max=limits.MAX_INTERRUPTIONS_PER_HOUR), default=0.0,
        show_default=True, help="Average Spot interruptions of an instance in an hour.",
    ),
    click.option("--refusal-ratio", type=SHARE, default=0.0, show_default=True,
                 help="Share of launches that find no capacity."),
    click.option(
        "--downstream-capacity", type=click.IntRange(1, limits.MAX_DOWNSTREAM_CAPACITY), metavar="N",
        help="Messages at a time that a service behind the workers serves; beyond N a message fails with the "
        "probability 1 - N / messages in progress. [default: no limit]",
    ),
    click.option(
        "--downstream-failed-time-ratio", type=Seconds(min=0, max=limits.MAX_FAILED_TIME_RATIO),
        default=1.0, show_default=True,
        help="Time of an attempt that fails there over that of one that succeeds.",
    ),
    click.option(
        "--switch-at-min", type=Seconds(min=0, max=limits.MAX_S / 60), metavar="MINUTES",
        help="Blue/green workloads: minutes from the start until the other color is made the active one.",
    ),
    click.option("--count-lag-s", type=Seconds(min=0, max=limits.MAX_COUNT_LAG_S),
        default=0.0, show_default=True,
                 help="Age of the counts that SQS returns."),
    click.option("--late-ratio", type=SHARE, default=0.01, show_default=True,
                 help="Share of messages that the lower bound may start late."),
]  # fmt: skip


def settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add every setting to a command, as an option."""
    for option in reversed(SETTINGS):
        command = option(command)
    return command


def names(command: click.Command) -> dict[str, click.Parameter]:
    """The settings of a command, by their option's name without the dashes."""
    fields = {field.name for field in dataclasses.fields(_experiment_type())}
    return {
        option.removeprefix("--"): param
        for param in command.params
        if param.name in fields
        for option in param.opts
        if option.startswith("--")
    }


def pairs(texts: Iterable[str], option: str) -> list[tuple[str, str]]:
    """Split each `name=value` into a pair."""
    split = [text.split("=", 1) for text in texts]
    if wrong := [text for text, parts in zip(texts, split, strict=True) if len(parts) != 2 or not parts[0]]:
        raise UsageError(f"{option} {wrong[0]}: write it as name=value")
    return [(name, value) for name, value in split]


def _experiment_type() -> Any:
    from sluice_sim.study.experiment import Experiment

    return Experiment
