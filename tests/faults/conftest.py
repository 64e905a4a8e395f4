from collections.abc import Iterator

import pytest

from tests.faults.account import Account, deployed_account
from tests.faults.matrix import healthy_runs


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """One account for all cells of a module; each sets it up as it needs it."""
    healthy_runs()  # in an account of their own, before this one is built
    with deployed_account() as built:
        yield built
