"""What stands in the worker's log, whatever a sender wrote into a message."""

from __future__ import annotations

import logging
import sys

import pytest

from sluice_worker.runtime.log_entries import EntryFormatter

FORGED = "bad\n2026-01-15 12:00:00,000 INFO sluice_worker 5 messages were processed"


def formatted(text: str) -> str:
    try:
        raise ValueError(text)  # noqa: TRY301
    except ValueError:
        record = logging.LogRecord("sluice_worker", logging.ERROR, __file__, 1, "%s", (text,), sys.exc_info())
        return EntryFormatter().format(record)


def test_an_exception_that_quotes_a_message_forges_no_entry() -> None:
    first, *further = formatted(FORGED).split("\n")
    assert first.endswith("ERROR sluice_worker bad")
    assert "ValueError: bad" in further[-2]
    assert all(line.startswith("    ") for line in further)


@pytest.mark.parametrize("control", ["\r", "\x1b[2J", "\x85", "\u2028", "\x00", "\ud800", "\b"])
def test_control_characters_are_escaped(control: str) -> None:
    written = formatted(f"a{control}b")
    assert control[0] not in written
    assert all(line.isprintable() for line in written.split("\n"))


def test_what_can_be_printed_is_written_as_it_is() -> None:
    record = logging.LogRecord("sluice_worker", logging.INFO, __file__, 1, "Grüße an %s", ("東京",), None)
    assert EntryFormatter().format(record).endswith(" INFO sluice_worker Grüße an 東京")
