"""Shell completion for the values of arguments and options: matching names, or else files.

Completion must never fail: a shell has no place to show an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
FILE = "file"


def names(known: Callable[[click.Context], Iterable[str]], *, or_files: bool = False) -> Complete:
    """Complete one of these names; with `or_files`, a file where no name matches."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
        found = [CompletionItem(name) for name in known(ctx) if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type=FILE)] * or_files

    return complete


def several(known: Callable[[click.Context], Iterable[str]]) -> Complete:
    """Complete the last of several names that are separated by commas."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(f"{before}{comma}{name}") for name in known(ctx) if name.startswith(last)]

    return complete
