"""How the command reports a usage error: one line that names the problem and the way out, exit status 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from sluice.errors import SluiceError
from sluice_sim.template.deployment import SettingError
from sluice_sim.template.errors import TemplateError


class UsageError(click.ClickException):
    """The user has to change something before this can be done."""

    exit_code = 2


@contextmanager
def as_usage_errors(*, except_for: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn the project's errors into a UsageError; a defect, and `except_for`, passes through."""
    try:
        yield
    except except_for:
        raise
    except TemplateError as error:
        raise UsageError("; ".join(error.problems)) from error
    except (SettingError, SluiceError) as error:
        raise UsageError(str(error)) from error
