"""An option that is a list of counts, for every benchmark that measures several sizes."""

from __future__ import annotations

from typing import Any

import click


class Counts(click.ParamType):
    """`10,100,1000`; what is given twice counts once."""

    name = "COUNT,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The counts, or click's refusal."""
        if not isinstance(value, str):
            counts: tuple[int, ...] = value
            return counts
        parts = value.split(",")
        if not all(part.strip().isdecimal() and int(part) for part in parts):
            self.fail(f"{value!r} is not a list of whole numbers above 0, such as 10,100", param, ctx)
        return tuple(dict.fromkeys(map(int, parts)))
