"""How long messages take to process, and instances to boot.

Service times are constant, lognormal, or drawn from a file with a `duration_s` column. Durations must be
above 0.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sluice_sim.simulator.queue_kernel import Floats
from sluice_sim.template.deployment import SettingError
from sluice_sim.workloads.limits import (
    MAX_MESSAGES,
    MAX_S,
    MIN_S,
)

COLUMN = "duration_s"
MIN_WEIGHT = 1e-9
WEIGHT_COLUMN = "messages"
"""Optional column: the number of messages that a row stands for."""


def constant(mean_s: float, count: int) -> Floats:
    """`count` equal service times."""
    return np.full(count, mean_s)


def lognormal(mean_s: float, variation: float, count: int, random: np.random.Generator) -> Floats:
    """`count` lognormal service times with this mean and coefficient of variation (deviation / mean)."""
    variance = math.log1p(variation**2)
    return random.lognormal(math.log(mean_s) - variance / 2, math.sqrt(variance), count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """Measured durations, and the number of messages that each stands for."""

    seconds: Floats
    messages: Floats

    def draw(self, count: int, random: np.random.Generator) -> Floats:
        """`count` durations, drawn with the measured frequencies."""
        cumulated = np.cumsum(self.messages)
        at = random.uniform(0.0, cumulated[-1], count)
        drawn: Floats = self.seconds[np.searchsorted(cumulated, at, "right").clip(max=cumulated.size - 1)]
        return drawn


def read(path: Path) -> Durations:
    """Read durations from a CSV file; SettingError names file, line and value."""
    seconds, messages = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if COLUMN not in columns:
                raise _wrong(path, 1, ",".join(columns), f"the header has a column {COLUMN}")
            for row in reader:
                seconds.append(
                    _number(
                        path, reader.line_num, row[COLUMN], "a duration", min_value=MIN_S, max_value=MAX_S
                    )
                )
                messages.append(
                    _number(
                        path,
                        reader.line_num,
                        row[WEIGHT_COLUMN],
                        "a number of messages",
                        min_value=MIN_WEIGHT,
                        max_value=MAX_MESSAGES,
                    )
                    if WEIGHT_COLUMN in columns
                    else 1.0
                )
    except OSError as refused:
        raise SettingError(f"{path}: cannot be read: {refused.strerror}") from refused
    except (UnicodeDecodeError, csv.Error) as refused:
        raise SettingError(f"{path}: is not a CSV file: {refused}") from refused
    if not seconds:
        raise SettingError(f"{path}: there is no duration in it")
    return Durations(seconds=np.array(seconds), messages=np.array(messages))


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """Boot times: constant, or uniform between two values."""

    min_s: float
    max_s: float

    @property
    def mean_s(self) -> float:
        """The mean, as an operator would measure it."""
        return (self.min_s + self.max_s) / 2

    def drawn(self, random: np.random.Generator) -> Callable[[], float]:
        """A function that draws the boot time of the next instance, in seconds."""
        if self.min_s == self.max_s:
            return lambda: self.min_s
        return lambda: float(random.uniform(self.min_s, self.max_s))


def boot(text: str) -> Boot:
    """Parse `180` or `120-240`; ValueError says what is wrong."""
    ends = re.split(r"(?<![-eE])-", text) if not text.startswith("-") else [text]
    try:
        numbers = [float(end) for end in ends]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 <= number <= MAX_S for number in numbers):
        raise ValueError(
            f"{text!r}: a boot time is seconds such as 180, or a range such as 120-240, up to {MAX_S:,.0f}"
        )
    if numbers[0] > numbers[-1]:
        raise ValueError(f"{text!r}: a range of boot times begins with the shortest")
    return Boot(min_s=numbers[0], max_s=numbers[-1])


def _number(
    path: Path, line: int, text: str | None, what: str, *, min_value: float, max_value: float
) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not min_value <= number <= max_value:
        raise _wrong(path, line, text or "", f"{what} is a number from {min_value:g} to {max_value:,.0f}")
    return number


def _wrong(path: Path, line: int, value: str, reason: str) -> SettingError:
    return SettingError(f"{path}, line {line}: {value!r}: {reason}")
