"""AWS calls of every step of a switch fail, and the switch goes on or everything is as before.

Because of its name, pytest collects it only if the file is named. A module of its own, as each account stands
for the whole of AWS.
"""

from collections.abc import Iterator

import pytest

from tests.faults.switch_matrix import Cell, Pairs, cells, run_cell


@pytest.fixture(scope="module")
def pairs() -> Iterator[Pairs]:
    cells()  # plays healthy runs in accounts of their own, before this one is built
    made = Pairs()
    yield made
    made.close()


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_the_switch_goes_on_or_is_undone_when(pairs: Pairs, cell: Cell) -> None:
    run_cell(cell, pairs)
