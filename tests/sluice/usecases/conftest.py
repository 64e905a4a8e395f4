import pytest

from tests.support.fakes import FakeAccount


@pytest.fixture
def account() -> FakeAccount:
    return FakeAccount()
