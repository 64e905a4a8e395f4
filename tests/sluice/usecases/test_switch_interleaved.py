"""A switch among ticks, alarms, pauses, surges and time: the idle color never scales, the active never drops.

Below what it had when the switch began, until it is over.
"""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.model import Color, Trigger
from sluice.core.pause import BOTH, Pause
from sluice.core.surge import Asked
from sluice.core.switch_record import Step
from sluice.errors import SluiceError
from sluice.usecases.alarms import on_bootstrap_alarm, on_shutdown_alarm
from sluice.usecases.surge import surge
from sluice.usecases.tick import publish_backlog
from tests.support.builders import alarm
from tests.support.fakes import FakeAccount
from tests.support.switching import ALICE, OTHER_RUN, RUN, Switched, pair

RAISES, LOWERS = {Step.RAISE}, {Step.RETIRE, Step.ROLL_BACK, Step.RESTORE}
SIZED_BY_A_SWITCH = RAISES | LOWERS


def act(switched: Switched, what: str, number: int) -> None:
    account = switched.account
    workload = account.registry.one(switched.workload.name, account.remaining_s)
    ports, report, remaining_s = account.ports, account.report, account.remaining_s
    if what in set(Step):
        switched.step(what, execution=RUN if number % 7 else OTHER_RUN)
    elif what == "time passes":
        switched.wait((10, 60, 600)[number % 3])
    elif what == "tick":
        publish_backlog(account.clock(), ports, report, remaining_s)
    elif what == "bootstrap":
        on_bootstrap_alarm(alarm("bootstrap", workload.name), ports, report, remaining_s)
    elif what == "shutdown":
        account.publish_idle_minutes(workload)
        on_shutdown_alarm(alarm("shutdown", workload.name), ports, report, remaining_s)
    elif what == "pause":
        # `sluice pause` is refused during a switch; it may end what it began before.
        pause = Pause(directions=BOTH, by=ALICE, at=account.clock()) if number % 2 else None
        if switched.record is None:
            account.states.pause(workload.name, pause)
    elif what == "surge":
        asked = Asked(by=ALICE, hold_s=600, to=1 + number % 10)
        surge(workload, asked, ports, Trigger.OPERATOR, report, remaining_s)
    elif what == "end of surges":
        account.surges.end_due()
    else:
        account.queues.change(workload.queue_url, visible=5 if number % 2 else -min(5, backlog_of(switched)))


def backlog_of(switched: Switched) -> int:
    return switched.account.queues.backlogs[switched.workload.queue_url].visible


ACTIONS = [
    *Step,
    "time passes",
    "tick",
    "bootstrap",
    "shutdown",
    "pause",
    "surge",
    "end of surges",
    "messages",
]
ORDER = ["begin", "freeze", "raise", "ready", "time passes", "ready", "flip", "drain", "time passes"]


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["asg", "ecs"]),
    desired=st.integers(0, 5),
    actions=st.lists(
        st.tuples(st.sampled_from(ACTIONS), st.integers(0, 20)) | st.integers(0, len(ORDER) - 1),
        max_size=40,
    ),
)
def test_the_idle_color_never_scales_and_the_active_one_never_drops(kind, desired, actions):
    switched = pair(FakeAccount(), kind, desired=desired)
    place, had = 0, None
    for action in actions:
        if isinstance(action, int):  # the next step, as the state machine has it
            what, number, place = ORDER[place % len(ORDER)], 1, place + 1
        else:
            what, number = action
        active, record = switched.active, switched.record
        sizes = {Color.BLUE: switched.size(switched.blue)[1], Color.GREEN: switched.size(switched.green)[1]}
        with suppress(SluiceError):
            act(switched, what, number)
        now = {Color.BLUE: switched.size(switched.blue)[1], Color.GREEN: switched.size(switched.green)[1]}
        assert active is not None
        if what not in SIZED_BY_A_SWITCH:
            assert now[active.other] == sizes[active.other], what
        if switched.record is None:
            had = None
        elif record is None:
            had = sizes[active]
        if had is not None and switched.active is not None:
            assert now[switched.active] >= had, what
