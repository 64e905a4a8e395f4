"""Resolve WORKLOAD of the command line: an environment of samconfig.toml, or a file with a document."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from sluice.core.model import Color, Workload
from sluice.document import parsing
from sluice_cli import completion
from sluice_cli.usage_errors import UsageError
from sluice_sim import template
from sluice_sim.template import deployment
from sluice_sim.template.deployment import SettingError
from sluice_sim.template.errors import TemplateError

CHECKOUT = Path(__file__).resolve().parent.parent


SAMCONFIG_KEY = "sluice.samconfig"


def _store_config_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:  # noqa: ARG001
    if value is not None:
        ctx.meta[SAMCONFIG_KEY] = value


config_file = click.option(
    "--config-file",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    is_eager=True,
    expose_value=False,
    callback=_store_config_file,
    help="The file that defines the environments, as in `sam deploy --config-file`. [default: the clone's "
    "samconfig.toml]",
)
"""The --config-file option, for every command that takes a WORKLOAD."""


def parameters(name: str) -> dict[str, str]:
    """The workload's parameters of `workload.yaml`."""
    environments = _environments()
    if name in environments:
        return environments[name]
    return deployment.document_parameters(_document(name), what=name)


def document(name: str) -> str:
    """The workload document: the file's text, or what the environment's stack would register."""
    environments = _environments()
    if name in environments:
        return deployment.registration(deployment.resolved(CHECKOUT, environments[name]))
    return _document(name)


def known(ctx: click.Context) -> list[str]:
    """The environments of samconfig.toml, or of --config-file; none if it cannot be read."""
    with suppress(SettingError, click.ClickException):
        return list(_environments(ctx))
    return []


def template_parameters(ctx: click.Context) -> list[str]:  # noqa: ARG001
    """`Name=` for every parameter of workload.yaml, for completion."""
    with suppress(TemplateError):
        return [f"{name}=" for name in template.load(CHECKOUT / "workload.yaml")["Parameters"]]
    return []


COMPLETE = completion.names(known, or_files=True)
"""Shell completion of WORKLOAD."""


def registered(name: str) -> Workload:
    """The workload with its metrics in AWS, as its document or its environment defines them."""
    environments = _environments()
    if name in environments:
        return deployment.deployed(CHECKOUT, environments[name]).workload
    return parsing.parse(_document(name), what=name, active=Color.BLUE)


def _environments(ctx: click.Context | None = None) -> dict[str, dict[str, str]]:
    if not (CHECKOUT / "workload.yaml").is_file():
        raise UsageError(f"{CHECKOUT} holds no workload.yaml: run this from a clone of the project")
    return deployment.environments_of(_samconfig(ctx))


def _samconfig(ctx: click.Context | None = None) -> Path:
    samconfig: Path = (ctx or click.get_current_context()).meta.get(
        SAMCONFIG_KEY, CHECKOUT / "samconfig.toml"
    )
    return samconfig


def _document(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not a workload document: it is not UTF-8 text") from error
    except OSError as error:
        known = ", ".join(_environments())
        raise UsageError(
            f"{name}: neither an environment of {_samconfig().name} ({known}) nor a file with a workload "
            f"document ({error.strerror})"
        ) from error
