"""A switch among ticks, alarms, retunes, pauses, surges, time-outs, aborts and time.

The idle color never scales but by a switch, the active one never drops while both are held, what runs for
the queue is not less after a flip, and whatever ends the switch, the way back leaves nothing held.
"""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sluice.usecases.switch
from sluice.core.model import Color, Tracking, Trigger
from sluice.core.pause import BOTH, Pause
from sluice.core.surge import Asked
from sluice.core.switch_record import Step
from sluice.errors import SluiceError
from sluice.events import RetuneRequest
from sluice.usecases.alarms import on_bootstrap_alarm, on_shutdown_alarm
from sluice.usecases.deadline_ticks import scale_by_deadline
from sluice.usecases.retune import retune_targets
from sluice.usecases.surge import surge
from sluice.usecases.tick import publish_backlog
from tests.support.builders import alarm, backlog, deadline
from tests.support.fakes import FakeAccount
from tests.support.switching import ALICE, OTHER_RUN, RUN, Aborted, Switched, pair

RAISES, LOWERS = {Step.RAISE, Step.READY}, {Step.RETIRE, Step.FINISH, Step.ROLL_BACK, Step.RESTORE}
SIZED_BY_A_SWITCH = RAISES | LOWERS


def act(switched: Switched, what: str, number: int) -> None:
    """One event of Sluice's."""
    account = switched.account
    workload = account.registry.one(switched.workload.name, account.remaining_s)
    ports, report, remaining_s = account.ports, account.report, account.remaining_s
    if what in set(Step):
        switched.step(what, execution=RUN if number % 7 else OTHER_RUN)
    elif what in OUT_OF_TIME:
        switched.step(OUT_OF_TIME[what], ready_s=0, drain_s=0)
    elif what == "retune":
        retune_targets(RetuneRequest(trigger=Trigger.SCHEDULE), ports, report, remaining_s)
    elif what == "deadline tick":
        scale_by_deadline(account.clock(), [workload], ports, report, remaining_s)
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


OUT_OF_TIME = {f"{step} is out of time": step for step in (Step.READY, Step.DRAIN, Step.ROLL_BACK)}


class StopsAt:
    """Stops the execution at a call of a port, once."""

    def __init__(self, call: int) -> None:
        self._left = call

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Aborted


ACTIONS = [
    *Step,
    "time passes",
    *OUT_OF_TIME,
    "tick",
    "retune",
    "deadline tick",
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


WHILE_FROZEN = (Step.FREEZE, Step.RAISE, Step.READY)
BY_DEADLINES = {"deadline": deadline(), "tracking": Tracking(processing_s=10)}


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["asg", "ecs"]),
    scaling=st.sampled_from([{}, BY_DEADLINES]),
    desired=st.integers(0, 5),
    visible=st.sampled_from([0, 5, 20]),
    actions=st.lists(
        st.just(NEXT_STEP) | st.just(NEXT_STEP) | st.tuples(st.sampled_from(ACTIONS), st.integers(0, 20)),
        min_size=15,
        max_size=60,
    ),
    stops_at=st.none() | st.integers(1, 400),
)
def test_the_idle_color_never_scales_and_the_active_one_never_drops(
    kind, scaling, desired, visible, actions, stops_at
):
    interleave(kind, scaling, desired, visible, actions, stops_at)


def interleave(kind, scaling, desired, visible, actions, stops_at):
    """The actions, and then the way back; asserts after each what must hold."""
    switched, place = pair(FakeAccount(), kind, desired=desired, visible=visible, **scaling), 0
    fleets = {Color.BLUE: switched.blue, Color.GREEN: switched.green}
    held, frozen_since = (switched.held(switched.blue), switched.held(switched.green)), None
    if stops_at is not None:
        switched.account.calls.between = StopsAt(stops_at)
    for action in actions:
        what, number = (ORDER[place % len(ORDER)], 1) if action is NEXT_STEP else action
        place += action is NEXT_STEP
        active = switched.active
        record, ran = switched.record, switched.account.fleets.capacities[fleets[active]].running
        is_frozen = record is not None and record.since == frozen_since and record.step in WHILE_FROZEN
        before = {color: switched.size(fleet)[1] for color, fleet in fleets.items()}
        with suppress(SluiceError, Aborted):
            act(switched, what, number)
            if what == Step.FREEZE and switched.record is not None and number % 7:
                frozen_since = switched.record.since
        now = {color: switched.size(fleet)[1] for color, fleet in fleets.items()}
        if OUT_OF_TIME.get(what, what) not in SIZED_BY_A_SWITCH:
            assert now[active.other] == before[active.other], what
        if is_frozen:
            assert now[active] >= before[active], what
        if switched.active is not active:
            assert switched.account.fleets.capacities[fleets[switched.active]].running >= ran, what
    undo(switched)
    assert switched.record is None
    assert switched.draining is None
    assert (switched.held(switched.blue), switched.held(switched.green)) == held


def undo(switched):
    """What the execution does that follows one that was stopped, however often it is needed."""
    switched.account.calls.between = lambda: None
    switched.account.surges.end_due()
    while (record := switched.record) is not None:
        switched.until_over("restore", execution=record.execution)


THE_SWITCH = [NEXT_STEP] * 20
QUIET = [*[NEXT_STEP] * 3, ("the queue empties", 0), ("shutdown", 0), *[NEXT_STEP] * 17]
WHAT_SHOWS = {
    "nothing is frozen": ({"held": lambda now, *_: now}, QUIET),
    "what was held stays held": ({"thawed": lambda _, __, now: now}, THE_SWITCH),
    "the new color is not raised": (
        {"needed": lambda *_: 0, "_raised_with_the_old": lambda *given: given[-1]},
        THE_SWITCH,
    ),
}


@pytest.mark.parametrize("mutation", WHAT_SHOWS)
@pytest.mark.parametrize("kind", ["asg", "ecs"])
def test_a_broken_step_is_detected(kind, mutation, monkeypatch):
    broken, actions = WHAT_SHOWS[mutation]
    interleave(kind, {}, 4, 20, actions, None)
    for name, defect in broken.items():
        monkeypatch.setattr(sluice.usecases.switch, name, defect)
    with pytest.raises(AssertionError):
        interleave(kind, {}, 4, 20, actions, None)
