"""A handler to try a fleet on: works for as long as a message of `SendTestMessagesFunction` says."""

import json
import time

from sluice_worker import Message, Reject

LONGEST_S = 12 * 3600
"""SQS lets nobody hold a message longer."""


def handle(message: Message) -> None:
    """Sleep for the seconds of {"duration_s": 1.5}; anything else is no test message."""
    duration_s = duration_of(message.body)
    message.extend(duration_s + 60)
    time.sleep(duration_s)


def duration_of(body: str) -> float:
    """The seconds that a test message asks for; Reject where it asks for none."""
    try:
        duration_s = json.loads(body)["duration_s"]
    except (ValueError, TypeError, KeyError):
        raise Reject(f"no test message: {body[:200]!r} is not like {{'duration_s': 1.5}}") from None
    if isinstance(duration_s, bool) or not isinstance(duration_s, int | float):
        raise Reject(f"duration_s {duration_s!r} is no number")
    if not 0 <= duration_s <= LONGEST_S:
        raise Reject(f"duration_s {duration_s!r} is not within 0 and {LONGEST_S}")
    return float(duration_s)
