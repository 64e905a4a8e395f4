"""What the deadline engine remembers of one workload between two ticks.

No reading shows how old the waiting messages are, how many arrived, or when a booting instance will be ready.
All three follow from successive readings, so the earlier ones leave this behind. Times are seconds since the
epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

from sluice.core.model import Backlog


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Messages inferred to have arrived between two readings."""

    until_s: float
    elapsed_s: float
    messages: float

    @property
    def since_s(self) -> float:
        """The earliest moment at which they may have arrived."""
        return self.until_s - self.elapsed_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """How many messages needed which safety factor, by class of it, over about a day; older ones fade."""

    seconds: float = 0.0
    """How long they were counted, fading with them."""
    newest_s: float = 0.0
    """When the newest of them had arrived."""
    loaded: tuple[float, ...] = ()
    """Messages that arrived while others had arrived shortly before."""
    idle: tuple[float, ...] = ()
    """Messages that arrived a boot after none had arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Instances that were launched at the same tick and are not ready yet."""

    at_s: float
    instances: int
    warm: bool = False
    """Whether they were started from the warm pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootSamples:
    """`weight` instances took `boot_s` seconds from launch to ready; weights fade as newer samples come."""

    boot_s: float
    weight: float
    warm: bool = False
    """Whether they were started from the warm pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """What is known of the message groups of a FIFO queue."""

    in_flight: float = 0.0
    """The most messages in flight, fading over an hour."""
    was_idle: bool = False
    """Whether an instance was idle at the last reading while messages waited."""
    limited_until_s: float = 0.0
    """Until when the groups in flight are taken to be all there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """The memory of one workload, as the newest tick left it."""

    tick_s: float
    """The scheduled moment of that tick."""
    read_s: float
    """When the tick read the queue and the fleet."""
    backlog: Backlog
    desired: int
    """The desired count that this tick asked for."""
    floor: int = 0
    """Instances that it holds for messages that arrive within a boot."""
    running: int = 0
    """Instances that ran at the reading."""
    warm: int = 0
    """Stopped instances of the warm pool at the reading; 0 where that is unknown."""
    deficit: float = 0.0
    """Messages by which earlier arrivals were estimated too high, as a number <= 0."""
    recent: tuple[Arrivals, ...] = ()
    """Arrivals of the last `RATE_WINDOW_S` seconds, where a floor is held also those of a boot before, oldest
    first."""
    waiting: tuple[Arrivals, ...] = ()
    """The arrivals that still wait, oldest first."""
    safety: Safety = Safety()
    """What a floor needs; empty where the promise leaves time for a boot."""
    launches: tuple[Launch, ...] = ()
    """Oldest first, those from the warm pool first."""
    ready: tuple[BootSamples, ...] = ()
    """Boot times that do not count yet: launches that booted beside them still boot."""
    ready_since_s: float | None = None
    """When the first of `ready` was ready."""
    boots: tuple[BootSamples, ...] = ()
    """Boot times measured so far, cold ones first, shortest first."""
    groups: Groups | None = None
    """None for a standard queue."""
    surplus_since_s: float | None = None
    """Since when the fleet has had more instances than needed; None where it has not."""
    out_of_reach_logged_s: float | None = None
    """When the log last said that the promise cannot be kept from zero instances."""
