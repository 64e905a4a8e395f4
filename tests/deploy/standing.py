"""The deployment that tests share.

Owns when it is made: a test that changes or deletes the stacks marks it outdated, and the next one that needs
it gets a new one in an empty account.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.deploy.account import Account
from tests.deploy.deployment import (
    WORKLOADS,
    DeployedFunction,
    Deployment,
)
from tests.deploy.emulator import (
    RunningFunction,
    emulated,
)
from tests.deploy.inventory import inventory
from tests.deploy.server import Server

Start = Callable[[str], RunningFunction]


@dataclass(slots=True)
class Standing:
    """What is deployed, and the functions that were read back from it."""

    deployment: Deployment
    outdated: bool = True
    failed: bool = False
    functions: dict[str, DeployedFunction] = field(default_factory=dict)
    before_our_stacks: dict[str, list[str]] = field(default_factory=dict)
    """What the account held when the fleets stood and nothing of ours did."""
    _account: Account | None = None

    def function(self, logical_id: str) -> DeployedFunction:
        """A function, read back once."""
        if logical_id not in self.functions:
            self.functions[logical_id] = self.deployment.function(logical_id)
        return self.functions[logical_id]

    @property
    def account(self) -> Account:
        """The account, which knows how its stacks left it."""
        if self._account is None:
            raise LookupError("nothing is deployed yet: ask for the current deployment first")
        return self._account

    def running(self, logical_id: str, runtime: Path, log: Path) -> AbstractContextManager[RunningFunction]:
        """A function with a session of its role; ended with the context."""
        function = self.function(logical_id)
        credentials = self.deployment.credentials(function.role_arn)
        return emulated(function, runtime, self.deployment.server.endpoint, credentials, log)

    def current(self) -> Standing:
        """Itself, deployed anew into an empty account if it is outdated; what failed is not tried again."""
        if self.failed:
            pytest.fail("the deployment failed before: see the first test that needed it", pytrace=False)
        if self.outdated:
            self.failed = True
            self._renew()
            self.failed = self.outdated = False
        return self

    def _renew(self) -> None:
        _empty(self.deployment.server)
        self.functions.clear()
        self.deployment.make_bucket()
        self.deployment.deploy_fleets()
        self.before_our_stacks = inventory(self.deployment.server.aws)
        self.deployment.deploy_plane()
        for environment in WORKLOADS:
            self.deployment.deploy_workload(environment)
        self._account = Account(self.deployment.server.aws)


def _empty(server: Server) -> None:
    """Forget every resource."""
    connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"), timeout=20)
    try:
        connection.request("POST", "/moto-api/reset")
        assert connection.getresponse().status == 200, "the embedded AWS did not let itself be emptied"
    finally:
        connection.close()
