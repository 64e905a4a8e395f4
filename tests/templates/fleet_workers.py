"""The workers of the example fleets: their settings from the template, as the worker parses them.

Owns reading a template, a unit and the Dockerfile. Refuses to say what the variables mean: the worker's own
command does.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from click.testing import CliRunner

from sluice_sim.template import ResolvedStack
from sluice_worker import Settings, command, supervisor
from tests.templates.stacks import ROOT, example_fleet

Unit = dict[str, list[str]]
"""`Section.Key` of a systemd unit -> its values, in order."""


def variables(fleet: str, **parameters: str) -> dict[str, str]:
    """The environment that the template gives to a worker, the image's own variables included."""
    stack = example_fleet(fleet, **parameters)
    if fleet == "asg":
        return on_an_instance(user_data(stack))
    return in_a_container(container(stack)["Environment"])


def on_an_instance(user_data: str) -> dict[str, str]:
    """The variables of the unit that the user data leaves."""
    lines = taken_apart(unit_in(user_data))["Service.Environment"]
    return dict(variable.split("=", 1) for line in lines for variable in shlex.split(line))


def in_a_container(environment: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The variables of a task's container, whatever the case of `Name` and `Value`."""
    pairs = [{key.lower(): str(text) for key, text in variable.items()} for variable in environment]
    return {**image_variables(), **{pair["name"]: pair["value"] for pair in pairs}}


def container(stack: ResolvedStack) -> dict[str, Any]:
    """The one container of the service's task."""
    [properties] = stack.resources["TaskDefinition"].properties["ContainerDefinitions"]
    return properties


def user_data(stack: ResolvedStack) -> str:
    """What an instance runs at its first start."""
    script: str = stack.resources["LaunchTemplate"].properties["LaunchTemplateData"]["UserData"]
    return script


def unit_in(user_data: str) -> str:
    """The unit that the user data leaves on an instance."""
    [found] = re.findall(r"<<'UNIT'\n(.*)^UNIT$", user_data, re.DOTALL | re.MULTILINE)
    return str(found)


def unit(stack: ResolvedStack) -> Unit:
    """The same of a template, taken apart."""
    return taken_apart(unit_in(user_data(stack)))


def taken_apart(text: str) -> Unit:
    """A unit's keys and values; a key may stand several times, which is why no configparser reads it."""
    found: Unit = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, the rest) of examples/Dockerfile, in order."""
    text = (ROOT / "examples/Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in lines]


def image_variables() -> dict[str, str]:
    """What the image sets for its worker, as far as the worker reads it."""
    *_, rest = [rest for instruction, rest in dockerfile() if instruction == "ENV"]
    pairs = dict(pair.split("=", 1) for pair in shlex.split(rest))
    return {name: value for name, value in pairs.items() if name.startswith(command.PREFIX)}


def entry_point() -> list[str]:
    """The image's command line."""
    [rest] = [rest for instruction, rest in dockerfile() if instruction == "ENTRYPOINT"]
    return [str(word) for word in json.loads(rest)]


def understood(variables: Mapping[str, str]) -> tuple[Settings, str]:
    """The settings that the worker would run with, and its handler: the command itself, up to the running."""
    ran: list[tuple[Settings, str]] = []

    def run(settings: Settings, handler: str) -> int:
        ran.append((settings, handler))
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "run", run)
        patch.setattr(supervisor, "configure_logging", lambda: None)  # it would keep the runner's stream
        ended = CliRunner().invoke(command.main, [], env=dict(variables))
    assert ended.exit_code == 0, ended.output
    [(settings, handler)] = ran
    return settings, handler
