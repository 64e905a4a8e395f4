"""One build and one deployment for the whole folder; each test starts with both fleets at zero.

A test that changes or deletes the stacks marks them `outdated`, and the next one that needs them gets new
ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deploy.account import Account
from tests.deploy.build import sam_build
from tests.deploy.deployment import Deployment
from tests.deploy.emulator import (
    RunningFunction,
    lambda_runtime,
)
from tests.deploy.prerequisites import (
    demand,
    unmet,
)
from tests.deploy.server import (
    Server,
    served,
)
from tests.deploy.shared_deployment import (
    SharedDeployment,
    Start,
)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """template.yaml, built for this machine."""
    demand(unmet())
    return sam_build(tmp_path_factory.mktemp("plane"))


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages that Lambda's runtime provides in addition to the layer."""
    return lambda_runtime(tmp_path_factory.mktemp("lambda") / "runtime")


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """An embedded AWS."""
    with served() as server:
        yield server


@pytest.fixture(scope="package")
def shared_deployment(
    server: Server, built: Path, tmp_path_factory: pytest.TempPathFactory
) -> SharedDeployment:
    """The deployment, created when the first test needs it."""
    folder = tmp_path_factory.mktemp("deployment")
    return SharedDeployment(deployment=Deployment(server=server, built=built, folder=folder))


@pytest.fixture
def deployed(shared_deployment: SharedDeployment) -> SharedDeployment:
    """Both fleets, the control plane and both workloads, as deployed."""
    return shared_deployment.current()


@pytest.fixture
def account(deployed: SharedDeployment, server: Server) -> Account:
    """The account with both fleets at zero, and no authorization recorded yet."""
    deployed.account.reset()
    server.gate.authorizations.clear()
    return deployed.account


@pytest.fixture
def start(deployed: SharedDeployment, runtime: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a deployed function by its logical ID, with its role's credentials."""
    with ExitStack() as started:

        def start(logical_id: str) -> RunningFunction:
            return started.enter_context(
                deployed.running(logical_id, runtime, tmp_path / f"{logical_id}.log")
            )

        yield start


@pytest.fixture
def nothing_refused(server: Server) -> Iterator[None]:
    """The deployed roles allow everything that the test does."""
    server.gate.authorizations.clear()
    yield
    assert server.gate.refused == []
