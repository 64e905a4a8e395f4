"""AWS calls of every use case fail in every way, and nothing unsafe happens: the share of the default run.

`whole_matrix.py` runs every cell.
"""

from pathlib import Path

import pytest

from tests.faults.account import Account
from tests.faults.matrix import Cell, cells, run_cell, share

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("cell", share(), ids=str)
def test_the_function_stays_safe_when(account: Account, cell: Cell) -> None:
    run_cell(cell, account)


def test_the_page_on_trust_states_the_sizes_of_the_matrix() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/trust.md").read_text(encoding="utf-8")
    assert f"{len(cells())} cells" in page
    assert f"plays {len(share())} of them" in page
