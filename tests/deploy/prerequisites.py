"""The prerequisites for running the built functions.

They need Linux and the Python that Lambda runs, because the layer's wheels and the emulator are built for
those. Without them the tests are skipped with a way out, and fail in CI.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping

import pytest

LAMBDA_PYTHON = (3, 13)


def unmet(version: tuple[int, ...] = sys.version_info, system: str = platform.system()) -> str | None:
    """Why the built functions cannot run here and what to install, or None if they can."""
    if system != "Linux":
        return f"the Lambda runtime emulator is a Linux program and this is {system}: run the tests in Linux"
    if version[:2] != LAMBDA_PYTHON:
        return (
            f"the built functions need Python 3.13, as Lambda runs, and this is {version[0]}.{version[1]}: "
            "install Python 3.13, then `make clean test PYTHON=/path/to/python3.13`"
        )
    return None


def demand(unmet: str | None, environ: Mapping[str, str] = os.environ) -> None:
    """Skip the test if a prerequisite is missing; in CI, fail it, because nobody reads skips there."""
    if unmet is None:
        return
    if environ.get("CI"):
        pytest.fail(f"CI must run the built functions: {unmet}", pytrace=False)
    pytest.skip(unmet)
