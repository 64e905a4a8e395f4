"""The options of `sluice plan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from sluice_cli.plan_inputs import FLEET, QUEUE_NAME, RATE, duration_between, positive_up_to
from sluice_cli.settings import Seconds, TraceSource
from sluice_cli.workloads import COMPLETE, config_file
from sluice_operator.core.engine_choice import Scaling

MAX_BOOT_S = 9999.0
"""workload.yaml's BootSeconds."""
MAX_S = 30 * 86_400.0
MAX_PROCESSING_S = 43_200.0
"""SQS keeps a message hidden for twelve hours at most."""
RETENTION_S = 14 * 86_400.0
"""SQS keeps a message for two weeks at most."""
MAX_BACKLOG = 10**12
OPTIONS: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
    click.argument("workload", required=False, shell_complete=COMPLETE),
    config_file,
    click.option(
        "--arrivals",
        "arrivals_per_s",
        type=RATE,
        help="Messages that arrive: 7/s, 420/min, 25000/hour or 600000/day.",
    ),
    click.option(
        "--trace",
        type=TraceSource(),
        help="Arrivals by interval instead: a file, or a shape, as of `simulate`.",
    ),
    click.option("--queue", "queue_name", type=QUEUE_NAME, help="The history of this queue instead."),
    click.option(
        "--days", type=click.IntRange(2, 455), default=14, show_default=True, help="Of history to read."
    ),
    click.option(
        "--backlog", type=click.IntRange(0, MAX_BACKLOG), default=0, help="Messages that wait already."
    ),
    click.option(
        "--drain-in",
        "drain_within_s",
        type=duration_between(1, RETENTION_S),
        help="Time in which the backlog shall be gone.",
    ),
    click.option(
        "--processing",
        "processing_s",
        type=duration_between(0.001, MAX_PROCESSING_S),
        help="Time that a message takes on average: 2s, 500ms. [default: as the workload's workers measured]",
    ),
    click.option(
        "--processing-spread",
        "processing_cv",
        type=Seconds(min=0, max=100),
        default=0.0,
        show_default=True,
        help="Its coefficient of variation (deviation / mean); 1 for exponential times.",
    ),
    click.option(
        "--longest",
        "longest_s",
        type=duration_between(0.001, MAX_S),
        help="The longest time that a message takes. [default: by mean and spread]",
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(1, 1000),
        help="Messages an instance works on at a time. [default: the workload's, or 1]",
    ),
    click.option(
        "--promise",
        "promise_s",
        type=duration_between(0.001, RETENTION_S),
        help="Time from arrival to start that messages may wait: 5m. [default: the workload's]",
    ),
    click.option(
        "--percent",
        type=Seconds(min=50, max=99.99),
        help="Share of the messages that start within the promise. [default: the workload's, or 99]",
    ),
    click.option(
        "--boot",
        "boot_s",
        type=duration_between(0, MAX_BOOT_S),
        help="Time from launch to the first message. [default: the workload's, or 3m]",
    ),
    click.option("--max", "maximum", type=click.IntRange(1, 9999), help="The most instances there may be."),
    click.option(
        "--scaling",
        type=click.Choice([each.value for each in Scaling]),
        help="The engine. [default: the one that the promise needs]",
    ),
    click.option(
        "--fleet",
        type=FLEET,
        help="What it is made of, for its price: ec2:c7g.large, or fargate:0.25vcpu,0.5gb.",
    ),
    click.option("--price", type=positive_up_to(10_000), help="Dollars an hour of an instance, your own."),
    click.option(
        "--lambda-memory",
        "lambda_gb",
        type=positive_up_to(10),
        default=1.0,
        show_default=True,
        help="GB of a function in place of the fleet.",
    ),
    click.option(
        "--write",
        "write",
        is_flag=False,
        flag_value="",
        metavar="[FILE]",
        help="Write the settings as an environment of a samconfig file. [default: --config-file, or "
        "./samconfig.toml]",
    ),
    click.option("--name", metavar="NAME", help="Of that environment, its queue and its fleet."),
    click.option("--replace", is_flag=True, help="Set the parameters of an environment that exists."),
    click.option("--json", "as_json_", is_flag=True, help="Print one JSON object (docs/schemas/plan.json)."),
    click.option(
        "--refresh-prices",
        is_flag=True,
        help="Read AWS's list prices of --region now, and keep them for later plans.",
    ),
    click.option(
        "--embedded",
        is_flag=True,
        help="Read two days of queue-proc that the embedded AWS has played instead: no account is needed.",
    ),
    click.option("--profile", help="Of your AWS configuration. [default: AWS_PROFILE]"),
    click.option("--region", help="Of the queue and the prices. [default: that of your AWS configuration]"),
]


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument and every option to the command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
