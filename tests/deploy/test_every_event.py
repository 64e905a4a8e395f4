"""Every deployed function gets every file of events/: the account changes only as expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deploy.account import Account
from tests.deploy.deployment import FUNCTIONS
from tests.deploy.emulator import RunningFunction
from tests.deploy.every_event import (
    CASES,
    EVENTS,
    run_case,
)
from tests.deploy.server import Server
from tests.deploy.shared_deployment import (
    SharedDeployment,
    Start,
)


@pytest.fixture(scope="module")
def warm(
    shared_deployment: SharedDeployment, runtime: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], RunningFunction]]:
    """Each function is started once and keeps running, as in Lambda."""
    shared_deployment.current()
    running: dict[str, RunningFunction] = {}
    folder = tmp_path_factory.mktemp("warm")
    with ExitStack() as started:

        def start(logical_id: str) -> RunningFunction:
            if logical_id not in running:
                running[logical_id] = started.enter_context(
                    shared_deployment.running(logical_id, runtime, folder / f"{logical_id}.log")
                )
            return running[logical_id]

        yield start


@pytest.mark.usefixtures("nothing_refused")
@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("logical_id", FUNCTIONS)
def test_an_event_does_what_it_should_and_nothing_else(
    logical_id: str, event: str, account: Account, server: Server, warm: Start
) -> None:
    function = warm(logical_id)
    assert run_case(logical_id, event, account, server.gate, function.answer) == CASES[logical_id, event]


def test_every_function_and_every_event_is_in_the_table() -> None:
    assert len(CASES) == len(FUNCTIONS) * len(EVENTS) == 216
