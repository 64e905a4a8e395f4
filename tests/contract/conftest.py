from collections.abc import Iterator

import pytest

from tests.aws.account import account


@pytest.fixture
def in_account() -> Iterator[None]:
    """An empty AWS account in memory."""
    with account():
        yield
