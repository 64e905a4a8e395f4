"""A click option type for a list of counts, for the benchmarks that measure several sizes."""

from __future__ import annotations

from typing import Any

import click


class Counts(click.ParamType):
    """`10,100,1000`, without duplicates."""

    name = "COUNT,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The counts; fails as click does."""
        if not isinstance(value, str):
            counts: tuple[int, ...] = value
            return counts
        parts = value.split(",")
        if not all(part.strip().isdecimal() and int(part) for part in parts):
            self.fail(f"{value!r} is not a list of whole numbers above 0, such as 10,100", param, ctx)
        return tuple(dict.fromkeys(map(int, parts)))
