"""Stops and resumes receiving as the parameter of a blue/green workload says.

This is no drain of the process: what was received is finished, and the worker stays up. Read by one process
of an instance or task for all of them, because the account's GetParameter calls share one throttle.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from sluice.errors import ConfigError
from sluice_worker.core.draining_color import VALUES, is_draining
from sluice_worker.ports import Parameter
from sluice_worker.runtime.lifecycle import JITTER, AwsCall, PeriodicTask

log = logging.getLogger(__name__)

READ_INTERVAL_S = 10.0
"""Between two reads on average: 400 instances reach the 40 GetParameter calls a second that an account has
by default in a region."""
CHECK_INTERVAL_S = 0.5
CONSEQUENCE = "what was last read counts, and before the first reading messages are received"


class DrainingColor:
    """Whether this worker's color receives no more, as last read. A failed read changes nothing."""

    def __init__(
        self, parameter: Parameter, color: str, *, random_share: Callable[[], float] = random.random
    ) -> None:
        """`random_share` returns numbers from 0 to 1: a fleet's workers must not read together."""
        self._parameter, self._color, self._random_share = parameter, color, random_share
        self._is_draining = False
        self._read_at = float("-inf")
        self._call = AwsCall(CONSEQUENCE)

    @property
    def is_draining(self) -> bool:
        """Whether nothing may be received; False before the first successful read."""
        return self._is_draining

    def read_if_due(self, now: float) -> None:
        """Read the parameter every READ_INTERVAL_S; `now` in seconds of a monotonic clock."""
        if now >= self._read_at:
            self._read_at = now + READ_INTERVAL_S * (1 + JITTER * (2 * self._random_share() - 1))
            self._call.attempt(self._read)

    def _read(self) -> None:
        name, value = self._parameter.name, self._parameter.value()
        draining = is_draining(value, self._color)
        if draining is None:
            raise ConfigError(f"the parameter {name} is {value[:40]!r}: put one of {', '.join(VALUES)}")
        if draining and not self._is_draining:
            log.info(
                "nothing is received for now, and what was received is finished: %s is %s, the color of this "
                "worker",
                name,
                value,
            )
        elif self._is_draining and not draining:
            log.info("messages are received again: %s is %s", name, value)
        self._is_draining = draining


class DrainingColorReader(PeriodicTask):
    """Keeps a `DrainingColor` current."""

    def __init__(self, draining_color: DrainingColor) -> None:
        super().__init__("draining-color", CHECK_INTERVAL_S)
        self._draining_color = draining_color

    def check(self, now: float) -> None:
        """Read the parameter if that is due."""
        self._draining_color.read_if_due(now)

    def finish(self) -> None:
        """Make no last call."""
