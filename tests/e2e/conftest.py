"""One build and one embedded AWS for the whole folder; each test has a fresh account and fresh processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.e2e.account import Account
from tests.e2e.build import BuiltPlane, sam_build
from tests.e2e.emulator import HOST, RunningFunction, emulated, lambda_runtime
from tests.e2e.prerequisites import demand, unmet


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> BuiltPlane:
    """template.yaml, built for this machine."""
    demand(unmet())
    return sam_build(tmp_path_factory.mktemp("plane"))


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Lambda's runtime brings beside the layer."""
    return lambda_runtime(tmp_path_factory.mktemp("lambda") / "runtime")


@pytest.fixture(scope="package")
def endpoint() -> Iterator[str]:
    """Where the embedded AWS listens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
        server.start()
        yield f"http://{HOST}:{server.get_host_and_port()[1]}"
        server.stop()


@pytest.fixture
def account(endpoint: str, plane: BuiltPlane) -> Iterator[Account]:
    """The account with both workloads asleep."""
    account = Account(endpoint)
    account.empty()
    account.seed(plane.exports)
    yield account
    account.close()


@pytest.fixture
def deployed(
    plane: BuiltPlane, runtime: Path, endpoint: str, tmp_path: Path
) -> Iterator[Callable[[str], RunningFunction]]:
    """Start a function by its logical id."""
    with ExitStack() as started:

        def start(logical_id: str) -> RunningFunction:
            function = plane.functions[logical_id]
            log = tmp_path / f"{logical_id}.log"
            return started.enter_context(emulated(function, runtime, endpoint, log))

        yield start
