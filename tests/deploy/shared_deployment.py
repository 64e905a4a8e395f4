"""The deployment that tests share.

A test that changes or deletes the stacks marks it outdated, and the next test that needs it gets a new one in
an empty account.
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
class SharedDeployment:
    """What is deployed, and the functions that were read back from it."""

    deployment: Deployment
    outdated: bool = True
    failed: bool = False
    functions: dict[str, DeployedFunction] = field(default_factory=dict)
    before_our_stacks: dict[str, list[str]] = field(default_factory=dict)
    """What the account held when only the fleets were deployed."""
    _account: Account | None = None

    def function(self, logical_id: str) -> DeployedFunction:
        """A deployed function, read back once."""
        if logical_id not in self.functions:
            self.functions[logical_id] = self.deployment.function(logical_id)
        return self.functions[logical_id]

    @property
    def account(self) -> Account:
        """The account with the deployed stacks."""
        if self._account is None:
            raise LookupError("nothing is deployed yet: ask for the current deployment first")
        return self._account

    def running(self, logical_id: str, runtime: Path, log: Path) -> AbstractContextManager[RunningFunction]:
        """Run a function with a session of its role, until the context ends."""
        function = self.function(logical_id)
        credentials = self.deployment.credentials(function.role_arn)
        return emulated(function, runtime, self.deployment.server.endpoint, credentials, log)

    def current(self) -> SharedDeployment:
        """Deploy into an empty account if the deployment is outdated; a failed deployment is not repeated."""
        if self.failed:
            pytest.fail("the deployment failed before: see the first test that needed it", pytrace=False)
        if self.outdated:
            self.failed = True
            self._redeploy()
            self.failed = self.outdated = False
        return self

    def _redeploy(self) -> None:
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
    """Delete every resource."""
    connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"), timeout=20)
    try:
        connection.request("POST", "/moto-api/reset")
        assert connection.getresponse().status == 200, "the embedded AWS could not be emptied"
    finally:
        connection.close()
