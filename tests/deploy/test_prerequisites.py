"""A machine that cannot run the built functions says so; CI does not accept it."""

from __future__ import annotations

import pytest

from tests.deploy.prerequisites import (
    demand,
    unmet,
)


@pytest.mark.parametrize("version", [(3, 11, 9), (3, 12, 0), (3, 14, 1)])
def test_with_another_python_the_message_says_what_to_install(version: tuple[int, ...]) -> None:
    reason = unmet(version, "Linux")
    assert reason is not None
    assert f"this is {version[0]}.{version[1]}: install Python 3.13" in reason


def test_on_another_system_the_message_says_where_to_run() -> None:
    reason = unmet((3, 13, 1), "Darwin")
    assert reason is not None
    assert reason.endswith("this is Darwin: run the tests in Linux")


def test_lambdas_python_on_linux_is_enough() -> None:
    assert unmet((3, 13, 1), "Linux") is None
    demand(None, {"CI": "true"})


def test_an_unmet_condition_skips_with_its_sentence() -> None:
    with pytest.raises(pytest.skip.Exception, match="install that"):
        demand("install that", {})


def test_in_ci_the_same_condition_is_a_failure() -> None:
    with pytest.raises(pytest.fail.Exception, match="CI must run the built functions: install that"):
        demand("install that", {"CI": "true"})
