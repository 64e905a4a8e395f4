import pytest

from tests.support.fakes import Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()
