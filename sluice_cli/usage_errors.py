"""How the command says no: one line that names what is wrong and the way out, and exit status 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from sluice.errors import SluiceError
from sluice_sim.template.deployment import SettingError
from sluice_sim.template.errors import TemplateError


class Refused(click.ClickException):
    """Something a person has to change before this can be done."""

    exit_code = 2


@contextmanager
def refusals(*, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn what the project refuses into one line; a defect passes, and what the caller tells itself."""
    try:
        yield
    except but:
        raise
    except TemplateError as refused:
        raise Refused("; ".join(refused.problems)) from refused
    except (SettingError, SluiceError) as refused:
        raise Refused(str(refused)) from refused
