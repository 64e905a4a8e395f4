"""Which slot looks for a batch next, and so whether a batch that is due has to wake one.

Slots (threads) look for a batch, work on it and look again. A slot that finds none spins for a moment, if
that is allowed, and then waits to be woken. Waking a thread costs more than a short message does, so at most
one slot is on its way at a time: whoever looks and finds a batch wakes the next one. One slot can then work
off a whole receive while the others sleep.

    event                            | NOBODY                  | WOKEN or SPINNING
    ---------------------------------|-------------------------|----------------------------------
    a batch is due, a slot waits     | wake it, become WOKEN   | nothing: that slot will see it
    a slot has looked                | stay                    | become NOBODY
    a slot found nothing and spins   | become SPINNING         | become SPINNING
    a slot found nothing and waits   | stay                    | become NOBODY

After each look the dispatcher asks again whether a slot has to be woken, so no batch is forgotten.

Owns these states. Never locks, notifies or reads a clock: the dispatcher calls it under its own lock.
"""

from __future__ import annotations

from enum import Enum


class NextLook(Enum):
    """The slot that will look next without being woken for it."""

    NOBODY = "nobody"
    """Every slot works or waits: a batch that is due has to wake one."""
    WOKEN = "woken"
    """A slot was notified and has not looked yet."""
    SPINNING = "spinning"
    """A slot spins, and looks when it is done."""


class SlotWakeups:
    """The slots of one dispatcher.

    `spin_from` is the prefetch limit, in messages, from which a slot that found nothing spins; infinity if
    no slot may.
    """

    __slots__ = ("_spin_from", "next_look", "waiting")

    def __init__(self, *, spin_from: float) -> None:
        self._spin_from = spin_from
        self.next_look = NextLook.NOBODY
        self.waiting = 0
        """Slots that wait to be woken."""

    def needs_wake(self) -> bool:
        """Whether a batch that is due would be seen by nobody, though a slot waits."""
        return self.waiting > 0 and self.next_look is NextLook.NOBODY

    def wake(self) -> None:
        """A waiting slot is notified."""
        self.next_look = NextLook.WOKEN

    def looked(self) -> None:
        """A slot has looked, whatever it found.

        This holds for any slot, not only for the one that was woken. A slot whose wait times out just as it
        is notified cannot tell that it was. If only a notified slot ended WOKEN, that state would stay for
        good, and no batch would wake anybody. Ending it too early costs one wake-up that finds nothing.
        """
        self.next_look = NextLook.NOBODY

    def spins(self, prefetch_limit: int) -> bool:
        """Whether a slot that found nothing spins, given how many messages may be held now.

        It spins only while handlers are so quick that the buffer, not the slots, bounds what may be held:
        then polls go on meanwhile, and nothing waits for this slot.
        """
        spins = prefetch_limit >= self._spin_from
        self.next_look = NextLook.SPINNING if spins else NextLook.NOBODY
        return spins

    def start_wait(self) -> None:
        """A slot found nothing and waits."""
        self.next_look = NextLook.NOBODY
        self.waiting += 1

    def end_wait(self) -> None:
        """A slot's wait is over: it was notified, or its time is up. It looks next."""
        self.waiting -= 1
