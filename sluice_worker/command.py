"""`python -m sluice_worker`: options and variables made from the settings' fields."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sluice.errors import DocumentError, SluiceError
from sluice_worker.settings import Settings, settings

PREFIX = "SLUICE_WORKER"
NAMES = {"queues": "queue"}
"""Options that are not called as their field is."""


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    for name, field in reversed(Settings.model_fields.items()):
        command = _option(name, field)(command)
    return command


def _option(name: str, field: FieldInfo) -> Callable[[Callable[..., None]], Callable[..., None]]:
    option = NAMES.get(name, name)
    said = option.replace("_", "-")
    flag = field.annotation is bool
    default = None if field.default is PydanticUndefined else field.default
    text = field.description or ""
    if default is not None and default != "":
        text += f" [default: {default}]"
    more: dict[str, Any] = {"metavar": _metavar(field)}
    if flag:
        more = {}
    if name == "queues":
        more = {"metavar": "QUEUE", "multiple": True}
    return click.option(
        f"--{said}/--no-{said}" if flag else f"--{said}",
        name,
        default=None,
        envvar=f"{PREFIX}_{option.upper()}",
        help=text,
        **more,
    )


def _metavar(field: FieldInfo) -> str:
    kinds: set[object] = {field.annotation}
    if get_origin(field.annotation) in (Union, types.UnionType):
        kinds = set(get_args(field.annotation)) - {type(None)}
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return "|".join(kind)
    return "TEXT" if kinds == {str} else "NUMBER"


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=f"Each option is also a variable: --grace-s is {PREFIX}_GRACE_S.",
)
@click.option(
    "--handler",
    metavar="MODULE:FUNCTION",
    required=True,
    envvar=f"{PREFIX}_HANDLER",
    help="Called with each message; returning is success, raising is failure. May be a coroutine function.",
)
@_with_settings
def main(handler: str, **given: Any) -> None:
    """Consume SQS queues with a function of yours.

    Reports MsgProcessingDuration, protects a busy instance or task from scale-in, and drains on SIGTERM, a
    Spot notice or a lifecycle hook: what is not begun goes back to its queue, what runs may finish.
    """
    from sluice_worker.supervisor import configure_logging, run  # boto3 is not needed to print the help

    configure_logging()
    try:
        chosen = settings({name: value for name, value in given.items() if value not in (None, ())})
        status = run(chosen, handler)
    except DocumentError as refused:
        raise _Refused("\n".join(["these settings cannot be used:", *_lines(refused)])) from refused
    except SluiceError as refused:
        raise _Refused(str(refused)) from refused
    sys.exit(status)


class _Refused(click.ClickException):
    exit_code = 2


def _lines(refused: DocumentError) -> list[str]:
    lines = []
    for found in refused.problems:
        head, *rest = found.path.split(".")
        place = ".".join([NAMES.get(head, head), *rest])
        if found.path == "together":
            lines.append(f"  {found.way_out}")
        else:
            lines.append(f"  {place}: {found.value!r}: {found.way_out}")
    return lines
