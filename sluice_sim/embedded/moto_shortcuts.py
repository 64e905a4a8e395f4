"""Shortcuts through moto: the same answers, with what it works out again and again worked out once.

moto spells every operation and every attribute of a queue the way Python does whenever it meets it, letter by
letter, and it counts all of a queue's messages several times for each attribute that is asked for: together
more than a third of what a play takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from moto.core import responses, utils
from moto.sqs import models
from moto.sqs.models import Queue, SQSBackend

_spelt = cache(utils.camelcase_to_underscores)
_moto_tells = SQSBackend.get_queue_attributes


def take_shortcuts() -> None:
    """From now on in this process."""
    for module in (responses, models):
        vars(module)["camelcase_to_underscores"] = _spelt
    SQSBackend.get_queue_attributes = _attributes  # type: ignore[assignment, method-assign]


def _attributes(backend: SQSBackend, queue_name: str, attribute_names: Sequence[str]) -> dict[str, Any]:
    known = {*Queue.BASE_ATTRIBUTES, *Queue.FIFO_ATTRIBUTES, *Queue.KMS_ATTRIBUTES}
    if not known.issuperset(attribute_names):
        return _moto_tells(backend, queue_name, list(attribute_names))  # all of them, or a refusal
    every = backend.get_queue(queue_name).attributes
    return {name: every[name] for name in attribute_names if every.get(name) is not None}
