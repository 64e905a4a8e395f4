"""The simulator's virtual clock: runs actions in order of (time, priority, id), and never sleeps.

Times are epoch seconds. Two runs that schedule the same actions run them in the same order: at the same time
the lower priority number goes first, then the action that was scheduled first. Times in the past, nested runs
and times that are not finite are ClockErrors.
"""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

Action = Callable[[], object]


class ClockError(ValueError):
    """An impossible schedule: a time in the past, a period that is not positive, a nested run."""


@dataclass(slots=True, kw_only=True)
class _Scheduled:
    """A scheduled action; a recurring one runs every `period_s` seconds, counted from `first`."""

    action: Action
    priority: int
    first: float
    period_s: float | None
    runs: int = 0


class VirtualClock:
    """Virtual time: schedule actions, then `run_until` a later time. Actions read `now` themselves.

    `on_advance` is called with every new time before any action runs at it, so that other clocks can follow.
    """

    def __init__(self, start: float = 0, *, on_advance: Callable[[float], object] = lambda _: None) -> None:
        _require_finite(start, "the start")
        self._now = start
        self._on_advance = on_advance
        self._agenda: list[tuple[float, int, int]] = []
        self._scheduled: dict[int, _Scheduled] = {}
        self._next_id = 0
        self._running = False

    @property
    def now(self) -> float:
        """The current time, epoch seconds."""
        return self._now

    def at(self, time: float, action: Action, *, priority: int = 0) -> int:
        """Run `action` once at `time` (epoch seconds); returns an id for `cancel`."""
        return self._schedule(time, action, priority, None)

    def every(self, period_s: float, action: Action, *, first: float | None = None, priority: int = 0) -> int:
        """Run `action` at `first` (by default one period from now) and every `period_s` seconds after it.

        It keeps its id, and therefore its order among actions of the same time and priority.
        """
        if not (math.isfinite(period_s) and period_s > 0):
            raise ClockError(
                f"a period of {period_s} s never advances the clock; give a positive number of seconds"
            )
        return self._schedule(self._now + period_s if first is None else first, action, priority, period_s)

    def cancel(self, event_id: int) -> bool:
        """Cancel a scheduled action, recurring or not; False if it has already run or been cancelled."""
        return self._scheduled.pop(event_id, None) is not None

    def run_until(self, time: float) -> None:
        """Run every action due up to and including `time`, then set the clock to `time`.

        An action's exception is propagated: the clock then shows that action's time, and a recurring action
        stays scheduled for its next time.
        """
        self._require_future(time, "run until")
        if self._running:
            raise ClockError(
                f"run_until({time}) was called by an action at {self._now}; schedule with at() instead"
            )
        self._running = True
        try:
            while self._agenda and self._agenda[0][0] <= time:
                self._run_next()
            self._advance(time)
        finally:
            self._running = False

    def _run_next(self) -> None:
        time, _, event_id = heapq.heappop(self._agenda)
        entry = self._scheduled.pop(event_id, None)
        if entry is None:  # cancelled
            return
        self._advance(time)
        if entry.period_s is not None:  # rescheduled first, so that the action may cancel its own series
            entry.runs += 1
            self._enter(event_id, entry)
        entry.action()

    def _advance(self, time: float) -> None:
        if time != self._now:
            self._now = time
            self._on_advance(time)

    def _schedule(self, time: float, action: Action, priority: int, period_s: float | None) -> int:
        self._require_future(time, "schedule an action at")
        event_id = self._next_id
        self._next_id += 1
        self._enter(event_id, _Scheduled(action=action, priority=priority, first=time, period_s=period_s))
        return event_id

    def _enter(self, event_id: int, entry: _Scheduled) -> None:
        # first + runs * period, not a running sum: fractional periods must not drift
        time = entry.first + entry.runs * (entry.period_s or 0)
        self._scheduled[event_id] = entry
        heapq.heappush(self._agenda, (time, entry.priority, event_id))

    def _require_future(self, time: float, what: str) -> None:
        _require_finite(time, f"the time to {what}")
        if time < self._now:
            raise ClockError(f"cannot {what} {time}: it is {self._now} already; give a time from now on")


def _require_finite(time: float, what: str) -> None:
    if not math.isfinite(time):
        raise ClockError(f"{what} is {time}; give finite epoch seconds")
