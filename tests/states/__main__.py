"""Search every scope: `python -m tests.states [--depth N] [SCOPE ...]`."""

from __future__ import annotations

import sys

import click

from tests.states.scopes import SCOPES
from tests.states.search import search


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(SCOPES)))
@click.option("--depth", type=int, help="Moves after which each search ends; without it, when no state is new.")
@click.option("--states", type=int, help="States after which each search ends, with the depth that it is at.")
def main(names: tuple[str, ...], depth: int | None, states: int | None) -> None:
    for name in names or SCOPES:
        found = search(SCOPES[name], max_depth=depth, max_states=states)
        click.echo(f"\n{found}")
        if found.story:
            sys.exit(found.story)


if __name__ == "__main__":
    main()
