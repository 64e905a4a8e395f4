"""Search every scope as deep as `make states` does: `python -m tests.states [--depth N] [SCOPE ...]`."""

from __future__ import annotations

import sys

import click

from tests.states.scopes import SEARCHES
from tests.states.search import search


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(SEARCHES)))
@click.option("--depth", type=int, help="Moves after which each search ends, instead of its own.")
@click.option("--share", is_flag=True, help="Only as deep as the tests go.")
def main(names: tuple[str, ...], depth: int | None, share: bool) -> None:
    """Search these scopes, or all of them; the first wrong state ends the search with its story."""
    for name in names or SEARCHES:
        chosen = SEARCHES[name]
        found = search(chosen.scope, max_depth=depth or (chosen.share if share else chosen.whole))
        click.echo(found)
        if found.story:
            sys.exit(found.story)


if __name__ == "__main__":
    main()
