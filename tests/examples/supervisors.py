"""examples/processes: what the supervisors are told, as their own parsers and the worker read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from honcho.environ import parse, parse_procfile
from supervisor.options import ServerOptions

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples/processes"


def variables() -> dict[str, str]:
    """What worker.env says, read as honcho does."""
    return dict(parse((FOLDER / "worker.env").read_text()))


def procfile() -> dict[str, str]:
    """Process -> command, read as honcho does."""
    return dict(parse_procfile((FOLDER / "Procfile").read_text()).processes)


def programs() -> list[Any]:
    """The processes of supervisord.conf, read as supervisord does."""
    options = ServerOptions()
    options.here = str(FOLDER)
    options.read_config(str(FOLDER / "supervisord.conf"))
    groups = options.configroot.supervisord.process_group_configs
    return [process for group in groups for process in group.process_configs]
