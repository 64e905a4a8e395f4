"""One JSON object a line on stdout, which belongs to reports and metrics; logs go to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from sluice.errors import TransientError


def write(line: Mapping[str, Any], out: TextIO | None = None) -> None:
    """Write and flush a line in one piece, as processes share stdout; TransientError if that fails."""
    out = out or sys.stdout
    try:
        out.write(json.dumps(line) + "\n")
        out.flush()
    except OSError as closed:
        raise TransientError(f"writing to stdout: {closed}") from closed
