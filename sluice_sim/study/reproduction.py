"""Whether a simulation of the present settings reproduces what really happened, said as errors.

Both sides are counted alike: an instance costs from when it is desired until it no longer runs, which is the
larger of desired and running in every minute. Minutes that CloudWatch does not have count on neither side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sluice_sim.simulator.queue_kernel import Floats
from sluice_sim.simulator.run import Run

MAX_HOURS_ERROR = 0.10
MAX_SHARE_ERROR_POINTS = 5.0
MINUTES_PER_HOUR = SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Minutes:
    """Desired and running instances at the end of every minute; NaN where they are unknown."""

    desired: Floats
    running: Floats

    @property
    def paid(self) -> Floats:
        """Instances that cost in each minute: those that boot, run or drain."""
        return np.maximum(self.desired, self.running)

    def since(self, at_s: float) -> Minutes:
        """Without the minutes before this time."""
        first = round(at_s / SECONDS_PER_MINUTE)
        return Minutes(desired=self.desired[first:], running=self.running[first:])

    def followed_by(self, later: Minutes) -> Minutes:
        """These minutes, and then the later ones."""
        return Minutes(
            desired=np.concatenate([self.desired, later.desired]),
            running=np.concatenate([self.running, later.running]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What happened, what the simulation of the same settings says, and by how much it is wrong."""

    known_minutes: int
    """Minutes of which CloudWatch has both counts."""
    happened_instance_hours: float
    simulated_instance_hours: float
    happened_share: float
    """Share of the messages that started within the promise, 0 to 1."""
    simulated_share: float
    desired_error: float
    """Mean absolute difference of the desired instances."""
    running_error: float

    @property
    def hours_error(self) -> float:
        """Of the instance-hours, as a ratio; above 0 if the simulation has more."""
        if not self.happened_instance_hours:
            return float(self.simulated_instance_hours > 0)
        return self.simulated_instance_hours / self.happened_instance_hours - 1

    @property
    def share_error_points(self) -> float:
        """Of the share in time, in percentage points; above 0 if the simulation has more in time."""
        return 100 * (self.simulated_share - self.happened_share)

    def problems(self) -> Iterator[str]:
        """Why a recommendation would rest on a wrong simulation; nothing if it reproduces what happened."""
        if abs(self.hours_error) > MAX_HOURS_ERROR:
            yield f"its instance-hours are off by {self.hours_error:+.1%}, more than {MAX_HOURS_ERROR:.0%}"
        if abs(self.share_error_points) > MAX_SHARE_ERROR_POINTS:
            yield (
                f"its share of messages in time is off by {self.share_error_points:+.1f} points, more than "
                f"{MAX_SHARE_ERROR_POINTS:g}"
            )


def minutes_of(run: Run) -> Minutes:
    """The minutes of a run over its trace; a snapshot shows the end of the minute before it."""
    within = [one for one in run.snapshots[1:] if one.now_s <= run.load.horizon_s + 1e-6]
    return Minutes(
        desired=np.array([one.desired for one in within], np.float64),
        running=np.array([one.running for one in within], np.float64),
    )


def compare(
    happened: Minutes, happened_share: float, simulated: Minutes, simulated_share: float
) -> Reproduction:
    """Compare two records of the same minutes."""
    size = min(happened.desired.size, simulated.desired.size)
    real = Minutes(desired=happened.desired[:size], running=happened.running[:size])
    made = Minutes(desired=simulated.desired[:size], running=simulated.running[:size])
    known = ~np.isnan(real.desired) & ~np.isnan(real.running)
    return Reproduction(
        known_minutes=int(known.sum()),
        happened_instance_hours=float(real.paid[known].sum()) / MINUTES_PER_HOUR,
        simulated_instance_hours=float(made.paid[known].sum()) / MINUTES_PER_HOUR,
        happened_share=happened_share,
        simulated_share=simulated_share,
        desired_error=_mean_difference(real.desired, made.desired, known),
        running_error=_mean_difference(real.running, made.running, known),
    )


def _mean_difference(real: Floats, made: Floats, known: np.ndarray) -> float:
    return float(np.abs(real - made)[known].mean()) if known.any() else 0.0
