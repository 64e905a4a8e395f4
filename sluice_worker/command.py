"""`python -m sluice_worker`: options and variables made from the settings' fields."""

from __future__ import annotations

import difflib
import logging
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any, get_args

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sluice.errors import DocumentError, Problem, SluiceError
from sluice_worker.settings import Settings, settings

log = logging.getLogger(__name__)

PREFIX = "SLUICE_WORKER"
NAMES = {"queues": "queue"}
"""Options whose name differs from their field's."""
METAVARS = {"queues": "QUEUE", "dead_letter_queue": "URL", "heartbeat_file": "PATH"}
SECTIONS = {
    "handler": "What to work on",
    "min_concurrency": "How much at a time",
    "visibility_s": "What becomes of a message",
    "auto_scaling_group": "The fleet, and its end",
    "metrics": "Reports",
    "help": "Help",
}
"""The first option of each section of the help."""
HELP = """Consume SQS queues with a function of yours.

\b
python -m sluice_worker --handler thumbnails.app:handle \\
  --queue https://sqs.eu-west-1.amazonaws.com/123456789012/uploads=high

Reports MsgProcessingDuration, protects a busy instance or task while its fleet shrinks, and drains on
SIGTERM, a Spot notice or a lifecycle hook: what has not started goes back to its queue, what runs may finish.
"""


class _Command(click.Command):
    """A command whose help has sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their sections, in the order of the settings."""
        sections: dict[str, list[tuple[str, str]]] = {}
        title = ""
        for parameter in self.get_params(ctx):
            title = SECTIONS.get(parameter.name or "", title)
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    for name, field in reversed(Settings.model_fields.items()):
        command = _option(name, field)(command)
    return command


def _option(name: str, field: FieldInfo) -> Callable[[Callable[..., None]], Callable[..., None]]:
    option = NAMES.get(name, name)
    said = option.replace("_", "-")
    flag = field.annotation is bool
    more: dict[str, Any] = {} if flag else {"metavar": _metavar(name, field), "multiple": name == "queues"}
    return click.option(
        f"--{said}/--no-{said}" if flag else f"--{said}",
        name,
        default=None,
        envvar=f"{PREFIX}_{option.upper()}",
        help=f"{field.description}{_default(said, field.default)}",
        **more,
    )


def _default(said: str, default: object) -> str:
    """What is in force where the option is not given; descriptions say it where it is no plain value."""
    if default is None or default is PydanticUndefined:
        return ""
    if isinstance(default, bool):
        default = said if default else f"no-{said}"
    return f" [default: {default:g}]" if isinstance(default, float) else f" [default: {default}]"


def _metavar(name: str, field: FieldInfo) -> str:
    kinds = {field.annotation, *get_args(field.annotation)}
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return "|".join(kind)
    if name in METAVARS:
        return METAVARS[name]
    return "SECONDS" if name.endswith("_s") else "NUMBER" if int in kinds else "NAME"


@click.command(
    cls=_Command,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=f"Each option is also a variable: --grace-s 30 is {PREFIX}_GRACE_S=30, --no-protect is "
    f"{PREFIX}_PROTECT=no.",
)
@click.option(
    "--handler",
    metavar="MODULE:FUNCTION",
    required=True,
    envvar=f"{PREFIX}_HANDLER",
    help="Called with each message; returning is success, raising is failure. May be a coroutine function. "
    "With --batch it is called with a list.",
)
@_with_settings
def main(handler: str, **given: Any) -> None:
    """Parse the options, run the worker, and exit with its status."""
    # boto3 is not needed to print the help.
    from sluice_worker.supervisor import configure_logging, run
    from sluice_worker.wiring import variables

    configure_logging()
    _warn_unknown_variables(variables(f"{PREFIX}_"))
    try:
        chosen = settings({name: value for name, value in given.items() if value not in (None, ())})
        status = run(chosen, handler)
    except DocumentError as refused:
        raise _UsageError("\n".join(["these settings cannot be used:", *_lines(refused)])) from refused
    except SluiceError as refused:
        raise _UsageError(str(refused)) from refused
    sys.exit(status)


def _warn_unknown_variables(variables: Iterable[str]) -> None:
    """Warn of variables that are no setting; they are no error, because container engines add some."""
    known = [f"{PREFIX}_{NAMES.get(name, name).upper()}" for name in ("handler", *Settings.model_fields)]
    for stray in sorted({*variables} - {*known}):
        alike = difflib.get_close_matches(stray, known, n=1, cutoff=0.9)
        log.warning("%s is no setting and does nothing%s", stray, f"; is it {alike[0]}?" if alike else "")


class _UsageError(click.ClickException):
    exit_code = 2


def _lines(refused: DocumentError) -> Iterator[str]:
    for found in refused.problems:
        if found.path == "together":
            yield from (f"  {said}" for said in found.way_out.split("; "))
        else:
            yield f"  {_place(found)}: {found.way_out}"


def _place(found: Problem) -> str:
    """The option and its value."""
    name = found.path.split(".")[0]
    option = "--" + NAMES.get(name, name).replace("_", "-")
    return f"{option} {shlex.quote(found.value)}" if isinstance(found.value, str) else option
