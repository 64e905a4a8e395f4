"""The matrix of use case x call x fault has the size that the docs state. `make faults` plays it."""

from pathlib import Path

import pytest

from tests.faults import switch_matrix
from tests.faults.matrix import cells

pytestmark = pytest.mark.slow


def test_the_page_on_trust_states_the_size_of_the_matrix() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/trust.md").read_text(encoding="utf-8")
    assert f"{len(cells())} cells" in page
    assert f"{len(switch_matrix.cells())} cells of a switch" in page
