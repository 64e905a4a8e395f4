from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sluice.aws.account import account


@pytest.fixture
def in_account() -> Iterator[None]:
    """An empty AWS account in memory."""
    with account():
        yield


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """One thread, so that stubbed answers come in the order in which they were given."""
    with ThreadPoolExecutor(1) as one:
        yield one
