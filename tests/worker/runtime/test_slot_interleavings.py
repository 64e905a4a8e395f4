"""The real dispatcher in every order of its slots' steps: no wake-up is lost, no group overtaken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sluice_worker.core.batch import BatchRule
from sluice_worker.core.model import Queue
from sluice_worker.core.slot_wakeups import SlotWakeups
from sluice_worker.message import Message
from sluice_worker.runtime.dispatcher import MIN_WAIT_S, Dispatcher
from tests.worker.runtime.parts import ORDERED, WORK, make_dispatcher, message
from tests.worker.runtime.stepped_slots import ABOUT_TO_LOOK, Slot, State, SteppedSlots

LIMIT = 100
GROUPS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=5)
ONE, PAIRS = BatchRule(), BatchRule(size=2, wait_s=0.5)


class SlotMachine(RuleBasedStateMachine):
    """Three slots, and a poller that delivers messages at its steps."""

    stepped: SteppedSlots

    @initialize(
        queue=st.sampled_from([WORK, ORDERED]),
        batches=st.sampled_from([ONE, PAIRS]),
        prefetch_limit=st.sampled_from([LIMIT, LIMIT - 1]),
    )
    def start(self, queue: Queue, batches: BatchRule, prefetch_limit: int) -> None:
        self.queue, self.batches = queue, batches
        self.dispatcher: Dispatcher = make_dispatcher(
            [queue], prefetch_limit=lambda: prefetch_limit, limit=LIMIT, batches=batches
        )
        self.numbers = itertools.count()
        self.last_started: dict[str, int] = {}
        self.unconfirmed: list[Message] = []
        self.stepped = SteppedSlots(self.dispatcher, 3)

    def teardown(self) -> None:
        if not hasattr(self, "stepped"):
            return
        try:
            self.dispatcher.close()
            for _ in range(4):
                for slot in self.stepped.in_state(*ABOUT_TO_LOOK):
                    self.step(slot)
            assert not self.stepped.in_state(State.WAITING), "a closed dispatcher keeps a slot waiting"
        finally:
            self.stepped.stop()

    # ---- what happens --------------------------------------------------------------------------------------

    @rule(groups=GROUPS)
    def messages_arrive(self, groups: list[str]) -> None:
        poll = self.dispatcher.next_poll(0.0)
        if poll is None:
            return
        brought = [
            message(self.queue, body=str(next(self.numbers)), group_id=group, received_at=self.stepped.now)
            for group in groups[: poll.max_messages]
        ]
        self.dispatcher.poll_finished(poll, brought)

    @precondition(lambda self: self.stepped.in_state(*ABOUT_TO_LOOK))
    @rule(data=st.data())
    def a_slot_takes_a_step(self, data: st.DataObject) -> None:
        self.step(data.draw(st.sampled_from(self.stepped.in_state(*ABOUT_TO_LOOK))))

    @precondition(lambda self: self.stepped.in_state(State.WORKING))
    @rule(data=st.data())
    def a_slot_is_done_and_looks(self, data: st.DataObject) -> None:
        self.finish(data.draw(st.sampled_from(self.stepped.in_state(State.WORKING))))

    @rule()
    def every_slot_looks_until_it_waits_or_works(self) -> None:
        for slot in self.stepped.in_state(State.WORKING):
            if not slot.batch:
                self.finish(slot)
        for slot in self.stepped.in_state(*ABOUT_TO_LOOK):
            while slot.state in ABOUT_TO_LOOK:
                self.step(slot)

    def finish(self, slot: Slot) -> None:
        """The handler is done, and SQS has not confirmed the acknowledgements yet."""
        self.unconfirmed += [one for one in slot.batch if one.message_group is not None]
        slot.batch = []
        slot.step()
        assert slot.state is State.LOOKING

    @precondition(lambda self: self.unconfirmed)
    @rule(succeeded=st.booleans())
    def an_end_is_confirmed(self, succeeded: bool) -> None:
        group = self.unconfirmed.pop(0).message_group
        assert group is not None
        if succeeded:
            self.dispatcher.advance(group)
        else:
            self.dispatcher.drop(group)

    @precondition(lambda self: self.stepped.in_state(State.WAITING, State.NOTIFIED))
    @rule(data=st.data())
    def a_wait_times_out(self, data: st.DataObject) -> None:
        """Also one that was notified at the same moment: it takes the same way."""
        slot = data.draw(st.sampled_from(self.stepped.in_state(State.WAITING, State.NOTIFIED)))
        self.step(slot)

    @rule(seconds=st.sampled_from([0.01, 0.25, 0.6]))
    def time_passes(self, seconds: float) -> None:
        self.stepped.now += seconds
        for slot in self.stepped.in_state(State.WAITING):
            if slot.deadline <= self.stepped.now:
                self.step(slot)

    def step(self, slot: Slot) -> None:
        slot.step()
        if slot.state is not State.WORKING:
            return
        for one in slot.batch:
            if one.message_group is not None:
                group = one.message_group[1]
                assert self.last_started.get(group, -1) < int(one.body), f"group {group} was overtaken"
                self.last_started[group] = int(one.body)
        assert len({one.queue_url for one in slot.batch}) <= 1

    # ---- what always holds ---------------------------------------------------------------------------------

    @invariant()
    def no_slot_sleeps_while_a_batch_is_due(self) -> None:
        """Unless another slot is about to check, which then wakes the next."""
        waiting_slots = self.stepped.in_state(State.WAITING)
        if not waiting_slots or self.stepped.in_state(*ABOUT_TO_LOOK):
            return
        buffer, now = self.dispatcher._buffer, self.stepped.now
        if not buffer.due(now, self.batches, self.dispatcher._stalled()):
            return
        wakes_itself_at = min(slot.deadline for slot in waiting_slots)
        due_at = buffer.due_at(self.batches)
        by_its_wait = self.batches.wait_s and due_at <= now
        assert by_its_wait, "a batch is due, a slot waits, and nobody looks"
        assert wakes_itself_at <= due_at + MIN_WAIT_S, "a batch that is due by its wait is seen late"

    @invariant()
    def of_a_group_one_batch_is_at_work(self) -> None:
        at_work = [
            {one.message_group for one in batch if one.message_group is not None}
            for batch in (*(slot.batch for slot in self.stepped.slots), self.unconfirmed)
        ]
        for one, other in itertools.combinations(at_work, 2):
            assert not one & other, "two slots work on one group"

    @invariant()
    def slots_that_wait_are_counted(self) -> None:
        waiting = self.stepped.in_state(State.WAITING, State.NOTIFIED)
        assert self.dispatcher._wakeups.waiting == len(waiting)


EXAMPLES = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_no_order_of_steps_loses_a_wake_up_or_overtakes_a_group() -> None:
    run_state_machine_as_test(SlotMachine, settings=EXAMPLES)


def _after_a_look_nobody_is_woken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dispatcher, "_looked", lambda dispatcher, batch: (dispatcher._wakeups.looked(), batch)[1])


def _no_wake_up_on_advance(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dispatcher, "advance", lambda dispatcher, group: dispatcher._buffer.advance(group))


def _no_wake_up_on_message(patch: pytest.MonkeyPatch) -> None:
    poll_finished = Dispatcher.poll_finished

    def quiet(dispatcher: Dispatcher, *more: object) -> object:
        with pytest.MonkeyPatch.context() as within:
            within.setattr(dispatcher, "_wake_slots", lambda: None)
            return poll_finished(dispatcher, *more)  # type: ignore[arg-type]

    patch.setattr(Dispatcher, "poll_finished", quiet)


def _a_look_leaves_the_state(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SlotWakeups, "looked", lambda _: None)


def _a_spin_is_not_ended_by_waiting(patch: pytest.MonkeyPatch) -> None:
    def start_wait(wakeups: SlotWakeups) -> None:
        wakeups.waiting += 1

    patch.setattr(SlotWakeups, "start_wait", start_wait)


FAULTS = [
    _after_a_look_nobody_is_woken,
    _no_wake_up_on_advance,
    _no_wake_up_on_message,
    _a_look_leaves_the_state,
    _a_spin_is_not_ended_by_waiting,
]


@pytest.fixture(params=FAULTS, ids=lambda fault: fault.__name__.strip("_").replace("_", " "))
def _fault(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        request.param(patch)
        yield


@pytest.mark.usefixtures("_fault")
def test_the_state_machine_detects_a_lost_wake_up() -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            SlotMachine,
            settings=settings(EXAMPLES, max_examples=500, derandomize=True, phases=[Phase.generate]),
        )
