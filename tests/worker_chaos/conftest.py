"""What the tests of the chaos share: one embedded account."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worker_chaos.cloud import Cloud, cloud, environment


@pytest.fixture(scope="session")
def account() -> Iterator[Cloud]:
    """A server of its own."""
    with cloud() as served:
        yield served


@pytest.fixture
def as_worker(account: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """This process meets the account as workers do, faults included."""
    for name, value in environment(AWS_ENDPOINT_URL=account.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    return account
