"""`sluice plan`: how many workers a load needs, with which settings, and what that costs a month."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sluice.core.model import DynamicTarget, Workload
from sluice.errors import SluiceError
from sluice_cli import plan_environment, samconfig
from sluice_cli.plan_history import HistoryReader, require_plausible
from sluice_cli.plan_inputs import Duration, Fleet, FleetKind, Positive, Rate
from sluice_cli.plan_report import Report, as_json, asked, sentences, shown
from sluice_cli.progress import ProgressBar
from sluice_cli.settings import Seconds, TraceSource
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError, as_usage_errors
from sluice_cli.workloads import COMPLETE, SAMCONFIG_KEY, config_file, parameters, registered
from sluice_operator.aws.price_list import endpoint_region, read_prices
from sluice_operator.core.demand import Arrivals, Demand
from sluice_operator.core.engine_choice import Scaling
from sluice_operator.core.monthly_cost import FleetPrice, drain_cost, on_lambda, per_month
from sluice_operator.core.planning import plan as made_plan
from sluice_operator.core.prices import Prices
from sluice_operator.core.ways_out import with_way_out
from sluice_operator.price_files import in_use, keep, user_file
from sluice_operator.session import AwsSession
from sluice_sim.study.experiment import Generated
from sluice_sim.template import deployment
from sluice_sim.workloads import generators, traces

WIDTH = 110
"""Characters per line where the output is not a terminal."""
DEFAULT_NAME = "workload"
MAX_BOOT_S = 9999.0
"""workload.yaml's BootSeconds."""
MAX_S = 30 * 86_400.0
MAX_PROCESSING_S = 43_200.0
"""SQS keeps a message hidden for twelve hours at most."""
RETENTION_S = 14 * 86_400.0
"""SQS keeps a message for two weeks at most."""


