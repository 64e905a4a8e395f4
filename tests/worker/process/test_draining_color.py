"""The parameter that names the draining color: read by one process, and what was last known stays."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from sluice.errors import ConfigError, SluiceError, TransientError
from sluice_worker.runtime.draining_color import (
    CHECK_INTERVAL_S,
    READ_INTERVAL_S,
    DrainingColor,
    DrainingColorReader,
)
from tests.worker.waiting import eventually

NAME = "/sluice/workloads/builds/draining-color"
THROTTLED = TransientError("reading the parameter: AWS answered ThrottlingException")
MISSING = ConfigError("reading the parameter: AWS answered ParameterNotFound")


@dataclass
class FakeParameter:
    """A parameter in memory."""

    answer: str | SluiceError = "none"
    name: str = NAME
    reads: int = 0

    def value(self) -> str:
        self.reads += 1
        if isinstance(self.answer, SluiceError):
            raise self.answer
        return self.answer


@dataclass
class Reading:
    """The draining color as a blue worker reads it, on a clock that the test sets."""

    parameter: FakeParameter = field(default_factory=FakeParameter)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.color = DrainingColor(self.parameter, "blue", random_share=lambda: 0.5)

    def put(self, answer: str | SluiceError) -> bool:
        """Whether blue drains once this has been read."""
        self.parameter.answer = answer
        self.live(READ_INTERVAL_S)
        return self.color.is_draining

    def live(self, seconds: float) -> None:
        for _ in range(round(seconds / CHECK_INTERVAL_S)):
            self.color.read_if_due(self.now)
            self.now += CHECK_INTERVAL_S


@pytest.fixture
def reading() -> Reading:
    return Reading()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "sluice_worker"):
        yield caplog


def test_a_color_drains_while_the_parameter_names_it_and_no_longer(reading: Reading) -> None:
    values = ("none", "blue", "blue", "green", "blue", "none")
    assert [reading.put(value) for value in values] == [False, True, True, False, True, False]


def test_each_change_is_logged_once_with_its_reason(
    reading: Reading, logged: pytest.LogCaptureFixture
) -> None:
    for value in ("none", "blue", "blue", "green", "none"):
        reading.put(value)
    assert [record.getMessage() for record in logged.records] == [
        (
            f"nothing is received for now, and what was received is finished: {NAME} is blue, the color of "
            "this worker"
        ),
        f"messages are received again: {NAME} is green",
    ]


@pytest.mark.parametrize("failure", [THROTTLED, MISSING, "red", ""])
def test_what_cannot_be_read_or_understood_changes_nothing(
    reading: Reading, failure: str | SluiceError
) -> None:
    assert reading.put("blue")
    assert reading.put(failure)
    assert not reading.put("none")
    assert not reading.put(failure)
    assert reading.put("blue")


@pytest.mark.parametrize("failure", [THROTTLED, MISSING, "red"])
def test_before_the_first_reading_messages_are_received_and_it_is_logged_once(
    reading: Reading, failure: str | SluiceError, logged: pytest.LogCaptureFixture
) -> None:
    assert not reading.put(failure)
    reading.live(600)
    assert not reading.color.is_draining
    [record] = logged.records
    assert record.levelno == logging.WARNING
    assert "before the first reading messages are received" in record.getMessage()


def test_another_value_is_logged_with_what_to_put(reading: Reading, logged: pytest.LogCaptureFixture) -> None:
    reading.put("red")
    assert f"the parameter {NAME} is 'red': put one of none, blue, green" in logged.text


def test_it_is_read_every_ten_seconds_failures_included(reading: Reading) -> None:
    reading.live(600)
    assert reading.parameter.reads == 60
    reading.parameter.answer = THROTTLED
    reading.live(600)
    assert reading.parameter.reads == 120


def test_four_hundred_workers_that_start_together_stay_within_the_accounts_calls() -> None:
    """GetParameter allows 40 calls a second by default; all begin at once."""
    chance = random.Random(7)
    parameters = [FakeParameter() for _ in range(400)]
    crowd = [DrainingColor(parameter, "blue", random_share=chance.random) for parameter in parameters]
    calls = Counter[int]()
    for look in range(round(600 / CHECK_INTERVAL_S)):
        now, before = look * CHECK_INTERVAL_S, sum(parameter.reads for parameter in parameters)
        for color in crowd:
            color.read_if_due(now)
        calls[int(now)] += sum(parameter.reads for parameter in parameters) - before
    later = [calls[second] for second in range(300, 600)]
    assert max(later) < 80
    assert sum(later) / len(later) == pytest.approx(40, rel=0.06)


def test_a_reader_follows_the_parameter_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice_worker.runtime.draining_color.READ_INTERVAL_S", 0.0)
    monkeypatch.setattr("sluice_worker.runtime.draining_color.CHECK_INTERVAL_S", 0.01)
    parameter = FakeParameter()
    color = DrainingColor(parameter, "blue")
    reader = DrainingColorReader(color)
    reader.start()
    eventually(lambda: parameter.reads, "it is read")
    parameter.answer = "blue"
    eventually(lambda: color.is_draining, "the change is seen")
    reader.stop()
    parameter.answer = "none"
    assert color.is_draining
