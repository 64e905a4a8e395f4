import pytest

from tests.fakes import Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()
