"""`sluice`: the operator's command. One file per subcommand; this one only gathers them."""

from __future__ import annotations

import click

from sluice_cli.demo import demo


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sluice", message="sluice %(version)s")
def main() -> None:
    """Keep the latency promise of an SQS queue with the fewest workers."""


main.add_command(demo)
