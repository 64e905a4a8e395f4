"""What `sluice plan` is asked: what arrives, what a message takes, and what was promised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sluice.core.drain import Work
from sluice.core.model import Deadline
from sluice_operator.core.staffing import variability

LARGEST_MARGIN_S = 20.0
MARGIN_SHARE = 0.25
"""Of a short promise: the margin has to be below it."""
SPREAD_DEVIATIONS = 3.0902
"""Standard deviations of a normal distribution that 99.9 % stay below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Messages that arrive, on average and, where they were counted, in each interval."""

    per_s: float
    counts: Sequence[int] = ()
    interval_s: float = 0.0

    @classmethod
    def counted(cls, counts: Sequence[int], interval_s: float) -> Arrivals:
        """Those of a trace."""
        return cls(per_s=sum(counts) / (len(counts) * interval_s), counts=counts, interval_s=interval_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """All that a plan is made for. Times are finite; processing time, concurrency and promise exceed 0."""

    arrivals: Arrivals
    processing_s: float
    """Mean seconds of a message."""
    processing_cv: float = 0.0
    """Coefficient of variation of the processing times: deviation / mean."""
    longest_s: float | None = None
    """The longest processing time, if it is known."""
    concurrency: int = 1
    """Messages that an instance processes at a time."""
    promise_s: float
    promise_percent: float
    boot_s: float
    backlog: float = 0.0
    drain_within_s: float | None = None
    maximum: int | None = None
    """The most instances that there may be, if there is a limit."""

    @property
    def work(self) -> Work:
        """The same as a fluid, for the time to drain."""
        return Work(
            backlog=self.backlog,
            arrivals_per_s=self.arrivals.per_s,
            processing_s=self.processing_s,
            concurrency_per_instance=self.concurrency,
        )

    @property
    def load(self) -> float:
        """Slots that the arrivals keep busy on average (Little)."""
        return self.arrivals.per_s * self.processing_s

    @property
    def late_allowed(self) -> float:
        """Share of the messages that may start late."""
        return 1 - self.promise_percent / 100

    @property
    def variability(self) -> float:
        """How much longer messages wait than in M/M/k."""
        return variability(self.processing_cv)

    @property
    def deadline(self) -> Deadline:
        """The promise as the deadline engine takes it."""
        margin_s = math.floor(min(LARGEST_MARGIN_S, MARGIN_SHARE * self.promise_s))
        return Deadline(
            promise_s=self.promise_s,
            promise_percent=self.promise_percent,
            boot_s=self.boot_s,
            margin_s=margin_s,
        )

    @property
    def assumed_longest_s(self) -> float:
        """The longest processing time as given; otherwise what 99.9 % of lognormal times stay below."""
        if self.longest_s is not None:
            return self.longest_s
        sigma = math.sqrt(math.log1p(self.processing_cv**2))
        return self.processing_s * math.exp(SPREAD_DEVIATIONS * sigma - sigma**2 / 2)

    def instances(self, slots: float) -> int:
        """Slots as whole instances."""
        return math.ceil(slots / self.concurrency - 1e-9)
