"""Where the built functions can run.

Owns the one condition: Linux and the Python that Lambda runs, because the layer's wheels and the emulator are
made for those. Refuses to pass over it in silence: it skips with a way out, and in CI it fails.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping

import pytest

LAMBDA_PYTHON = (3, 13)


def unmet(version: tuple[int, ...] = sys.version_info, system: str = platform.system()) -> str | None:
    """Why the built functions cannot run here and what to install, or None where they can."""
    if system != "Linux":
        return f"the Lambda runtime emulator is a Linux program and this is {system}: run the tests in Linux"
    if version[:2] != LAMBDA_PYTHON:
        return (
            f"the built functions need Python 3.13, as Lambda runs, and this is {version[0]}.{version[1]}: "
            "install Python 3.13, then `make clean test PYTHON=/path/to/python3.13`"
        )
    return None


def demand(unmet: str | None, environ: Mapping[str, str] = os.environ) -> None:
    """Skip where the condition is unmet; in CI nobody reads skips, so there it is a failure."""
    if unmet is None:
        return
    if environ.get("CI"):
        pytest.fail(f"CI must run the built functions: {unmet}", pytrace=False)
    pytest.skip(unmet)
