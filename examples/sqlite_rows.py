"""A batch handler: writes the rows of a batch into SQLite in one transaction.

    python -m sluice_worker --handler sqlite_rows:insert --batch 100 --queue URL

A message is {"sensor": "a", "celsius": 21.5}. SQS delivers at least once, so a row is known by its message's
id, and one that comes again changes nothing. The file is that of the variable ROWS, or rows.db.
"""

import json
import os
import sqlite3

from sluice_worker import Failed, Message, Reject

INSERT = "INSERT INTO readings VALUES (?, ?, ?) ON CONFLICT (message_id) DO NOTHING"
TABLE = "CREATE TABLE IF NOT EXISTS readings (message_id TEXT PRIMARY KEY, sensor TEXT, celsius REAL)"


def insert(messages: list[Message]) -> list[Failed]:
    """Insert what can be read; the others can never be, and are rejected.

    Where the database fails this raises, and all of the batch comes again.
    """
    rows, failed = [], []
    for message in messages:
        try:
            rows.append((message.message_id, *reading_of(message.body)))
        except (ValueError, TypeError, KeyError) as unreadable:
            failed.append(Failed(message, Reject(f"no reading: {unreadable!r}")))
    connection = sqlite3.connect(os.environ.get("ROWS", "rows.db"), timeout=30)
    try:
        with connection:  # one transaction
            connection.execute(TABLE)
            connection.executemany(INSERT, rows)
    finally:
        connection.close()
    return failed


def reading_of(body: str) -> tuple[str, float]:
    """The sensor and its degrees."""
    reading = json.loads(body)
    return str(reading["sensor"]), float(reading["celsius"])
