"""A switch among ticks, alarms, pauses, surges and time.

The idle color never scales but by a switch, the active one never drops while both are held, and what runs for
the queue is not less after a flip.
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
from tests.support.builders import alarm, backlog
from tests.support.fakes import FakeAccount
from tests.support.switching import ALICE, OTHER_RUN, RUN, Switched, pair

RAISES, LOWERS = {Step.RAISE}, {Step.RETIRE, Step.FINISH, Step.ROLL_BACK, Step.RESTORE}
SIZED_BY_A_SWITCH = RAISES | LOWERS


def act(switched: Switched, what: str, number: int) -> None:
    """One event of Sluice's."""
    account = switched.account
    workload = account.registry.one(switched.workload.name, account.remaining_s)
    ports, report, remaining_s = account.ports, account.report, account.remaining_s
    if what in set(Step):
        switched.step(what, execution=RUN if number % 7 else OTHER_RUN)
    elif what == "tick":
        publish_backlog(account.clock(), ports, report, remaining_s)
    elif what == "bootstrap":
        on_bootstrap_alarm(alarm("bootstrap", workload.name), ports, report, remaining_s)
    elif what == "shutdown":
        account.publish_idle_minutes(workload)
        on_shutdown_alarm(alarm("shutdown", workload.name), ports, report, remaining_s)
    elif what == "surge":
        asked = Asked(by=ALICE, hold_s=600, to=1 + number % 10)
        surge(workload, asked, ports, Trigger.OPERATOR, report, remaining_s)
    else:
        happen(switched, what, number)


def happen(switched: Switched, what: str, number: int) -> None:
    """One event of the world's."""
    account, url = switched.account, switched.workload.queue_url
    if what == "time passes":
        switched.wait((10, 60, 600)[number % 3])
    elif what == "nothing starts":
        account.clock.advance(seconds=60)
    elif what == "the queue empties":
        account.queues.backlogs[url] = backlog()
        switched.wait(10)
    elif what == "pause":
        # `sluice pause` is refused during a switch.
        pause = Pause(directions=BOTH, by=ALICE, at=account.clock()) if number % 2 else None
        if switched.record is None:
            account.states.pause(switched.workload.name, pause)
    elif what == "end of surges":
        account.surges.end_due()
    else:
        account.queues.change(url, visible=5 if number % 2 else -min(5, backlog_of(switched)))


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
    "nothing starts",
    "the queue empties",
    "messages",
]
ORDER = (
    *("begin", "freeze", "raise", "time passes", "ready", "time passes", "ready", "flip"),
    *("drain", "time passes", "drain", "time passes", "drain", "retire", "time passes", "retire"),
    *("time passes", "finish"),
)
"""The steps as the state machine asks for them, and its waits; then they begin anew."""
NEXT_STEP = None


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["asg", "ecs"]),
    desired=st.integers(0, 5),
    visible=st.sampled_from([0, 5, 20]),
    actions=st.lists(
        st.just(NEXT_STEP) | st.just(NEXT_STEP) | st.tuples(st.sampled_from(ACTIONS), st.integers(0, 20)),
        min_size=15,
        max_size=60,
    ),
)
def test_the_idle_color_never_scales_and_the_active_one_never_drops(kind, desired, visible, actions):
    switched, place = pair(FakeAccount(), kind, desired=desired, visible=visible), 0
    fleets = {Color.BLUE: switched.blue, Color.GREEN: switched.green}
    for action in actions:
        what, number = (ORDER[place % len(ORDER)], 1) if action is NEXT_STEP else action
        place += action is NEXT_STEP
        active = switched.active
        record, ran = switched.record, switched.account.fleets.capacities[fleets[active]].running
        is_frozen = record is not None and record.step in (Step.RAISE, Step.READY)
        before = {color: switched.size(fleet)[1] for color, fleet in fleets.items()}
        with suppress(SluiceError):
            act(switched, what, number)
        now = {color: switched.size(fleet)[1] for color, fleet in fleets.items()}
        if what not in SIZED_BY_A_SWITCH:
            assert now[active.other] == before[active.other], what
        if is_frozen:
            assert now[active] >= before[active], what
        if switched.active is not active:
            assert switched.account.fleets.capacities[fleets[switched.active]].running >= ran, what
