"""The value of the parameter: a color, none, or something else."""

import pytest

from sluice.core.model import Color
from sluice_worker.core.draining_color import is_draining


@pytest.mark.parametrize("color", Color)
def test_only_its_own_name_drains_a_color(color: Color) -> None:
    assert {value: is_draining(value, color) for value in ("none", color, color.other)} == {
        "none": False,
        color: True,
        color.other: False,
    }


@pytest.mark.parametrize("value", ["", "Blue", "blue ", "red", "true", "blue,green"])
def test_another_value_says_nothing(value: str) -> None:
    assert is_draining(value, Color.BLUE) is None
