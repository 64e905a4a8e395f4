"""What the command prints to, and how it ends when nobody wants more.

Owns the characters that stand for those a terminal's encoding lacks, and the exit statuses of a reader that
went away (`| head`) and of Ctrl-C: those that a shell gives to a program which SIGPIPE or SIGINT ends.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import rich.console

NOBODY_READS = 141
INTERRUPTED = 130
ASCII = str.maketrans(
    {"█": "#", "▒": "=", "●": "*", "○": "o", "→": "->", "×": "x", "≤": "<=", "…": "~", "–": "-", "Δ": "d"}
)
"""One for one where columns stand below each other."""
IN_ASCII = "sluice.ascii"


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: what is printed for characters that the encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return lacking.translate(ASCII).encode("ascii", "replace").decode("ascii"), error.end


codecs.register_error(IN_ASCII, _in_ascii)


def print_in_any_encoding() -> None:
    """Let stdout and stderr replace what their encoding lacks, in place of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=IN_ASCII)


class Console(rich.console.Console):
    """rich's, which leaves a reader that went away to `quiet_ends`."""

    def on_broken_pipe(self) -> NoReturn:
        """Called while the BrokenPipeError is handled, which goes on from here."""
        raise


@contextmanager
def quiet_ends() -> Iterator[None]:
    """End the process without a word where its reader went away, or where a person pressed Ctrl-C.

    At once: threads that still wait for AWS would hold it for minutes, and what is buffered has no reader.
    Whatever had to be cleaned up has been, on the exception's way here.
    """
    try:
        yield
    except BrokenPipeError:
        os._exit(NOBODY_READS)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
