"""AWS calls of every use case fail in every way, and nothing unsafe happens: the share of the default run.

`whole_matrix.py` beside it plays every cell.
"""

import pytest

from tests.faults.matrix import Cell, played, share
from tests.faults.stage import Stage


@pytest.mark.parametrize("cell", share(), ids=str)
def test_nothing_unsafe_happens_when(on_stage: Stage, cell: Cell) -> None:
    played(cell, on_stage)
