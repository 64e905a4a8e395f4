"""A blue/green workload in memory, its workers as time passes, and a switch as the state machine does it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from sluice.core.model import (
    AutoScalingGroup,
    Bounds,
    Color,
    ColoredFleet,
    Decision,
    EcsService,
    Fleet,
    Kind,
    Reason,
    Unknown,
    Workload,
)
from sluice.core.switch import Next
from sluice.core.switch_record import Step, Switch
from sluice.errors import SluiceError, TransientError
from sluice.events import SwitchRequest
from sluice.ports import Policy
from sluice.usecases.switch import StepDone, switch_step
from tests.support.builders import ecs_workload, workload
from tests.support.fakes import FakeAccount

ALICE = "arn:aws:sts::123456789012:assumed-role/on-call/alice"
RUN, OTHER_RUN = (
    f"arn:aws:states:eu-west-1:123456789012:execution:sluice-switch:{name}" for name in ("one", "two")
)
BOUNDS = Bounds(min=0, max=10)
MESSAGE_S = 40
"""A message takes this long, so that is how long a color that receives no more is busy."""
ATTEMPTS = 3


class Aborted(BaseException):
    """Somebody stops the execution in the middle of a step."""


@dataclass
class Switched:
    """A blue/green workload whose blue color is active, and the steps that its state machine asks for."""

    account: FakeAccount
    workload: Workload
    log: list[StepDone] = field(default_factory=list)
    told_for_s: float = 0
    """For how long the draining color has received no more."""
    deaf: bool = False
    """Whether the workers do not know the draining color, and go on receiving."""
    shows_work: bool = True
    """Whether the workers protect their instances while they work."""

    @property
    def blue(self) -> Fleet:
        return self.workload.fleet

    @property
    def green(self) -> Fleet:
        assert self.workload.idle is not None
        return self.workload.idle.fleet

    def step(self, step: str, *, to: Color | None = None, execution: str = RUN, **changes: float) -> StepDone:
        request = SwitchRequest(
            step=Step(step),
            workload=self.workload.name,
            to=to,
            by=ALICE,
            execution=execution,
            ready_s=changes.get("ready_s", 1800),
            drain_s=changes.get("drain_s", 3600),
        )
        done = switch_step(request, self.account.ports, self.account.report, self.account.remaining_s)
        self.log.append(done)
        return done

    def until_over(self, step: str, *, execution: str = RUN, **changes: float) -> StepDone:
        """Repeat the step as the state machine does, until it is not to wait any more."""
        for _ in range(500):
            done = self.step(step, execution=execution, **changes)
            if done.outcome is not Next.WAIT:
                return done
            assert done.wait_s > 0
            self.wait(done.wait_s)
        raise AssertionError(f"{step} waits for ever: {done.detail}")

    def steps(self, *steps: str) -> list[Next]:
        return [self.until_over(step).outcome for step in steps]

    def play(self) -> str:
        """The whole switch, as the definition in template.yaml has it; how it ends."""
        try:
            begun = self._attempted("begin").outcome
            if begun is Next.NOTHING_TO_DO:
                return "Done"
            if begun is Next.NEXT:
                self._attempted("freeze")
                self._attempted("raise")
                if self._attempted("ready").outcome is Next.TIMED_OUT:
                    return self._ended("roll_back", "RolledBack")
            flipped = self._attempted("flip").outcome
        except SluiceError:
            return self._ended("roll_back", "RolledBack")
        with suppress(SluiceError):
            if flipped is Next.NEXT and self._attempted("drain").outcome is Next.NEXT:
                self._attempted("retire")
        return self._ended("finish", "Done")

    def _attempted(self, step: str, retried: type[SluiceError] = TransientError) -> StepDone:
        for _ in range(ATTEMPTS - 1):
            with suppress(retried):
                return self.until_over(step)
        return self.until_over(step)

    def _ended(self, step: str, well: str) -> str:
        is_late = self._attempted(step, SluiceError).outcome is Next.TIMED_OUT
        return "ColorStays" if is_late else well

    # ---- the workers, as time passes ---------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """All desired instances run; those that may receive are busy while messages are there."""
        self.account.clock.advance(seconds=seconds)
        self.account.fleets.settle()
        self.told_for_s = 0 if self.draining is None else self.told_for_s + seconds
        for color, fleet in ((Color.BLUE, self.blue), (Color.GREEN, self.green)):
            running = self.account.fleets.capacities[fleet].running
            receives = self.deaf or self.draining is not color or self.told_for_s < MESSAGE_S
            busy = min(running, 3) if receives and self.has_messages and self.shows_work else 0
            self.account.occupancy.protected[fleet] = busy

    @property
    def has_messages(self) -> bool:
        return self.account.queues.backlogs[self.workload.queue_url].total > 0

    # ---- what is there -----------------------------------------------------------------------------------

    def size(self, fleet: Fleet) -> tuple[int, int]:
        """Its own minimum, 0 if it has none, and its desired count."""
        has = self.account.fleets.capacities[fleet]
        return has.bounds.min if has.bounds else 0, has.desired

    @property
    def active(self) -> Color | None:
        told = self.account.registry.colors.get(self.workload.name)
        return self.workload.color if told is None else Color(told)

    @property
    def record(self) -> Switch | None:
        stored = self.account.states.stored.get(self.workload.name)
        found = None if stored is None else stored.switch
        assert found is None or isinstance(found, Switch)
        return found

    @property
    def draining(self) -> Color | None:
        return self.account.colors.draining.get(self.workload.name)

    def held(self, fleet: Fleet) -> set[str]:
        """The fields that hold the fleet."""
        return {name for name, is_held in self.account.freezes.by_fleet.get(fleet, {}).items() if is_held}

    def works(self, fleet: Fleet, busy: int) -> None:
        self.account.occupancy.protected[fleet] = busy

    def finishes(self, fleet: Fleet, has_hook: bool | Unknown) -> None:
        self.account.occupancy.finishing[fleet] = has_hook

    def reasons(self) -> list[Reason]:
        return [decision.reason for decision in self.decisions()]

    def decisions(self) -> list[Decision]:
        return [
            decision
            for decision, _ in self.account.report.decisions
            if isinstance(decision, Decision) and decision.kind is Kind.SWITCH
        ]

    def facts(self) -> Mapping[str, object]:
        """All that a switch that is undone puts back."""
        return {
            "active": self.active,
            "record": self.record,
            "draining": self.draining,
            "blue": self.size(self.blue),
            "green": self.size(self.green),
            "held": (self.held(self.blue), self.held(self.green)),
        }


def pair(
    account: FakeAccount,
    kind: str = "asg",
    *,
    visible: int = 20,
    desired: int = 4,
    minimum: int = 0,
    green: int = 0,
    **changes: object,
) -> Switched:
    """Blue with some instances, three of them busy, and green with as many as said."""
    blue: Workload
    other: Fleet
    if kind == "asg":
        blue, other = workload(max_instances=10), AutoScalingGroup(name="transcription-green")
    else:
        blue = replace(ecs_workload(), bounds=BOUNDS)
        other = EcsService(cluster="workers", service="queue-proc-green")
    own = Bounds(min=minimum, max=10)
    green_arn = f"{blue.policy_arn}-green"
    served = replace(
        blue,
        bounds=own,
        idle=ColoredFleet(color=Color.GREEN, fleet=other, policy_arn=green_arn),
        **changes,
    )
    in_flight = min(3, desired) if visible else 0
    account.add_workload(served, visible=visible, in_flight=in_flight, desired=desired, bounds=own)
    has = account.fleets.capacities[served.fleet]
    account.fleets.capacities[other] = replace(has, desired=green, running=green, bounds=BOUNDS)
    for fleet, arn, target in ((served.fleet, str(blue.policy_arn), 5.0), (other, green_arn, 8.0)):
        account.policies.by_arn[arn] = Policy(fleet=fleet, target=target, definition={})
    account.occupancy.protected[served.fleet] = in_flight
    return Switched(account, served)
