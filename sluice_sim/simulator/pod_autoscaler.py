"""Kubernetes' HorizontalPodAutoscaler: one metric, its algorithm, and its default behaviour.

Source: Kubernetes' documentation of the HorizontalPodAutoscaler ("Algorithm details", "Configurable scaling
behavior" and its defaults), and its replica calculator for which pods count:

- AverageValue asks for ceil(metric / target) pods, Value for ceil(ready pods x metric / target).
- Within a tenth of the target nothing changes.
- Up: at once, and at most double or four more pods, whichever is more, than there were 15 s before.
- Down: to the highest recommendation of the last 300 s, at most all at once.
- Without a value nothing changes; at 0 pods nothing is decided.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

SYNC_S = 15.0
"""Sync period, and also the period of the autoscaler's scale-up rules."""
TOLERANCE_RATIO = 0.1
STABILISATION_S = 300.0
UP_FACTOR, UP_INSTANCES = 2, 4


def for_average_value(value: float, target: float, current: int) -> int:
    """The recommended pods where `target` is what one pod takes of the whole value."""
    if _is_within_tolerance(value / (target * current)):
        return current
    return max(math.ceil(value / target), 1)


def for_value(value: float, target: float, current: int, ready: int) -> int:
    """The recommended pods where the value falls in proportion as pods are added, such as a mean per pod.

    `current` pods are wished for, and `ready` ones run.
    """
    if _is_within_tolerance(value / target):
        return current
    return max(math.ceil(ready * value / target), 1)


def _is_within_tolerance(ratio: float) -> bool:
    return abs(ratio - 1) <= TOLERANCE_RATIO


@dataclass(slots=True)
class PodAutoscaler:
    """The default behaviour over recommendations, which it remembers for the stabilisation window."""

    _recommendations: deque[tuple[float, int]] = field(default_factory=deque)

    def forget(self) -> None:
        """Start anew, as after 0 pods."""
        self._recommendations.clear()

    def desired(self, recommended: int, current: int, now_s: float) -> int:
        """The pods to set at this sync; call it every `SYNC_S`."""
        self._recommendations.append((now_s, recommended))
        while self._recommendations[0][0] <= now_s - STABILISATION_S:
            self._recommendations.popleft()
        if recommended > current:
            return min(recommended, max(UP_FACTOR * current, current + UP_INSTANCES))
        highest = max(recommended for _, recommended in self._recommendations)
        return max(min(highest, current), 1)
