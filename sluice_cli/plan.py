"""`sluice plan`: how many workers a load needs, with which settings, and what that costs a month."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from sluice.core.model import Workload
from sluice.errors import SluiceError
from sluice.ports import Registry
from sluice_cli import plan_environment, samconfig
from sluice_cli.plan_demand import DEFAULT_NAME, Given, arrivals_of, demand_of, require_something
from sluice_cli.plan_inputs import FleetKind, fleet_price
from sluice_cli.plan_options import plan_options
from sluice_cli.plan_report import Report, as_json, asked, sentences, shown
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError, as_usage_errors
from sluice_cli.workloads import CHECKOUT, SAMCONFIG_KEY, parameters, registered
from sluice_operator.account import open_account
from sluice_operator.aws.price_list import endpoint_region, read_prices
from sluice_operator.core.engine_choice import Scaling
from sluice_operator.core.monthly_cost import drain_cost, on_lambda, per_month
from sluice_operator.core.planning import plan as made_plan
from sluice_operator.core.prices import Prices
from sluice_operator.core.ways_out import with_way_out
from sluice_operator.price_files import in_use, keep, to_refresh, user_file
from sluice_operator.session import AwsSession
from sluice_operator.status import registered_workload
from sluice_sim.template import deployment
from sluice_sim.template.deployment import workload_parameters

WIDTH = 110
"""Characters per line where the output is not a terminal."""
EMBEDDED_READ_S = 60.0


@click.command()
@plan_options
def plan(workload: str | None, **options: Any) -> None:
    """Plan how many workers a load needs, with which settings, at what cost a month.

    What arrives is given by --arrivals, a --trace, the history of a --queue, or that of a WORKLOAD: an
    environment of samconfig.toml or a file with a workload document, whose workers' processing times are read
    as well. Only these two read AWS, and --refresh-prices does. Exits with 1 if the promise cannot be kept.
    """
    given = Given(workload=workload, options=options)
    given.require_what_is_embedded()
    prices = _prices(given)
    if prices is None:
        return
    path = _written_file(given)
    with as_usage_errors(), _embedded_registry(given) as registry:
        report = _planned(given, prices, path, registry)
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


def _written_file(given: Given) -> Path | None:
    """The file to write to, where there is room for the environment; None if nothing is to be written."""
    write, replace = given.options["write"], given.options["replace"]
    if write is None:
        if replace:
            raise UsageError("--replace says how an environment is written: give --write, too")
        return None
    chosen = click.get_current_context().meta.get(SAMCONFIG_KEY, Path("samconfig.toml"))
    path = Path(write) if write else chosen
    samconfig.require_room(path, given.name, replace=replace)
    return path


def _print(report: Report) -> None:
    """Sentences are broken for a terminal only: what reads a pipe breaks them itself."""
    is_terminal = (sys.stdout is not None and sys.stdout.isatty()) or "COLUMNS" in os.environ
    console = Console(highlight=False, width=None if is_terminal else WIDTH)
    console.print(asked(report.demand, report.plan), style="bold", soft_wrap=not is_terminal)
    console.print(shown(report))
    for sentence in sentences(report):
        console.print(sentence, soft_wrap=not is_terminal)


def _prices(given: Given) -> Prices | None:
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
        prices = read_prices(client, region, to_refresh(), datetime.now(UTC).date(), extra, on_step=bar.step)
        click.echo(f"{keep(prices)}: {prices}", err=True)
    return prices if given.has_source else None


@contextmanager
def _as_usage_errors_of_prices() -> Iterator[None]:
    try:
        yield
    except SluiceError as failure:
        raise UsageError(with_way_out(str(failure), "plan")) from failure


@contextmanager
def _embedded_registry(given: Given) -> Iterator[Registry | None]:
    """With --embedded the registry of an account with a past, which alone is read within the context."""
    if not given.options["embedded"]:
        yield None
        return
    from sluice_sim.embedded.account_with_a_past import account_with_a_past  # it takes a second to import

    with account_with_a_past(CHECKOUT):
        yield open_account(AwsSession(), deployment.PLANE).ports.registry


def _planned(given: Given, prices: Prices, path: Path | None, embedded: Registry | None) -> Report:
    given.require_one_source()
    options = given.options
    described = _described(given.workload, embedded) if given.workload is not None else None
    arrivals, measured, notes = arrivals_of(given, described)
    demand = demand_of(options, described, arrivals, measured)
    require_something(demand)
    try:
        planned = made_plan(demand, Scaling(options["scaling"]) if options["scaling"] else None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    base = _base(given, path, described if embedded is not None else None)
    made = plan_environment.parameters(planned, demand, base)
    price = fleet_price(options["fleet"], options["price"], prices)
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


def _described(name: str, embedded: Registry | None) -> Workload:
    """The workload, as its environment or its document describes it, or as the embedded account has it."""
    if embedded is None:
        return registered(name)
    return registered_workload(embedded, name, lambda: EMBEDDED_READ_S)


def _base(given: Given, path: Path | None, embedded: Workload | None) -> dict[str, str]:
    """The parameters that the planned ones are laid over: of the workload, or of what is to be replaced."""
    if given.workload is not None:
        present = parameters(given.workload) if embedded is None else workload_parameters(embedded)
        return present | ({"Name": given.name} if given.options["name"] else {})
    if path is not None and given.options["replace"] and path.exists():
        existing = deployment.environments_of(path)
        if given.name in existing:
            return existing[given.name]
    fleet: FleetKind | None = given.options["fleet"]
    base = plan_environment.named(given.name, fleet.fleet_type if fleet is not None else "asg")
    if given.options["queue_name"] is not None:
        base["QueueName"] = given.options["queue_name"]
    return base
