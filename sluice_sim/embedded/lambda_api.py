"""Lambda's API in the embedded account: moto keeps each function's configuration, concurrency and tags.

moto has no account settings, and would run a function that is invoked through the API in a container.
"""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

from moto.awslambda import models, urls
from moto.awslambda.models import LambdaBackend, LambdaFunction, lambda_backends
from moto.awslambda.responses import LambdaResponse

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded.operations import Parameters, answered

ACCOUNT_SETTINGS = r"{0}/(?P<api_version>[^/]+)/account-settings/?$"
SIZE_LIMITS_BYTES = {"TotalCodeSize": 80_530_636_800, "CodeSizeUnzipped": 262_144_000}
ZIPPED_LIMIT_BYTES = 52_428_800


def put_function(name: str, properties: Mapping[str, Any]) -> None:
    """Create a function from AWS::Serverless::Function properties, or update its configuration.

    An update leaves its reserved concurrency, which an operator may have changed.
    """
    configuration = {
        "Description": properties.get("Description", ""),
        "Role": properties["Role"],
        "Runtime": properties["Runtime"],
        "Handler": properties["Handler"],
        "Timeout": int(properties["Timeout"]),
        "MemorySize": int(properties["MemorySize"]),
        "Environment": properties.get("Environment", {}),
    }
    if name in {function.function_name for function in _functions()}:
        _backend().get_function(name).update_configuration(configuration)
        return
    reserved = properties.get("ReservedConcurrentExecutions")
    with mock.patch.object(models, "iam_backends", mock.MagicMock()):  # no role is created here
        _backend().create_function(
            configuration
            | {
                "FunctionName": name,
                "Architectures": properties["Architectures"],
                "ReservedConcurrentExecutions": None if reserved is None else int(reserved),
                "Code": {"ZipFile": _package()},
            }
        )


def reserved_concurrency(name: str) -> int | None:
    """The invocations at once that are reserved for a function, and its most; None if none are."""
    reserved: int | None = _backend().get_function(name).reserved_concurrency
    return reserved


@contextmanager
def account_settings(concurrency: Callable[[], float]) -> Iterator[None]:
    """Within the context, GetAccountSettings answers, with this quota of invocations at once."""

    def answer(_: Parameters) -> object:
        functions, limit = _functions(), int(concurrency())
        reserved = sum(function.reserved_concurrency or 0 for function in functions)
        return {
            "AccountLimit": {
                **SIZE_LIMITS_BYTES,
                "CodeSizeZipped": ZIPPED_LIMIT_BYTES,
                "ConcurrentExecutions": limit,
                "UnreservedConcurrentExecutions": limit - reserved,
            },
            "AccountUsage": {
                "TotalCodeSize": sum(function.code_size for function in functions),
                "FunctionCount": len(functions),
            },
        }

    with (
        mock.patch.dict(urls.url_paths, {ACCOUNT_SETTINGS: LambdaResponse.dispatch}),
        answered(LambdaResponse, get_account_settings=answer),
    ):
        yield


@cache
def _package() -> str:
    """A package to satisfy moto, encoded as in a request; the code runs from this checkout."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", "")
    return base64.b64encode(packed.getvalue()).decode()


def _functions() -> list[LambdaFunction]:
    return list(_backend().list_functions())


def _backend() -> LambdaBackend:
    backend: LambdaBackend = lambda_backends[ACCOUNT_ID][REGION]
    return backend
