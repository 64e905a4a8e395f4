"""One entry of the worker's log a record, whatever a handler's exception says of a message.

An exception often quotes what the sender wrote. An entry begins at the start of a line and nowhere else: its
further lines, such as a stack trace, are indented, and control characters are escaped.
"""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
INDENT = "    "


class EntryFormatter(logging.Formatter):
    """Formats a record so that nothing in it can be taken for another record."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """The record, its further lines indented."""
        return f"\n{INDENT}".join(map(_printable, super().format(record).split("\n")))


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
