"""A switch between two colors, step by step, its ways back, and that nothing half done is left."""

from dataclasses import dataclass, field, replace

import pytest

from sluice.core.model import (
    AutoScalingGroup,
    Bounds,
    Color,
    ColoredFleet,
    Decision,
    EcsService,
    Kind,
    Mode,
    Reason,
    Workload,
)
from sluice.core.switch import Next
from sluice.core.switch_record import Step
from sluice.errors import ConfigError, SluiceError, TransientError
from sluice.events import SwitchRequest
from sluice.ports import Outcome, Policy
from sluice.usecases.switch import StepDone, switch_step
from tests.support.builders import ecs_workload, workload
from tests.support.fakes import FakeAccount

ALICE = "arn:aws:sts::123456789012:assumed-role/on-call/alice"
RUN, OTHER_RUN = (
    f"arn:aws:states:eu-west-1:123456789012:execution:sluice-switch:{name}" for name in ("one", "two")
)
BOUNDS = Bounds(min=0, max=10)
HOLDS = {"AlarmNotificationSuspended", "DynamicScalingInSuspended"}


@dataclass
class Switched:
    """A blue/green workload, whose blue color is active, and the steps that its state machine asks for."""

    account: FakeAccount
    workload: Workload
    log: list[StepDone] = field(default_factory=list)

    @property
    def blue(self):
        return self.workload.fleet

    @property
    def green(self):
        assert self.workload.idle is not None
        return self.workload.idle.fleet

    def step(self, step, *, to=None, execution=RUN, **changes):
        request = SwitchRequest(
            **(
                {
                    "step": Step(step),
                    "workload": self.workload.name,
                    "to": to,
                    "by": ALICE,
                    "execution": execution,
                    "ready_s": 1800,
                    "drain_s": 3600,
                }
                | changes
            )
        )
        done = switch_step(request, self.account.ports, self.account.report, self.account.remaining_s)
        self.log.append(done)
        return done

    def until_over(self, step, **changes):
        """Repeat the step as the state machine does, until it is not to wait any more."""
        for _ in range(500):
            done = self.step(step, **changes)
            if done.outcome is not Next.WAIT:
                return done
            assert done.wait_s > 0
            self.account.clock.advance(seconds=done.wait_s)
            self.account.fleets.settle()
        raise AssertionError(f"{step} waits for ever: {done.detail}")

    def steps(self, *steps):
        return [self.until_over(step).outcome for step in steps]

    def size(self, fleet):
        has = self.account.fleets.capacities[fleet]
        return has.bounds.min, has.desired

    @property
    def active(self):
        return self.account.registry.registered[self.workload.name].color

    @property
    def record(self):
        stored = self.account.states.stored.get(self.workload.name)
        return None if stored is None else stored.switch

    @property
    def draining(self):
        return self.account.colors.draining.get(self.workload.name)

    def holds(self, fleet):
        """The fields that hold the fleet."""
        return {name for name, held in self.account.freezes.fields(fleet).items() if held}

    def works(self, fleet, busy):
        self.account.occupancy.protected[fleet] = busy

    def reasons(self):
        return [
            decision.reason
            for decision, _ in self.account.report.decisions
            if isinstance(decision, Decision) and decision.kind is Kind.SWITCH
        ]


def pair(account, kind="asg", *, visible=20, desired=4, **changes):
    """Blue with some instances, three of them busy, and green at zero."""
    if kind == "asg":
        blue = workload(max_instances=10)
        green = AutoScalingGroup(name="transcription-green")
    else:
        blue = replace(ecs_workload(), bounds=BOUNDS)
        green = EcsService(cluster="workers", service="queue-proc-green")
    green_arn = f"{blue.policy_arn}-green"
    served = replace(
        blue,
        idle=ColoredFleet(color=Color.GREEN, fleet=green, policy_arn=green_arn),
        **changes,
    )
    in_flight = min(3, desired) if visible else 0
    account.add_workload(served, visible=visible, in_flight=in_flight, desired=desired, bounds=BOUNDS)
    account.fleets.capacities[green] = replace(account.fleets.capacities[served.fleet], desired=0, running=0)
    for fleet, arn, target in ((served.fleet, blue.policy_arn, 5.0), (green, green_arn, 8.0)):
        account.policies.by_arn[arn] = Policy(fleet=fleet, target=target, definition={})
    account.occupancy.protected[served.fleet] = in_flight
    return Switched(account, served)


@pytest.fixture(params=["asg", "ecs"])
def switched(request, account):
    return pair(account, request.param)


class TestASwitch:
    def test_green_takes_over_and_blue_ends_at_zero_with_nothing_held(self, switched):
        assert switched.steps("begin", "freeze", "raise") == [Next.NEXT] * 3
        assert switched.size(switched.green) == (0, 5)
        assert switched.holds(switched.blue) & HOLDS
        switched.account.fleets.settle()
        switched.works(switched.green, 2)
        assert switched.steps("ready", "flip") == [Next.NEXT] * 2
        assert switched.active is Color.GREEN
        assert switched.step("drain").outcome is Next.WAIT
        assert switched.draining is Color.BLUE
        switched.works(switched.blue, 0)
        assert switched.steps("drain", "retire", "finish") == [Next.NEXT] * 3
        assert switched.size(switched.blue) == (0, 0)
        assert switched.size(switched.green) == (0, 5)
        assert (switched.record, switched.draining) == (None, None)
        assert switched.holds(switched.blue) == switched.holds(switched.green) == set()
        assert switched.account.policies.by_arn[switched.workload.idle.policy_arn].target == 5
