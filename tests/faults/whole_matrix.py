"""Every AWS call of every use case fails in every way, and nothing unsafe happens.

By its name pytest collects it only where it is asked for.
"""

import pytest

from tests.faults.matrix import Cell, cells, played
from tests.faults.stage import Stage


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_nothing_unsafe_happens_when(on_stage: Stage, cell: Cell) -> None:
    played(cell, on_stage)
