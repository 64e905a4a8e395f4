"""Stands in for the AWS CLI, which the project does not install: one call of an API by the CLI's arguments.

Refuses what the API's model does not have (an operation, an option, a missing required one), as the CLI does,
and the parts of the CLI that no script of ours uses. Each call is written to the file that `AWS_COMMAND_LOG`
names, as a line of JSON. Endpoint and credentials are the environment's.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import jmespath
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import ListShape, OperationModel, Shape, StructureShape

ROOT = Path(__file__).resolve().parents[2]
LOG = "AWS_COMMAND_LOG"
USAGE, SERVICE_ERROR = 252, 254
"""Exit statuses, as the AWS CLI has them."""


class UsageError(Exception):
    """Arguments that the AWS CLI would refuse."""


def install(folder: Path) -> None:
    """Make it the `aws` of a PATH that begins with this folder."""
    program = folder / "aws"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.support.aws_command import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def main(arguments: Sequence[str]) -> int:
    """Make the call and print its answer; returns the exit status."""
    try:
        print(call(*arguments))  # noqa: T201
    except UsageError as wrong:
        print(f"\naws: error: {wrong}", file=sys.stderr)  # noqa: T201
        return USAGE
    except ClientError as refused:
        print(f"\n{refused}", file=sys.stderr)  # noqa: T201
        return SERVICE_ERROR
    return 0


def call(service: str, command: str, *options: str) -> str:
    """What the command prints."""
    if (service, command, options) == ("ecr", "get-login-password", ()):
        data = _made("ecr", "get-authorization-token", {})["authorizationData"]
        return base64.b64decode(data[0]["authorizationToken"]).decode().partition(":")[2]
    given = _options(options)
    query, output = given.pop("query", ["@"]), given.pop("output", ["json"])
    found = jmespath.search(query[0], _made(service, command, given))
    return _text(found) if output == ["text"] else json.dumps(found, default=str)


def _made(service: str, command: str, given: Mapping[str, Sequence[str]]) -> Any:
    client = boto3.client(service)
    operations = {
        xform_name(name).replace("_", "-"): name for name in client.meta.service_model.operation_names
    }
    if command not in operations:
        raise UsageError(f"{service} has no command {command}")
    model = client.meta.service_model.operation_model(operations[command])
    parameters = _parameters(model, given)
    line = {"service": service, "operation": model.name, "parameters": parameters}
    with Path(os.environ[LOG]).open("a") as log:
        log.write(json.dumps(line) + "\n")
    return getattr(client, xform_name(model.name))(**parameters)


def _options(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Option -> its values; an option without any is a flag."""
    found: dict[str, list[str]] = {}
    for argument in arguments:
        if argument.startswith("--"):
            found[argument[2:]] = []
        elif not found:
            raise UsageError(f"unknown argument {argument}")
        else:
            found[list(found)[-1]].append(argument)
    return found


def _parameters(model: OperationModel, given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    shape = model.input_shape
    members = {xform_name(name).replace("_", "-"): name for name in shape.members} if shape else {}
    if unknown := given.keys() - members.keys():
        raise UsageError(f"unknown options of {model.name}: {', '.join(sorted(unknown))}")
    assert shape is not None
    found = {members[option]: _value(shape.members[members[option]], given[option]) for option in given}
    if missing := set(shape.required_members) - found.keys():
        raise UsageError(f"required options of {model.name}: {', '.join(sorted(missing))}")
    return found


def _value(shape: Shape, words: Sequence[str]) -> Any:
    if isinstance(shape, ListShape):
        return [_value(shape.member, [word]) for word in words]
    if shape.type_name == "boolean" and not words:
        return True
    if len(words) != 1:
        raise UsageError(f"{shape.name} takes one value, not {list(words)}")
    return _shorthand(shape, words[0]) if isinstance(shape, StructureShape) else _scalar(shape, words[0])


def _shorthand(shape: StructureShape, word: str) -> dict[str, Any]:
    """`Key=value,Key=value`; the values here hold no commas."""
    pairs = dict(pair.partition("=")[::2] for pair in word.split(","))
    if unknown := pairs.keys() - shape.members.keys():
        raise UsageError(f"{shape.name} has no {', '.join(sorted(unknown))}: {word}")
    return {key: _scalar(shape.members[key], value) for key, value in pairs.items()}


def _scalar(shape: Shape, word: str) -> Any:
    if shape.type_name == "boolean":
        return word == "true"
    return int(word) if shape.type_name in ("integer", "long") else word


def _text(found: Any) -> str:
    """`--output text`: a list's items on one line, and None for what is not there."""
    return "\t".join(map(str, found)) if isinstance(found, list) else str(found)
