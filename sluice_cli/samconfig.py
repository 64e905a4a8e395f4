"""Write an environment into a samconfig file, and leave every other byte of the file as it is."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice_cli.outputs import require_writable_file
from sluice_cli.usage_errors import UsageError

VERSION = {"version": 0.1}
"""What sam wants a file to begin with."""
OF_TESTS = "e2e-"
"""What `sluice` takes for no workload; see `sluice_sim.template.deployment.environments_of`."""


def write_environment(path: Path, name: str, parameters: Mapping[str, str], *, replace: bool) -> None:
    """Add an environment, or with `replace` set the parameters of one; UsageError says why not."""
    require_writable_file(path)
    text = read(path)
    written = with_environment(text, name, parameters, replace=replace, what=str(path))
    try:
        path.write_bytes(written.encode())
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def require_room(path: Path, name: str, *, replace: bool) -> None:
    """UsageError if the environment could not be written, whatever its parameters."""
    require_writable_file(path)
    if not re.fullmatch(r"[a-zA-Z0-9_-]+", name, re.ASCII) or name.startswith(OF_TESTS) or name in VERSION:
        raise UsageError(
            f"{path}: an environment cannot be named {name!r}: give a --name of letters, digits, hyphens and "
            f"underscores, not {OF_TESTS}... and not {', '.join(VERSION)}"
        )
    with_environment(read(path), name, {}, replace=replace, what=str(path))


def read(path: Path) -> str:
    """The file's text, empty if there is none; line ends are kept."""
    if not path.exists():
        return ""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a samconfig file: it is not UTF-8 text") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def with_environment(text: str, name: str, parameters: Mapping[str, str], *, replace: bool, what: str) -> str:
    """The text with the environment; UsageError if it is there already, or cannot be replaced safely."""
    before = _parsed(text, what)
    if name not in before:
        return _checked(
            text + _new(text, name, parameters, is_first=not before), before, name, parameters, what
        )
    if not replace:
        raise UsageError(
            f"{what}: environment {name} is there already: add --replace to set its parameters, or give "
            "another --name"
        )
    span = _overrides_span(text, name)
    if span is None:
        raise UsageError(
            f"{what}: no [{name}.deploy.parameters] with a parameter_overrides of its own lines: change it "
            "by hand, with the parameters that --json prints"
        )
    begin, end = span
    newline = _newline(text)
    replaced = text[:begin] + _overrides(parameters, newline) + newline + text[end:]
    return _checked(replaced, before, name, parameters, what)


def _new(text: str, name: str, parameters: Mapping[str, str], *, is_first: bool) -> str:
    newline = _newline(text)
    begin = "" if not text else newline if text.endswith("\n") else newline * 2
    if is_first:
        begin += f"version = {VERSION['version']}{newline * 2}"
    lines = [
        f"[{name}.deploy.parameters]",
        'template_file = "workload.yaml"',
        "resolve_s3 = true",
        f'stack_name = "sluice-{name}"',
        "confirm_changeset = true",
        "fail_on_empty_changeset = false",
        _overrides(parameters, newline),
    ]
    return begin + newline.join(lines) + newline


def _overrides(parameters: Mapping[str, str], newline: str) -> str:
    rows = [f'    "{key}={value}",' for key, value in parameters.items()]
    return newline.join(["parameter_overrides = [", *rows, "]"])


def _overrides_span(text: str, name: str) -> tuple[int, int] | None:
    """Where the environment's parameter_overrides begins and ends, with its line end."""
    header = re.compile(rf'^\[\s*"?{re.escape(name)}"?\s*\.\s*deploy\s*\.\s*parameters\s*\]', re.MULTILINE)
    table = header.search(text)
    key = table and re.compile(r"^parameter_overrides\s*=", re.MULTILINE).search(text, table.end())
    if not key:
        return None
    end = key.start()
    while end < len(text):
        line_end = text.find("\n", end)
        end = len(text) if line_end < 0 else line_end + 1
        try:
            tomllib.loads(text[key.start() : end])
        except tomllib.TOMLDecodeError:
            continue
        return key.start(), end
    return None


def _checked(
    text: str, before: Mapping[str, Any], name: str, parameters: Mapping[str, str], what: str
) -> str:
    """The text, if nothing but the environment's parameters differs from what was there."""
    after = _parsed(text, what)
    found = after[name]["deploy"]["parameters"].pop("parameter_overrides", None)
    expected = copy.deepcopy(dict(before)) or dict(VERSION)
    if name in expected:
        expected[name]["deploy"]["parameters"].pop("parameter_overrides", None)
    else:
        expected[name] = after[name]
    if after != expected or found != [f"{key}={value}" for key, value in parameters.items()]:
        raise UsageError(f"{what}: cannot be changed safely: add environment {name} by hand")
    return text


def _parsed(text: str, what: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{what}: not valid TOML: {error}; mend it first") from error


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
