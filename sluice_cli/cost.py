"""`sluice cost`: what the control plane, the workloads' stacks, their workers' metrics and fleets cost."""

from __future__ import annotations

import json
import sys
import time

import click

from sluice.core.model import Unknown
from sluice_cli import completion, cost_json, cost_tables
from sluice_cli.aws_account import AccountOptions, account_options, opened, registered
from sluice_cli.cost_tables import Presented
from sluice_cli.plan_inputs import FLEET, FleetKind, fleet_price, positive_up_to
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError, as_usage_errors
from sluice_operator.core.account_bill import WorkloadBill, plane_bill, workers_bill, workload_bill
from sluice_operator.core.hardware import price_of
from sluice_operator.core.monthly_cost import FleetPrice
from sluice_operator.core.prices import Prices
from sluice_operator.cost.account import Costs, read_costs
from sluice_operator.cost.workloads import WorkloadCost
from sluice_operator.price_files import in_use, shipped

READ_LIMIT_S = 600.0
WIDTH = 120
"""Of the output where there is no terminal."""
ALL = "all"
FINDING = 1
COMPLETE_OR_ALL = completion.names(lambda ctx: [*registered(ctx), ALL])
"""Shell completion of WORKLOAD, a registered one, and of `all`."""


@click.command()
@click.argument("workload", required=False, shell_complete=COMPLETE_OR_ALL)
@click.option(
    "--fleet",
    type=FLEET,
    help="What the workload's instances are, for their price: ec2:c7g.large, or fargate:0.25vcpu,0.5gb.",
)
@click.option("--price", type=positive_up_to(10_000), help="Dollars an hour of an instance, your own.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schemas/cost.json).")
@account_options
def cost(
    workload: str | None,
    fleet: FleetKind | None,
    price: float | None,
    account: AccountOptions,
    *,
    as_json: bool,
) -> None:
    """Show what Sluice costs a month in this account, item by item, and what the fleets have cost.

    Without WORKLOAD: the control plane itself. With the name of a registered workload: its stack, its
    workers' metrics and its fleet. `all`: the control plane and every workload, a line each. Quantities are
    those of the deployed stacks and of the last 30 days in CloudWatch, at dated list prices. Takes read
    permissions alone (docs/policies/cost.json). Exits with 1 if an item, or some hours of a fleet, could not
    be read: the sums say what they lack.
    """
    if workload in (None, ALL) and (fleet is not None or price is not None):
        raise UsageError(
            f"{'--price' if fleet is None else '--fleet'} is of one workload's instances: name the workload"
        )
    with as_usage_errors(), ProgressBar(Console(stderr=True)) as bar:
        prices = in_use()
        given = fleet_price(fleet, price, prices)
        with opened(account, "cost", bar) as chosen:
            end_s = time.monotonic() + READ_LIMIT_S
            costs = read_costs(
                chosen.account,
                [] if workload in (None, ALL) else [workload],
                lambda: end_s - time.monotonic(),
                with_plane=workload in (None, ALL),
                with_workloads=workload is not None,
                with_hardware=given is None,
                on_step=bar.step,
            )
            stack = chosen.account.plane.stack
    presented = _presented(costs, stack, prices, given)
    if as_json:
        click.echo(json.dumps(cost_json.document(presented), allow_nan=False, indent=2))
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
        console.print(cost_tables.shown(presented, console.width, one=workload not in (None, ALL)))
    sys.exit(FINDING if presented.lacks else 0)


def _presented(costs: Costs, stack: str, prices: Prices, given: FleetPrice | None) -> Presented:
    return Presented(
        costs=costs,
        stack=stack,
        prices=prices,
        own_prices=prices is not shipped(),
        plane=None if costs.plane is None else plane_bill(costs.plane, prices),
        workloads=[_bill(each, prices, given) for each in costs.workloads],
    )


def _bill(found: WorkloadCost, prices: Prices, given: FleetPrice | None) -> WorkloadBill:
    usage = found.usage
    return WorkloadBill(
        name=found.name,
        stack=[] if usage is None else workload_bill(usage, prices),
        workers=[] if usage is None else workers_bill(usage, prices),
        fleet=found.fleet,
        price=given or price_of(found.hardware, prices),
        price_unread=given is None and isinstance(found.hardware, Unknown),
        notes=found.notes,
    )
