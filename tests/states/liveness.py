"""What must happen in time from every state, if from now on the world is fair.

Fair: nobody sends a message or asks for anything, AWS runs what is desired, workers work, invocations under
way end, and each minute has one tick whose readings are fresh. Then the next tick starts a fleet for work
that waits, an empty queue brings it to its minimum, and from then on nothing changes. Before, while a pause
holds, ticks change nothing in its direction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.states.model import Actor, Kind, Scope, World
from tests.states.moves import a_minute_later, goes_on, hands_back

SETTLED_AFTER_MIN = 14
"""A surge of five minutes and its rounding, three messages, the idle minutes and the next tick."""
UNCHANGED_MIN = 3

Wrong = tuple[list[str], str]
"""The steps of a fair run, and what is wrong at its end."""


@dataclass
class Fairness:
    """Plays fair runs, each from another state once."""

    scope: Scope
    runs: int = 0
    settled: set[World] = field(default_factory=set)
    """States from which everything happens in time."""

    def __post_init__(self) -> None:
        self.fair = replace(self.scope, is_stale=False, is_unknown=False, is_late=False, every_call=False)

    def why_not_settled(self, world: World) -> Wrong | None:
        """How a fair run from here goes wrong; None if it does not."""
        steps: list[str] = []
        while world.actors:
            world = self._goes_on(world, world.actors[0], steps)
        if world in self.settled:
            return None
        self.runs += 1
        seen = [world]
        problem = self._paused(world, steps) if world.pause else None
        world = world._replace(pause="")
        for _ in range(SETTLED_AFTER_MIN):
            if problem is None and world in self.settled:
                break
            seen.append(world)
            world, problem = self._minute(world, steps) if problem is None else (world, problem)
        else:
            problem = problem or self._unsettled(world, steps)
        if problem is None:
            self.settled.update(seen)
            return None
        return steps, problem

    def _minute(self, world: World, steps: list[str]) -> tuple[World, str | None]:
        """AWS and the workers do what they have to; then the tick."""
        world = hands_back(a_minute_later(world))
        done = min(world.visible, world.running)
        left = 0 if world.running else world.in_flight
        world = world._replace(visible=world.visible - done + left, in_flight=0, running=world.desired)
        steps.append(f"a fair minute passes: {world}")
        waits = world.desired == 0 and world.visible
        world = self._tick(world, steps)
        return world, "work waits, and the tick has started nothing" if waits and not world.desired else None

    def _unsettled(self, world: World, steps: list[str]) -> str | None:
        least = self.scope.minimum
        if world.total or world.desired != least or world.minimum != least:
            return f"after {SETTLED_AFTER_MIN} fair minutes the fleet is not at its minimum"
        for _ in range(UNCHANGED_MIN):
            before = world.desired
            world, _ = self._minute(world, steps)
            if world.desired != before:
                return "the fleet changes though nothing else does"
        return None

    def _paused(self, world: World, steps: list[str]) -> str | None:
        """While a pause holds, ticks change nothing in its direction."""
        for _ in range(UNCHANGED_MIN):
            world = a_minute_later(world)._replace(surges=())
            after = self._tick(world, steps)
            is_held = {"in": after.desired < world.desired, "out": after.desired > world.desired}
            if is_held.get(world.pause, after.desired != world.desired):
                return f"the tick changes a fleet that is paused {world.pause}"
            world = after
        return None

    def _tick(self, world: World, steps: list[str]) -> World:
        world = world._replace(actors=(Actor(Kind.TICK, 0, (), world.pause),))
        while world.actors:
            world = self._goes_on(world, world.actors[0], steps)
        return world

    def _goes_on(self, world: World, actor: Actor, steps: list[str]) -> World:
        label, world, _ = next(goes_on(world, actor, self.fair))
        steps.append(f"{label}: {world}")
        return world
