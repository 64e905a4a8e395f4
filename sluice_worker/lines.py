"""One JSON object a line on stdout, which belongs to reports and metrics; logs go to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from sluice.errors import TransientError


def write(line: Mapping[str, Any], out: TextIO | None = None) -> None:
    """Write it at once and in one piece: processes share stdout; TransientError where nobody takes it."""
    out = out or sys.stdout
    try:
        out.write(json.dumps(line) + "\n")
        out.flush()
    except OSError as closed:
        raise TransientError(f"writing to stdout: {closed}") from closed