@click.command()
@click.argument("workload", required=False, shell_complete=COMPLETE)
@config_file
@click.option(
    "--arrivals",
    "arrivals_per_s",
    type=Rate(),
    help="Messages that arrive: 7/s, 420/min, 25000/hour or 600000/day.",
)
@click.option(
    "--trace",
    type=TraceSource(),
    help="Arrivals by interval instead: a file, or a shape, as of `simulate`.",
)
@click.option("--queue", "queue_name", metavar="NAME", help="The history of this queue instead.")
@click.option(
    "--days", type=click.IntRange(2, 455), default=14, show_default=True, help="Of history to read."
)
@click.option("--backlog", type=click.IntRange(min=0), default=0, help="Messages that wait already.")
@click.option(
    "--drain-in",
    "drain_within_s",
    type=Duration(1, RETENTION_S),
    help="Time in which the backlog shall be gone.",
)
@click.option(
    "--processing",
    "processing_s",
    type=Duration(0.001, MAX_PROCESSING_S),
    help="Time that a message takes on average: 2s, 500ms. [default: what the workload's workers measured]",
)
@click.option(
    "--processing-spread",
    "processing_cv",
    type=Seconds(min=0, max=100),
    default=0.0,
    show_default=True,
    help="Its coefficient of variation (deviation / mean); 1 for exponential times.",
)
@click.option(
    "--longest",
    "longest_s",
    type=Duration(0.001, MAX_S),
    help="The longest time that a message takes. [default: by mean and spread]",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    help="Messages an instance works on at a time. [default: the workload's, or 1]",
)
@click.option(
    "--promise",
    "promise_s",
    type=Duration(0.001, RETENTION_S),
    help="Time from arrival to start that messages may wait: 5m. [default: the workload's]",
)
@click.option(
    "--percent",
    type=Seconds(min=50, max=99.99),
    help="Share of the messages that start within the promise. [default: the workload's, or 99]",
)
@click.option(
    "--boot",
    "boot_s",
    type=Duration(0, MAX_BOOT_S),
    help="Time from launch to the first message. [default: the workload's, or 3m]",
)
@click.option("--max", "maximum", type=click.IntRange(1, 9999), help="The most instances that there may be.")
@click.option(
    "--scaling",
    type=click.Choice([each.value for each in Scaling]),
    help="The engine. [default: the one that the promise needs]",
)
@click.option(
    "--fleet",
    type=Fleet(),
    help="What it is made of, for its price: ec2:c7g.large, or fargate:0.25vcpu,0.5gb.",
)
@click.option("--price", type=Positive(10_000), help="Dollars an hour of an instance, your own.")
@click.option(
    "--lambda-memory",
    "lambda_gb",
    type=Positive(10),
    default=1.0,
    show_default=True,
    help="GB of a function in place of the fleet.",
)
@click.option(
    "--write",
    "write",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Write the settings as an environment of a samconfig file. [default: --config-file, or "
    "./samconfig.toml]",
)
@click.option("--name", metavar="NAME", help="Of that environment, its queue and its fleet.")
@click.option("--replace", is_flag=True, help="Set the parameters of an environment that exists.")
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object (docs/schemas/plan.json).")
@click.option(
    "--refresh-prices",
    is_flag=True,
    help="Read AWS's list prices of --region now, and keep them for later plans.",
)
@click.option("--profile", help="Of your AWS configuration. [default: AWS_PROFILE]")
@click.option("--region", help="Of the queue and the prices. [default: that of your AWS configuration]")
def plan(workload: str | None, **options: Any) -> None:
    """Plan how many workers a load needs, with which settings, at what cost a month.

    What arrives is given by --arrivals, a --trace, the history of a --queue, or that of a WORKLOAD: an
    environment of samconfig.toml or a file with a workload document, whose workers' processing times are read
    as well. Only these two read AWS, and --refresh-prices does. Exits with 1 if the promise cannot be kept.
    """
    given = _Given(workload=workload, options=options)
    prices = _prices(given)
    if prices is None:
        return
    path = _written_file(options["write"])
    with as_usage_errors():
        report = _planned(given, prices, path)
    if options["as_json_"]:
        click.echo(json.dumps(as_json(report), indent=2, allow_nan=False))
    else:
        _print(report)
    if report.plan.shortfalls:
        if path is not None:
            click.echo("Nothing is written: the promise cannot be kept.", err=True)
        sys.exit(1)
    if path is not None:
        samconfig.write_environment(path, given.name, report.parameters, replace=options["replace"])
        click.echo(f"{path}: wrote environment {given.name}", err=options["as_json_"])


def _written_file(write: str | None) -> Path | None:
    """The file to write to; None if nothing is to be written."""
    if write is None:
        return None
    chosen = click.get_current_context().meta.get(SAMCONFIG_KEY, Path("samconfig.toml"))
    return Path(write) if write else chosen


def _print(report: Report) -> None:
    """Sentences are broken for a terminal only: what reads a pipe breaks them itself."""
    is_terminal = (sys.stdout is not None and sys.stdout.isatty()) or "COLUMNS" in os.environ
    console = Console(highlight=False, width=None if is_terminal else WIDTH)
    console.print(asked(report.demand, report.plan), style="bold", soft_wrap=not is_terminal)
    console.print(shown(report))
    for sentence in sentences(report):
        console.print(sentence, soft_wrap=not is_terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """The command line."""

    workload: str | None
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the environment."""
        chosen: str = self.options["name"] or self.workload or self.options["queue_name"] or DEFAULT_NAME
        return chosen

    @property
    def has_source(self) -> bool:
        """Whether anything says what arrives."""
        return any(self._sources().values())

    def require_one_source(self) -> None:
        """UsageError unless one thing says what arrives."""
        found = [name for name, is_given in self._sources().items() if is_given]
        if len(found) != 1:
            several = f"{' and '.join(found)} each say what arrives: give only one" if found else ""
            raise UsageError(
                several
                or "nothing says what arrives: give --arrivals 600000/day, --trace FILE, --queue NAME or a "
                "WORKLOAD"
            )

    def _sources(self) -> dict[str, bool]:
        options = self.options
        return {
            "--arrivals": options["arrivals_per_s"] is not None,
            "--trace": options["trace"] is not None,
            "--queue": options["queue_name"] is not None,
            "WORKLOAD": self.workload is not None
            and all(options[each] is None for each in ("arrivals_per_s", "trace", "queue_name")),
        }


def _prices(given: _Given) -> Prices | None:
    """The prices to use; None if they were to be refreshed and nothing else was asked."""
    if not given.options["refresh_prices"]:
        with as_usage_errors():
            return in_use()
    with _as_usage_errors_of_prices(), ProgressBar(Console(stderr=True)) as bar:
        profile = given.options["profile"]
        region = AwsSession(profile=profile, region=given.options["region"]).region
        client = AwsSession(profile=profile, region=endpoint_region(region)).client("pricing")
        fleet = given.options["fleet"]
        extra = [fleet.instance_type] if fleet is not None and fleet.instance_type else []
        prices = read_prices(client, region, in_use(), datetime.now(UTC).date(), extra, on_step=bar.step)
        click.echo(f"{keep(prices)}: {prices}", err=True)
    return prices if given.has_source else None


@contextmanager
def _as_usage_errors_of_prices() -> Iterator[None]:
    try:
        yield
    except SluiceError as failure:
        raise UsageError(with_way_out(str(failure), "plan")) from failure


def _planned(given: _Given, prices: Prices, path: Path | None) -> Report:
    given.require_one_source()
    options = given.options
    described = registered(given.workload) if given.workload is not None else None
    arrivals, measured, notes = _arrivals(given, described)
    demand = _demand(options, described, arrivals, measured)
    _require_something(demand)
    try:
        planned = made_plan(demand, Scaling(options["scaling"]) if options["scaling"] else None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    base = _base(given, path)
    made = plan_environment.parameters(planned, demand, base)
    price = _fleet_price(options, prices)
    stacks = plan_environment.stacks(made)
    return Report(
        demand=demand,
        plan=planned,
        prices=prices,
        own_prices=user_file().exists(),
        lines=per_month(planned, demand, stacks, prices, price),
        once=drain_cost(demand, price) if price is not None and demand.backlog else None,
        fleet=price,
        on_lambda=on_lambda(demand, options["lambda_gb"], prices),
        parameters=made,
        name=given.name,
        is_named=given.name != DEFAULT_NAME,
        notes=[*notes, *planned.notes],
    )


def _arrivals(given: _Given, described: Workload | None) -> tuple[Arrivals, Mapping[str, float], list[str]]:
    """(what arrives, what the workers measured, what to know about it)."""
    options = given.options
    if options["arrivals_per_s"] is not None:
        return Arrivals(per_s=options["arrivals_per_s"]), {}, []
    if options["trace"] is not None:
        trace = _trace(options["trace"])
        return Arrivals.counted(trace.arrivals.tolist(), trace.interval_s), {}, []
    reader = HistoryReader(options["days"], profile=options["profile"], region=options["region"])
    if options["queue_name"] is not None:
        history = reader.queue(options["queue_name"])
        return history.arrivals, {}, [*history.notes]
    assert described is not None
    history = reader.queue(described.queue_name)
    if options["processing_s"] is not None:
        return history.arrivals, {}, [*history.notes]
    times = reader.processing_times(described)
    require_plausible(described, history, times, _concurrency(options, described))
    notes = [*history.notes]
    if times.cv is None:
        notes.append("CloudWatch has no percentiles of the processing times: their spread is taken as 0")
    return (
        history.arrivals,
        {"mean_s": times.mean_s, "cv": times.cv or 0.0, "longest_s": times.longest_s},
        notes,
    )


def _trace(source: Path | Generated) -> traces.Trace:
    if isinstance(source, Path):
        return traces.read(source)
    return generators.generate(
        source.shape, days=source.days, per_day=source.per_day, interval_s=source.interval_s, seed=0
    )


def _demand(
    options: Mapping[str, Any], described: Workload | None, arrivals: Arrivals, measured: Mapping[str, float]
) -> Demand:
    deadline = described.deadline if described is not None else None
    target = described.target if described is not None else None
    promise_s = options["promise_s"]
    if promise_s is None and deadline is not None:
        promise_s = deadline.promise_s
    if promise_s is None and isinstance(target, DynamicTarget):
        promise_s = target.acceptable_latency_s
    if promise_s is None:
        raise UsageError("no promise: give --promise 5m, the time that a message may wait for its start")
    processing_s = options["processing_s"] or measured.get("mean_s")
    if processing_s is None:
        raise UsageError("no processing time: give --processing 2s, the time that a message takes on average")
    given_cv = click.get_current_context().get_parameter_source("processing_cv")
    spread = options["processing_cv"] if given_cv is not ParameterSource.DEFAULT else measured.get("cv", 0.0)
    longest_s = options["longest_s"] or measured.get("longest_s")
    if longest_s is not None and longest_s < processing_s:
        raise UsageError(
            f"--longest: {longest_s:g} s is shorter than the mean of {processing_s:g} s: check their units"
        )
    if options["drain_within_s"] is not None and not options["backlog"]:
        raise UsageError("--drain-in says when a backlog shall be gone: give --backlog, too")
    return Demand(
        arrivals=arrivals,
        processing_s=processing_s,
        processing_cv=spread,
        longest_s=longest_s,
        concurrency=_concurrency(options, described),
        promise_s=promise_s,
        promise_percent=options["percent"] or (deadline.promise_percent if deadline is not None else 99.0),
        boot_s=_first(options["boot_s"], deadline.boot_s if deadline is not None else None, 180.0),
        backlog=options["backlog"],
        drain_within_s=options["drain_within_s"],
        maximum=options["maximum"],
    )


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _concurrency(options: Mapping[str, Any], described: Workload | None) -> int:
    if options["concurrency"] is not None:
        return int(options["concurrency"])
    return max(1, round(described.target.concurrency_per_instance)) if described is not None else 1


def _require_something(demand: Demand) -> None:
    if not demand.arrivals.per_s and not demand.backlog:
        raise UsageError(
            "nothing arrives and nothing waits, so there is nothing to plan: give --backlog, too"
        )


def _base(given: _Given, path: Path | None) -> dict[str, str]:
    """The parameters that the planned ones are laid over: of the workload, or of what is to be replaced."""
    if given.workload is not None:
        return parameters(given.workload) | ({"Name": given.name} if given.options["name"] else {})
    if path is not None and given.options["replace"] and path.exists():
        existing = deployment.environments_of(path)
        if given.name in existing:
            return existing[given.name]
    fleet: FleetKind | None = given.options["fleet"]
    base = plan_environment.named(given.name, fleet.fleet_type if fleet is not None else "asg")
    if given.options["queue_name"] is not None:
        base["QueueName"] = given.options["queue_name"]
    return base


def _fleet_price(options: Mapping[str, Any], prices: Prices) -> FleetPrice | None:
    fleet: FleetKind | None = options["fleet"]
    if options["price"] is not None:
        label = fleet.label if fleet is not None else "instances at your own price"
        return FleetPrice(label=label, usd_per_hour=options["price"])
    return fleet.price(prices) if fleet is not None else None
