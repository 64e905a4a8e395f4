"""Every AWS call of every use case fails in every way, and nothing unsafe happens.

Because of its name, pytest collects it only if the file is named.
"""

import pytest

from tests.faults.account import Account
from tests.faults.matrix import Cell, cells, run_cell


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_the_function_stays_safe_when(account: Account, cell: Cell) -> None:
    run_cell(cell, account)
