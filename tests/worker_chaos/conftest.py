"""Fixtures of the chaos tests: one embedded account for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worker_chaos.cloud import Cloud, cloud, process_environment
from tests.worker_chaos.faults import Plan


@pytest.fixture(scope="session")
def account() -> Iterator[Cloud]:
    """An empty account on its own server."""
    with cloud() as served:
        yield served


@pytest.fixture
def as_worker(account: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Make this process call the account as workers do, faults included; no fault outlasts the test."""
    for name, value in process_environment(AWS_ENDPOINT_URL=account.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    yield account
    account.plan(Plan())
