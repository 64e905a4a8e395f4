"""`sluice recommend`: the cheapest settings that keep the promise, from the workload's own history."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from click.core import ParameterSource

from sluice.core.model import AutoScalingGroup
from sluice_cli import recommend_json, recommend_tables
from sluice_cli.aws_account import COMPLETE, AccountOptions, account_options, opened
from sluice_cli.outputs import require_writable_directory
from sluice_cli.plan_inputs import FLEET, FleetKind, fleet_price, positive_up_to
from sluice_cli.progress import ProgressBar
from sluice_cli.recommend_past import GivenLoad, past_of_queue, past_of_trace
from sluice_cli.recommend_report import write_report
from sluice_cli.recommend_tables import Presented
from sluice_cli.settings import TIME, Seconds, TimeZone, TraceSource
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError, as_usage_errors
from sluice_cli.workloads import config_file
from sluice_operator.price_files import in_use
from sluice_sim.study.advice import Past, advise
from sluice_sim.study.experiment import Generated
from sluice_sim.workloads import limits

FINDING = 1
LOAD_OPTIONS = ("--duration-s", "--duration-cv", "--durations")
ACCOUNT_OPTIONS = ("--days", "--profile", "--region", "--endpoint-url", "--stack", "--embedded")
WIDTH = 100
"""Of the output where there is no terminal."""
MIN_DAYS, MAX_DAYS = 2, 15
"""CloudWatch keeps one-minute values for 15 days; half of two is the least to judge by."""


@click.command()
@click.argument("workload", shell_complete=COMPLETE)
@config_file
@click.option("--days", type=click.IntRange(MIN_DAYS, MAX_DAYS), default=14, show_default=True)
@click.option(
    "--trace",
    "trace_source",
    type=TraceSource(),
    help="Arrivals of a file or a generated shape instead of the queue's history, as of `simulate`; WORKLOAD "
    "is then an environment of samconfig.toml or a file. What really happened is not known then.",
)
@click.option(
    "--duration-s",
    type=TIME,
    default=5.0,
    show_default=True,
    help="With --trace: seconds to process a message.",
)
@click.option(
    "--duration-cv",
    "variation",
    type=Seconds(min=0, max=limits.MAX_VARIATION),
    default=0.0,
    show_default=True,
    help="With --trace: their coefficient of variation.",
)
@click.option(
    "--durations",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --trace: processing times drawn from the column duration_s of this file instead.",
)
@click.option(
    "--fleet",
    type=FLEET,
    help="What it is made of, for its price: ec2:c7g.large, or fargate:0.25vcpu,0.5gb.",
)
@click.option("--price", type=positive_up_to(10_000), help="Dollars an hour of an instance, your own.")
@click.option(
    "--time-zone",
    type=TimeZone(),
    default="UTC",
    show_default=True,
    help="By whose clock schedules are proposed, where the arrivals are weekly: Europe/Berlin.",
)
@click.option("--no-schedules", is_flag=True, help="Propose no schedules.")
@click.option(
    "--fail-above-saving",
    "fail_above_percent",
    type=Seconds(min=0, max=100),
    default=10.0,
    show_default=True,
    metavar="PERCENT",
    help="Exit with 1 where this share of the instance-hours or more can be saved.",
)
@click.option(
    "--report",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path, readable=False),
    help="Write report.html and pictures of the worst day there, present against recommended.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schemas/recommend.json).")
@account_options
def recommend(
    workload: str,
    days: int,
    trace_source: Path | Generated | None,
    duration_s: float,
    variation: float,
    durations: Path | None,
    fleet: FleetKind | None,
    price: float | None,
    time_zone: str,
    no_schedules: bool,
    fail_above_percent: float,
    directory: Path | None,
    account: AccountOptions,
    *,
    as_json: bool,
) -> None:
    """Recommend the cheapest settings that keep the promise, from the workload's own history.

    WORKLOAD is the name of a registered workload. First its present settings are simulated on what arrived,
    and compared with what happened: nothing is recommended on a simulation that is off by more than 10 % of
    the instance-hours or 5 points of the share of messages in time. Settings are tuned on the first half of
    the days and judged on the second. Takes read permissions alone (docs/policies/recommend.json). Exits with
    1 if a saving is found, or a broken promise.
    """
    if directory is not None:
        require_writable_directory(directory)
    _require_one_source(has_trace=trace_source is not None)
    with (
        as_usage_errors(),
        TemporaryDirectory(prefix="sluice-recommend-") as name,
        ProgressBar(Console(stderr=True)) as bar,
    ):
        folder = Path(name)
        prices = in_use()
        cost = fleet_price(fleet, price, prices)
        if trace_source is None:
            with opened(account, "recommend", bar, embedded=_with_a_past) as chosen:
                past = past_of_queue(chosen.account, workload, days, folder, bar.step)
        else:
            given = GivenLoad(
                trace=trace_source, duration_s=duration_s, variation=variation, durations=durations
            )
            past = past_of_trace(workload, given, folder)
        _require_fitting(fleet, workload, past)
        advice = advise(past, folder, bar.show, None if no_schedules else time_zone)
        presented = Presented(
            workload=workload,
            past=past,
            advice=advice,
            fleet=cost,
            prices=None if price is not None else prices,
            fail_above_percent=fail_above_percent,
        )
        if as_json:
            bar.stop()
            click.echo(json.dumps(recommend_json.document(presented), allow_nan=False, indent=2))
        else:
            bar.stop()
            console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
            console.print(recommend_tables.shown(presented))
        if advice.refused:
            raise UsageError(advice.refused)
        if directory is not None:
            write_report(presented, folder, directory)
    sys.exit(FINDING if presented.saves or presented.breaks else 0)


def _require_fitting(fleet: FleetKind | None, workload: str, past: Past) -> None:
    """UsageError for tasks of Fargate in a group; a service may run on EC2 instances of any type."""
    runs_on = past.experiment.deployed().workload.fleet
    if fleet is not None and fleet.instance_type is None and isinstance(runs_on, AutoScalingGroup):
        raise UsageError(
            f"--fleet {fleet.label}: {workload} runs on {runs_on}, which starts EC2 instances: give ec2:TYPE"
        )


def _require_one_source(*, has_trace: bool) -> None:
    """UsageError for an option of a trace without one, or of an account beside one."""
    ctx = click.get_current_context()
    given = {
        param.opts[0]
        for param in ctx.command.params
        if param.name and ctx.get_parameter_source(param.name) is not ParameterSource.DEFAULT
    }
    if not has_trace and (load := [name for name in LOAD_OPTIONS if name in given]):
        raise UsageError(f"{load[0]} describes the load of --trace: give --trace too, or leave it out")
    if has_trace and (read := [name for name in ACCOUNT_OPTIONS if name in given]):
        raise UsageError(f"--trace reads no account: leave {read[0]} out")


@contextmanager
def _with_a_past(root: Path) -> Iterator[object]:
    from sluice_sim.embedded.account_with_a_past import account_with_a_past  # it takes a second to import

    with account_with_a_past(root) as aws:
        yield aws
