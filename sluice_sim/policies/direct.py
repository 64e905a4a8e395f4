"""The desired count straight from the backlog, held by a cooldown in each direction.

Source: scalers in the manner of buildkite-agent-scaler: a function that runs every minute, divides the work
there is by what one instance may have, and sets the desired capacity; a scale-out waits five minutes after
the one before, a scale-in an hour.

At 0 it starts by itself, with as many as the backlog asks for.
"""

from __future__ import annotations

import math

from sluice_sim.simulator.context import (
    Site,
    every,
)
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.metrics import MINUTE_S

OUT_COOLDOWN_S = 300.0
IN_COOLDOWN_S = 3600.0


class Policy:
    """ceil(backlog / target) every minute, five minutes between scale-outs, an hour between scale-ins."""

    name = "direct"
    scale_in: ScaleIn | None = None
    tick_s = float(MINUTE_S)

    def attach(self, site: Site) -> None:
        """One function, every tick."""
        self._site = site
        self._out_s = self._in_s = -math.inf
        every(site, self.tick_s, self._tick)

    def _tick(self) -> None:
        look, site = self._site.view(), self._site
        asked = math.ceil(look.backlog / site.target_per_instance)
        wanted = min(max(asked, site.minimum), site.maximum)
        if wanted > look.desired and look.now_s >= self._out_s + OUT_COOLDOWN_S:
            self._out_s = look.now_s
        elif wanted < look.desired and look.now_s >= self._in_s + IN_COOLDOWN_S:
            self._in_s = look.now_s
        else:
            return
        site.ask(wanted, f"a backlog of {look.backlog} at {site.target_per_instance:.3g} per instance")
