"""What a shell offers after a tab for the values of arguments and options.

Owns how names become offers: those that begin as what was typed, or else files. Never fails: a shell has no
place for a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
FILE = "file"


def names(known: Callable[[click.Context], Iterable[str]], *, or_files: bool = False) -> Complete:
    """One of these names."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
        found = [CompletionItem(name) for name in known(ctx) if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type=FILE)] * or_files

    return complete


def several(known: Callable[[click.Context], Iterable[str]]) -> Complete:
    """Some of these names, with commas between: the last one is completed."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(f"{before}{comma}{name}") for name in known(ctx) if name.startswith(last)]

    return complete
