"""`sluice`: the operator's command. One module per subcommand; this one only collects them.

A subcommand's module is imported when the subcommand runs: the simulator's numerical libraries take seconds.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

try:
    import click
    from click.shell_completion import CompletionItem

    from sluice_cli.terminal import exit_quietly, replace_unencodable_characters
except ModuleNotFoundError as absent:  # the wheel alone, or with the extra `worker`
    sys.exit(f"sluice needs the package {absent.name}: install the wheel with its extra `cli`")

COMMANDS = {
    "status": "Show what every workload does now, and what is wrong with it.",
    "explain": "Show why a workload did or did not scale, as a timeline.",
    "doctor": "Check what keeps a workload from scaling, and say what to do about it.",
    "pause": "Hold a workload's scaling at once, in both directions or in one.",
    "resume": "End a workload's pause at once.",
    "surge": "Raise a workload's fleet at once, and hold it for some time.",
    "switch": "Make the other color of a blue/green workload the active one, step by step.",
    "dead-letters": "Show which messages of a workload were given up, and why; send them back.",
    "cost": "Show what Sluice and the fleets cost a month, item by item.",
    "plan": "Plan how many workers a load needs, with which settings, at what cost a month.",
    "demo": "Run example workloads from their minimum to their peak and back.",
    "validate": "Check workloads as a deploy would, and print their documents.",
    "events": "Print a sample event for a function, filled for a workload.",
    "simulate": "Simulate a trace of arrivals against a workload and a way of scaling.",
    "trace": "Write a generated trace of arrivals.",
    "recommend": "Recommend the cheapest settings that keep the promise, from a queue's history.",
    "history": "Write the arrivals of the last days as a trace, from CloudWatch.",
}


class _LazyGroup(click.Group):
    def make_context(self, *args: Any, **named: Any) -> click.Context:
        replace_unencodable_characters()
        with exit_quietly():
            return super().make_context(*args, **named)

    def invoke(self, ctx: click.Context) -> Any:
        with exit_quietly():  # inside click's handling, which would turn both into exit status 1
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"sluice_cli.{cmd_name.replace('-', '_')}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The matching commands, without importing them, and the options."""
        found = [
            CompletionItem(name, help=about)
            for name, about in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sluice", message="sluice %(version)s")
def main() -> None:
    """Keep the latency promise of an SQS queue with the fewest workers."""
