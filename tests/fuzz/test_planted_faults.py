"""The search finds what it is made for: the corpus, or inputs near it, catch each planted fault."""

from __future__ import annotations

import json
import logging
import random
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from sluice.core.deadline import encoding
from sluice_sim.aws_rules import metric_math
from sluice_worker.aws import sqs
from tests.fuzz import targets
from tests.fuzz.limits import TooSlow
from tests.fuzz.mutation import mutated
from tests.fuzz.play import play

CORPUS = Path(__file__).parent / "corpus"
TRIES = 3000


def first_broken(target: str) -> None:
    """Play the corpus, then inputs near it, until one breaks something, which is raised."""
    inputs = [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]
    chance = random.Random(1)
    for data in inputs:
        play(target, data)
    for _ in range(TRIES):
        play(target, mutated(chance.choice(inputs), chance))


def naked_key(event: Any) -> object:
    return event["alarmData"]["state"]["value"]


def unbounded(data: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(zlib.decompress(data)))
    except (zlib.error, RecursionError, TypeError) as wrong:
        raise ValueError(str(wrong)) from wrong


def quadratic(text: str) -> object:
    re.fullmatch(r"([a-zA-Z]+)*[0-9]", "a" * 40 if len(text) > 20 else text)
    return real_parse(text)


real_parse = metric_math.parse


def test_an_error_that_is_not_a_typed_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "PARSERS", (naked_key,))
    with pytest.raises((KeyError, TypeError)):
        first_broken("alarms-and-events")


def test_an_unbounded_decompression_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_fields", unbounded)
    with pytest.raises((AssertionError, TooSlow), match=r"MiB|second"):
        first_broken("engine-items")


def test_a_line_that_an_input_forged_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "EntryFormatter", logging.Formatter)
    with pytest.raises(AssertionError):
        first_broken("handler-failures")


def test_a_secret_in_a_log_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*args: Any) -> Any:
        logging.getLogger("sluice_worker").warning("received %s", args[1].get("Body"))
        return real(*args)

    real = sqs._message
    monkeypatch.setattr(sqs, "_message", told)
    with pytest.raises(AssertionError, match="a secret in a log"):
        first_broken("messages")


def test_a_regular_expression_that_backtracks_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_math, "parse", quadratic)
    with pytest.raises(TooSlow):
        first_broken("expressions")
