from collections.abc import Iterator

import pytest

from tests.faults.matrix import healthy_runs
from tests.faults.stage import Stage, stage


@pytest.fixture(scope="module")
def on_stage() -> Iterator[Stage]:
    """One account for all cells of a module; each puts it as it wants it."""
    healthy_runs()  # on a stage of their own, before this one is built
    with stage() as built:
        yield built
