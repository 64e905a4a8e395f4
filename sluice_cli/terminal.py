"""The console that the command prints to, and how it ends on a closed pipe or Ctrl-C.

Characters that the terminal's encoding lacks are replaced. After `| head` or Ctrl-C the exit status is the
one that a shell reports for a program ended by SIGPIPE or SIGINT.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import rich.console

SIGPIPE_STATUS = 141
SIGINT_STATUS = 130
ASCII = str.maketrans(
    {"█": "#", "▒": "=", "●": "*", "○": "o", "→": "->", "×": "x", "≤": "<=", "…": "~", "–": "-", "Δ": "d"}
)
"""One character for one where the text is a table, so that columns stay aligned."""
PADDING = re.compile(" +$", re.MULTILINE)
ASCII_FALLBACK = "sluice.ascii"


def _ascii_fallback(error: UnicodeError) -> tuple[str, int]:
    """The codecs error handler that replaces characters which the encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return lacking.translate(ASCII).encode("ascii", "replace").decode("ascii"), error.end


codecs.register_error(ASCII_FALLBACK, _ascii_fallback)


def replace_unencodable_characters() -> None:
    """Make stdout and stderr replace characters that their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ASCII_FALLBACK)


class Console(rich.console.Console):
    """rich's console, which leaves a closed pipe to `exit_quietly`, and pads no line of a pipe."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's; a table's lines end at their last character unless the output is a terminal."""
        if self.is_terminal or self.stderr:
            super().print(*objects, **options)
            return
        with self.capture() as captured:
            super().print(*objects, **options)
        self.file.write(PADDING.sub("", captured.get()))
        self.file.flush()

    def on_broken_pipe(self) -> NoReturn:
        """Re-raise the BrokenPipeError that is being handled; rich itself would exit with status 1."""
        raise


@contextmanager
def exit_quietly() -> Iterator[None]:
    """End the process silently when its reader closed the pipe or the user pressed Ctrl-C.

    It exits at once: threads that still wait for AWS would block a normal exit for minutes, and buffered
    output has no reader. All clean-up has run before, while the exception propagated to here.
    """
    try:
        yield
    except BrokenPipeError:
        os._exit(SIGPIPE_STATUS)
    except KeyboardInterrupt:
        os._exit(SIGINT_STATUS)
