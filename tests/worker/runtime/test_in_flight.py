"""Every received message ends once (deleted, released or dead-lettered), and is hidden while it is held."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from sluice.errors import ConfigError
from sluice_worker.aws.dead_letter import REASON
from sluice_worker.core.model import MAX_VISIBILITY_S, VISIBILITY_MARGIN_S, Queue
from sluice_worker.core.retry_policy import FailurePolicy
from sluice_worker.message import Message, Stage
from sluice_worker.runtime import dead_letters
from sluice_worker.runtime import in_flight as module
from sluice_worker.runtime.ack_batcher import (
    AckBatcher,
    PendingAck,
)
from sluice_worker.runtime.dispatcher import Dispatcher
from sluice_worker.runtime.in_flight import InFlightMessages
from tests.support.builders import queue_url
from tests.worker.fakes import DOWN, EXPIRED_HANDLE, THROTTLED, Call, InMemorySqs
from tests.worker.runtime import parts
from tests.worker.runtime.parts import ORDERED, WORK, filled, received
from tests.worker.waiting import eventually

DEAD = queue_url("dead")
HOUR_S = 3600
VISIBILITY_S = 60
SOON_S = 20
"""Less than half of the visibility timeout: due to be extended at the next heartbeat."""


@pytest.fixture
def sqs() -> InMemorySqs:
    fake = InMemorySqs()
    for name in ("work", "work.fifo", "dead"):
        fake.create(name)
    return fake


@pytest.fixture
def ack_batcher(sqs: InMemorySqs) -> Iterator[AckBatcher]:
    opened = AckBatcher(sqs, linger_s=0.0, senders=2)
    opened.start()
    yield opened
    opened.stop()


@pytest.fixture
def dispatcher() -> Dispatcher:
    return parts.make_dispatcher([WORK])


@pytest.fixture
def ordered() -> Dispatcher:
    return parts.make_dispatcher([ORDERED])


@pytest.fixture
def extending(
    sqs: InMemorySqs, ack_batcher: AckBatcher, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InFlightMessages]:
    """In-flight messages with a hundred heartbeats a second."""
    monkeypatch.setattr(module, "HEARTBEATS_PER_VISIBILITY", VISIBILITY_S * 100)
    held = parts.make_in_flight(sqs, ack_batcher, dead_letter_queue=DEAD)
    held.start()
    yield held
    held.stop()


def sent(sqs: InMemorySqs, count: int, queue: Queue = WORK, *, visibility_s: int = SOON_S) -> list[Message]:
    sqs.send(queue.url, *map(str, range(count)), group="g" if queue.is_fifo else None)
    return received(sqs, queue, count, visibility_s=visibility_s)


def hidden(sqs: InMemorySqs) -> list[tuple[str, int]]:
    """The bodies and timeouts of visibility changes."""
    return [pair for call in sqs.made("hide") for pair in zip(call.bodies, call.seconds, strict=True)]


def all_acknowledged(ack_batcher: AckBatcher) -> None:
    assert ack_batcher.wait_empty(time.monotonic() + 20)


def ended(held: InFlightMessages, ack_batcher: AckBatcher) -> None:
    """Its dead letters are sent or refused, and SQS has confirmed what follows."""
    eventually(lambda: held.pending_dead_letters == 0, "every dead letter has its answer")
    all_acknowledged(ack_batcher)


# ---- the heartbeat -----------------------------------------------------------------------------------------


def test_buffered_running_and_deleting_messages_stay_hidden(
    sqs: InMemorySqs, extending: InFlightMessages
) -> None:
    sqs.failing("delete")
    _buffered, running, settling = messages = sent(sqs, 3)
    running.stage = Stage.RUNNING
    extending.add(messages)
    extending.succeeded(settling)
    eventually(lambda: {body for body, _ in hidden(sqs)} == {"0", "1", "2"}, "each is extended")
    assert {seconds for _, seconds in hidden(sqs)} == {VISIBILITY_S}
    eventually(lambda: all(one.visible_at - time.monotonic() > SOON_S for one in messages), "each knows it")


def test_a_message_that_is_hidden_for_long_enough_is_left_alone(
    sqs: InMemorySqs, extending: InFlightMessages
) -> None:
    (long,) = sent(sqs, 1, visibility_s=VISIBILITY_S)
    extending.add([long, control := extended_next(sqs, extending)])
    eventually(lambda: "control" in dict(hidden(sqs)), "the other one is extended")
    assert hidden(sqs) == [(control.body, VISIBILITY_S)]


def extended_next(sqs: InMemorySqs, extending: InFlightMessages) -> Message:
    """A message after which everything held before it has been looked at once."""
    sqs.send(WORK.url, "control")
    (control,) = received(sqs, WORK, 1, visibility_s=SOON_S)
    return control


def test_a_handler_past_its_deadline_loses_its_message(sqs: InMemorySqs, extending: InFlightMessages) -> None:
    late, extended = sent(sqs, 2)
    late.stage = extended.stage = Stage.RUNNING
    late.deadline_at, extended.deadline_at = time.monotonic() - 1, time.monotonic() - 1
    extended.extend(30)
    extending.add([late, extended])
    eventually(lambda: hidden(sqs), "the one whose deadline was moved is extended")
    assert hidden(sqs) == [("1", VISIBILITY_S)]


def test_a_message_is_hidden_for_twelve_hours_from_its_receipt_at_most(
    sqs: InMemorySqs, extending: InFlightMessages
) -> None:
    exhausted, nearly, control = sent(sqs, 3)
    exhausted.received_at -= MAX_VISIBILITY_S
    nearly.received_at -= MAX_VISIBILITY_S - VISIBILITY_MARGIN_S - 10
    extending.add([exhausted, nearly, control])
    eventually(lambda: "2" in dict(hidden(sqs)), "the last one is extended")
    assert "0" not in dict(hidden(sqs))
    assert 0 < dict(hidden(sqs))["1"] <= 10


def test_an_expired_message_is_not_retried(sqs: InMemorySqs, extending: InFlightMessages) -> None:
    """SQS extends only messages in flight: a retry would be a useless call every second."""
    control = extended_next(sqs, extending)
    (expired,) = sent(sqs, 1, visibility_s=0)
    expired.stage = Stage.RUNNING
    extending.add([expired, control])
    eventually(lambda: "control" in dict(hidden(sqs)), "the other one is extended")
    assert "0" not in dict(hidden(sqs))


def test_a_refused_extension_is_asked_for_again_until_the_message_expires(
    sqs: InMemorySqs, extending: InFlightMessages
) -> None:
    (held,) = sent(sqs, 1)
    sqs.failing("hide")
    extending.add([held])
    eventually(lambda: len(hidden(sqs)) >= 2, "it is requested again")
    sqs.healed()
    eventually(lambda: held.visible_at - time.monotonic() > SOON_S, "it is extended in the end")


def test_an_extension_counts_from_before_sqs_was_asked(sqs: InMemorySqs, extending: InFlightMessages) -> None:
    """SQS may hide it at once, and answer late."""
    requested_at: list[float] = []

    def take_time(_: Call) -> None:
        requested_at.append(time.monotonic())
        time.sleep(0.05)

    sqs.before["hide"] = take_time
    (held,) = sent(sqs, 1)
    extending.add([held])
    eventually(lambda: held.visible_at - time.monotonic() > SOON_S, "it is extended")
    assert held.visible_at <= requested_at[0] + VISIBILITY_S


def test_nothing_is_extended_after_it_was_released(
    sqs: InMemorySqs, ack_batcher: AckBatcher, extending: InFlightMessages
) -> None:
    sqs.refusing["hide"] = lambda one: THROTTLED if one.body == "0" else None
    back, control = sent(sqs, 2)
    extending.release([back])
    extending.add([back, control])
    eventually(lambda: "1" in dict(hidden(sqs)), "the other one is extended")
    sqs.healed()
    all_acknowledged(ack_batcher)
    assert {seconds for body, seconds in hidden(sqs) if body == "0"} == {0}
    assert sqs.visible(WORK.url) == ["0"]


@pytest.mark.parametrize("extension_fails", [False, True])
def test_a_release_waits_for_an_extension_under_way(
    sqs: InMemorySqs, ack_batcher: AckBatcher, extending: InFlightMessages, extension_fails: bool
) -> None:
    under_way, go_on = threading.Event(), threading.Event()

    def hold(_: Call) -> None:
        under_way.set()
        assert go_on.wait(20)

    sqs.before["hide"] = hold
    (back,) = sent(sqs, 1)
    extending.add([back])
    assert under_way.wait(20)
    if extension_fails:
        sqs.refusing["hide"] = lambda _: EXPIRED_HANDLE
        sqs.after["hide"] = lambda _: sqs.healed()
    extending.release([back])
    assert extending.count == 1
    go_on.set()
    all_acknowledged(ack_batcher)
    assert hidden(sqs) == [("0", VISIBILITY_S), ("0", 0)]
    assert sqs.visible(WORK.url) == ["0"]
    assert extending.count == 0


def test_a_message_stays_hidden_while_it_is_sent_to_the_dead_letter_queue(
    sqs: InMemorySqs, ack_batcher: AckBatcher, extending: InFlightMessages
) -> None:
    """Also past its deadline: otherwise another worker would get a message that is already dead-lettered."""
    pending_dead_letters, go_on = threading.Event(), threading.Event()

    def hold(_: Call) -> None:
        pending_dead_letters.set()
        assert go_on.wait(20)

    sqs.before["send_to_dead_letter_queue"] = hold
    (poison,) = sent(sqs, 1)
    poison.stage, poison.deadline_at = Stage.RUNNING, time.monotonic() - 1
    extending.add([poison])
    extending.failed(poison, "no", rejected=True)
    assert pending_dead_letters.wait(20)
    eventually(lambda: hidden(sqs), "it is extended")
    go_on.set()
    ended(extending, ack_batcher)
    assert (sqs.bodies(WORK.url), sqs.bodies(DEAD)) == ([], ["0"])


def test_the_heartbeat_goes_on_after_a_defect(
    sqs: InMemorySqs, ack_batcher: AckBatcher, extending: InFlightMessages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluice_worker.runtime.loops.AFTER_DEFECT_S", 0.01)
    broken: list[bool] = [True]
    add = ack_batcher.add

    def break_once(entry: object) -> None:
        if broken:
            broken.pop()
            raise RuntimeError("a defect")
        add(entry)  # type: ignore[arg-type]

    monkeypatch.setattr(ack_batcher, "add", break_once)
    first, second = sent(sqs, 2)
    extending.add([first, second])
    eventually(lambda: "1" in dict(hidden(sqs)), "the next one is extended all the same")


# ---- how a message ends ------------------------------------------------------------------------------------


def test_a_succeeded_message_is_deleted_and_no_longer_in_flight(
    sqs: InMemorySqs, ack_batcher: AckBatcher
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher)
    (done,) = sent(sqs, 1)
    held.add([done])
    assert held.count == 1
    held.succeeded(done)
    all_acknowledged(ack_batcher)
    assert (held.count, sqs.bodies(WORK.url), done.stage) == (0, [], Stage.SETTLED)


@pytest.mark.parametrize(("receipts", "full_s"), [(1, 10), (2, 20), (3, 40), (20, 900)])
def test_a_failed_message_is_hidden_longer_with_each_receipt(
    sqs: InMemorySqs, ack_batcher: AckBatcher, receipts: int, full_s: float
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher)
    (failed,) = sent(sqs, 1)
    failed.receive_count = receipts
    held.add([failed])
    held.failed(failed, "no")
    all_acknowledged(ack_batcher)
    ((body, seconds),) = hidden(sqs)
    assert body == "0"
    assert 0.8 * full_s - 1 <= seconds <= full_s
    assert (held.count, held.released) == (0, 0)


def test_a_backoff_is_limited_to_what_remains_of_twelve_hours(
    sqs: InMemorySqs, ack_batcher: AckBatcher
) -> None:
    """Also if SQS takes it only later. If SQS refused it, the message would come back within a minute."""
    policy = FailurePolicy(backoff_s=MAX_VISIBILITY_S, max_backoff_s=MAX_VISIBILITY_S)
    held = parts.make_in_flight(sqs, ack_batcher, policy=policy)
    (failed,) = sent(sqs, 1)
    (stored,) = sqs.all(WORK.url)
    failed.received_at = stored.received_at = time.monotonic() - 6 * HOUR_S
    refusals = iter([THROTTLED] * 3)
    sqs.refusing["hide"] = lambda _: next(refusals, None)
    held.add([failed])
    held.failed(failed, "no")
    all_acknowledged(ack_batcher)
    assert 6 * HOUR_S - VISIBILITY_MARGIN_S - 5 < stored.visible_at - time.monotonic() < 6 * HOUR_S
    assert held.count == 0


@pytest.mark.parametrize(("receipts", "rejected"), [(1, True), (3, False)])
def test_what_is_rejected_or_failed_too_often_is_dead_lettered_with_the_reason_and_then_deleted(
    sqs: InMemorySqs, ack_batcher: AckBatcher, receipts: int, rejected: bool
) -> None:
    policy = FailurePolicy(max_attempts=3, dead_letters=True)
    held = parts.make_in_flight(sqs, ack_batcher, policy=policy, dead_letter_queue=DEAD)
    (poison,) = sent(sqs, 1)
    poison.receive_count = receipts
    held.add([poison])
    held.failed(poison, "ValueError: no such tenant", rejected=rejected)
    ended(held, ack_batcher)
    assert [
        call.operation for call in sqs.calls if call.operation in ("send_to_dead_letter_queue", "delete")
    ] == [
        "send_to_dead_letter_queue",
        "delete",
    ]
    (dead,) = sqs.all(DEAD)
    assert (dead.body, dead.attributes[REASON]) == ("0", "ValueError: no such tenant")
    assert (held.count, sqs.bodies(WORK.url)) == (0, [])


def test_a_failure_below_max_attempts_is_not_dead_lettered(sqs: InMemorySqs, ack_batcher: AckBatcher) -> None:
    policy = FailurePolicy(max_attempts=3, dead_letters=True)
    held = parts.make_in_flight(sqs, ack_batcher, policy=policy, dead_letter_queue=DEAD)
    (failed,) = sent(sqs, 1)
    failed.receive_count = 2
    held.failed(failed, "no")
    all_acknowledged(ack_batcher)
    assert (sqs.bodies(DEAD), sqs.bodies(WORK.url)) == ([], ["0"])


@pytest.mark.parametrize("unbegun", ["handed back", "expired"])
def test_receipts_that_ended_before_the_message_was_begun_are_no_attempts(
    sqs: InMemorySqs, ack_batcher: AckBatcher, unbegun: str
) -> None:
    """A message that waited behind others is not dead-lettered at its first failure."""
    policy = FailurePolicy(max_attempts=2, dead_letters=True, backoff_s=0)
    held = parts.make_in_flight(sqs, ack_batcher, policy=policy, dead_letter_queue=DEAD)
    sqs.send(WORK.url, "0")

    def receive() -> Message:
        (message,) = received(sqs)
        held.add([message])
        return message

    for _ in range(3):
        if unbegun == "handed back":
            held.release([receive()])
        else:
            about_to_expire = receive()
            assert not held.may_begin(about_to_expire, about_to_expire.visible_at - 0.5)
        all_acknowledged(ack_batcher)
    for receipts, dead in [(4, []), (5, ["0"])]:
        failed = receive()
        assert failed.receive_count == receipts
        held.failed(failed, "no")
        ended(held, ack_batcher)
        assert sqs.bodies(DEAD) == dead


def test_a_message_released_while_it_ran_was_begun(sqs: InMemorySqs, ack_batcher: AckBatcher) -> None:
    policy = FailurePolicy(max_attempts=2, dead_letters=True)
    held = parts.make_in_flight(sqs, ack_batcher, policy=policy, dead_letter_queue=DEAD)
    (message,) = sent(sqs, 1)
    message.stage = Stage.RUNNING
    held.release([message])
    message.receive_count = 2
    held.failed(message, "no")
    ended(held, ack_batcher)
    assert sqs.bodies(DEAD) == ["0"]


def test_a_rejection_without_a_dead_letter_queue_is_a_failure(
    sqs: InMemorySqs, ack_batcher: AckBatcher
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher)
    (rejected,) = sent(sqs, 1)
    held.failed(rejected, "no", rejected=True)
    all_acknowledged(ack_batcher)
    assert [body for body, seconds in hidden(sqs) if seconds > 0] == ["0"]


@pytest.mark.parametrize("rejected", [True, False])
def test_a_message_refused_by_the_dead_letter_queue_is_released_and_not_deleted(
    sqs: InMemorySqs, ack_batcher: AckBatcher, rejected: bool
) -> None:
    sqs.failing("send_to_dead_letter_queue", error=ConfigError("no permission to send to dead"))
    policy = FailurePolicy(max_attempts=1, dead_letters=True)
    held = parts.make_in_flight(sqs, ack_batcher, policy=policy, dead_letter_queue=DEAD)
    (poison,) = sent(sqs, 1)
    held.add([poison])
    held.failed(poison, "no", rejected=rejected)
    ended(held, ack_batcher)
    assert sqs.made("delete") == []
    assert [body for body, seconds in hidden(sqs) if seconds > 0] == ["0"]
    assert (held.count, sqs.bodies(DEAD)) == (0, [])


def test_a_message_refused_by_the_dead_letter_queue_returns_with_backoff(
    sqs: InMemorySqs, ack_batcher: AckBatcher
) -> None:
    """Each time it does, its handler runs: without a pause, or with none that grows, that is for ever."""
    sqs.failing("send_to_dead_letter_queue", error=ConfigError("Message must be shorter than 1024 bytes"))
    policy = FailurePolicy(max_attempts=1, dead_letters=True, backoff_s=0)
    slower = FailurePolicy(max_attempts=1, dead_letters=True, backoff_s=100)
    for each, receipts in ((policy, 1), (slower, 1), (slower, 3)):
        held = parts.make_in_flight(sqs, ack_batcher, policy=each, dead_letter_queue=DEAD)
        (poison,) = sent(sqs, 1)
        poison.receive_count = receipts
        held.add([poison])
        held.failed(poison, "no")
        ended(held, ack_batcher)
    first, second, third = [seconds for _, seconds in hidden(sqs)]
    assert first == VISIBILITY_S
    assert 80 <= second <= 100
    assert 320 <= third <= 400
    assert len(sqs.made("send_to_dead_letter_queue")) == 3


def test_a_dead_letter_that_aws_cannot_take_now_is_sent_again(
    sqs: InMemorySqs, ack_batcher: AckBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "FIRST_BACKOFF_S", 0.001)
    sqs.raising["send_to_dead_letter_queue"] = lambda _: (
        DOWN if len(sqs.made("send_to_dead_letter_queue")) < dead_letters.ATTEMPTS else None
    )
    held = parts.make_in_flight(sqs, ack_batcher, dead_letter_queue=DEAD)
    (poison,) = sent(sqs, 1)
    held.add([poison])
    held.failed(poison, "no", rejected=True)
    ended(held, ack_batcher)
    assert (sqs.bodies(WORK.url), sqs.bodies(DEAD)) == ([], ["0"])


def test_an_unreachable_dead_letter_queue_does_not_keep_the_messages_for_it(
    sqs: InMemorySqs, ack_batcher: AckBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call may take seconds to fail: a thousand poison messages would block the worker for hours."""
    monkeypatch.setattr(dead_letters, "FIRST_BACKOFF_S", 0.001)
    monkeypatch.setattr(dead_letters, "SENDERS", 1)
    go_on = threading.Event()
    sqs.before["send_to_dead_letter_queue"] = lambda _: go_on.wait(20) and None
    sqs.failing("send_to_dead_letter_queue")
    held = parts.make_in_flight(sqs, ack_batcher, dead_letter_queue=DEAD)
    poison = sent(sqs, 10)
    held.add(poison)
    for one in poison:
        held.failed(one, "no", rejected=True)
    go_on.set()
    ended(held, ack_batcher)
    assert len(sqs.made("send_to_dead_letter_queue")) == dead_letters.ATTEMPTS
    assert sorted(body for body, _ in hidden(sqs)) == sorted(map(str, range(10)))
    assert held.count == 0


def test_a_defect_in_sending_a_dead_letter_releases_it_and_affects_no_other(
    sqs: InMemorySqs, ack_batcher: AckBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluice_worker.runtime.loops.AFTER_DEFECT_S", 0.001)
    send_to_dead_letter_queue = sqs.send_to_dead_letter_queue

    def break_once(url: str, message: Message, reason: str) -> None:
        if message.body == "0":
            raise RuntimeError("a defect")
        send_to_dead_letter_queue(url, message, reason)

    monkeypatch.setattr(sqs, "send_to_dead_letter_queue", break_once)
    held = parts.make_in_flight(sqs, ack_batcher, dead_letter_queue=DEAD)
    poison = sent(sqs, 3)
    held.add(poison)
    for one in poison:
        held.failed(one, "no", rejected=True)
    ended(held, ack_batcher)
    assert sorted(sqs.bodies(DEAD)) == ["1", "2"]
    assert (held.count, sqs.bodies(WORK.url)) == (0, ["0"])


def test_a_message_that_sqs_refuses_to_delete_is_counted_and_forgotten(
    sqs: InMemorySqs, ack_batcher: AckBatcher
) -> None:
    sqs.refusing["delete"] = lambda _: EXPIRED_HANDLE
    held = parts.make_in_flight(sqs, ack_batcher)
    (done,) = sent(sqs, 1)
    held.add([done])
    held.succeeded(done)
    all_acknowledged(ack_batcher)
    assert (held.count, held.undeleted) == (0, 1)


def test_a_late_success_still_deletes_the_message(sqs: InMemorySqs, ack_batcher: AckBatcher) -> None:
    held = parts.make_in_flight(sqs, ack_batcher)
    (late,) = sent(sqs, 1)
    held.add([late])
    held.failed(late, "the handler was not back")
    all_acknowledged(ack_batcher)
    held.delete_after_late_success(late)
    all_acknowledged(ack_batcher)
    assert (held.count, sqs.bodies(WORK.url)) == (0, [])


# ---- what expired in the buffer ----------------------------------------------------------------------------


def test_a_message_that_expired_is_not_begun_and_is_forgotten(
    sqs: InMemorySqs, ack_batcher: AckBatcher
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher)
    expired, ours = sent(sqs, 2)
    expired.visible_at = time.monotonic() - 1
    held.add([expired, ours])
    assert not held.may_begin(expired, time.monotonic())
    assert held.may_begin(ours, time.monotonic())
    assert (held.count, held.expired) == (1, 1)
    assert ack_batcher.pending == 0


def test_a_message_about_to_expire_is_released_and_not_begun(
    sqs: InMemorySqs, ack_batcher: AckBatcher
) -> None:
    """Also behind an extension in progress, which would hide a message that no worker holds."""
    held = parts.make_in_flight(sqs, ack_batcher)
    (soon,) = sent(sqs, 1)
    held.add([soon])
    assert not held.may_begin(soon, soon.visible_at - 0.5)
    all_acknowledged(ack_batcher)
    assert sqs.visible(WORK.url) == ["0"]
    assert (held.count, held.expired) == (0, 1)


def test_with_an_expired_message_those_behind_it_in_its_group_go_back(
    sqs: InMemorySqs, ack_batcher: AckBatcher, ordered: Dispatcher
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher, ordered)
    filled(ordered, held, sent(sqs, 3, ORDERED), ORDERED)
    first = parts.next_to_begin(ordered, 1)
    assert first is not None
    first.visible_at = time.monotonic() - 1
    assert not held.may_begin(first, time.monotonic())
    all_acknowledged(ack_batcher)
    assert hidden(sqs) == [("1", 0), ("2", 0)]
    assert held.count == 0


# ---- what cannot be read -----------------------------------------------------------------------------------


@pytest.mark.parametrize("receipts", [1, 2])
def test_a_message_that_cannot_be_read_is_released_and_never_dead_lettered(
    sqs: InMemorySqs, ack_batcher: AckBatcher, caplog: pytest.LogCaptureFixture, receipts: int
) -> None:
    """A copy would lack what could not be read: the queue's redrive policy moves the message itself."""
    policy = FailurePolicy(max_attempts=1, dead_letters=True)
    held = parts.make_in_flight(sqs, ack_batcher, policy=policy, dead_letter_queue=DEAD)
    (broken,) = sent(sqs, 1)
    broken.unreadable, broken.receive_count = "KeyError('Body')", receipts
    held.add([broken])
    assert not held.may_begin(broken, time.monotonic())
    all_acknowledged(ack_batcher)
    ((_, seconds),) = hidden(sqs)
    assert 8 * receipts - 1 <= seconds <= 10 * receipts
    assert (sqs.bodies(DEAD), held.count) == ([], 0)
    assert f"{broken.message_id} of work cannot be read: KeyError('Body')" in caplog.text


def test_those_behind_a_message_that_cannot_be_read_do_not_overtake_it(
    sqs: InMemorySqs, ack_batcher: AckBatcher, ordered: Dispatcher
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher, ordered)
    brought = sent(sqs, 3, ORDERED)
    brought[0].unreadable = "KeyError('Body')"
    filled(ordered, held, brought, ORDERED)
    first = parts.next_to_begin(ordered, 1)
    assert first is not None
    assert not held.may_begin(first, time.monotonic())
    all_acknowledged(ack_batcher)
    assert [body for body, seconds in hidden(sqs) if seconds == 0] == ["1", "2"]
    assert received(sqs, ORDERED) == []
    assert parts.next_to_begin(ordered, 0.0) is None
    assert held.count == 0


# ---- groups of a FIFO queue --------------------------------------------------------------------------------


def test_the_next_message_of_a_group_starts_only_after_the_delete_is_confirmed(
    sqs: InMemorySqs, ack_batcher: AckBatcher, ordered: Dispatcher
) -> None:
    call_started, go_on = threading.Event(), threading.Event()

    def hold(_: Call) -> None:
        call_started.set()
        assert go_on.wait(20)

    sqs.before["delete"] = hold
    held = parts.make_in_flight(sqs, ack_batcher, ordered)
    filled(ordered, held, sent(sqs, 2, ORDERED), ORDERED)
    first = parts.next_to_begin(ordered, 1)
    assert first is not None
    assert first.body == "0"
    held.succeeded(first)
    assert call_started.wait(20)
    assert parts.next_to_begin(ordered, 0.0) is None
    go_on.set()
    second = parts.next_to_begin(ordered, 20)
    assert second is not None
    assert second.body == "1"


def test_a_failure_returns_those_behind_it_and_keeps_its_place(
    sqs: InMemorySqs, ack_batcher: AckBatcher, ordered: Dispatcher
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher, ordered)
    filled(ordered, held, sent(sqs, 3, ORDERED), ORDERED)
    first = parts.next_to_begin(ordered, 1)
    assert first is not None
    held.failed(first, "no")
    all_acknowledged(ack_batcher)
    assert [body for body, seconds in hidden(sqs) if seconds == 0] == ["1", "2"]
    assert received(sqs, ORDERED) == []  # while the first one is hidden, its group is locked
    assert parts.next_to_begin(ordered, 0.0) is None
    assert (held.count, held.released) == (0, 2)


def test_a_group_continues_after_a_dead_lettered_message(
    sqs: InMemorySqs, ack_batcher: AckBatcher, ordered: Dispatcher
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher, ordered, dead_letter_queue=DEAD)
    filled(ordered, held, sent(sqs, 2, ORDERED), ORDERED)
    first = parts.next_to_begin(ordered, 1)
    assert first is not None
    held.failed(first, "no", rejected=True)
    second = parts.next_to_begin(ordered, 20)
    assert second is not None
    assert (second.body, sqs.bodies(DEAD)) == ("1", ["0"])


def test_a_permanently_refused_delete_returns_those_behind_it(
    sqs: InMemorySqs, ack_batcher: AckBatcher, ordered: Dispatcher
) -> None:
    sqs.refusing["delete"] = lambda _: EXPIRED_HANDLE
    held = parts.make_in_flight(sqs, ack_batcher, ordered)
    filled(ordered, held, sent(sqs, 3, ORDERED), ORDERED)
    first = parts.next_to_begin(ordered, 1)
    assert first is not None
    held.succeeded(first)
    all_acknowledged(ack_batcher)
    assert hidden(sqs) == [("1", 0), ("2", 0)]
    assert parts.next_to_begin(ordered, 0.0) is None


def test_after_a_failure_the_head_is_received_alone_and_those_behind_it_lose_no_attempt(
    sqs: InMemorySqs, ack_batcher: AckBatcher, ordered: Dispatcher
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher, ordered, policy=FailurePolicy(backoff_s=0))
    brought = sent(sqs, 3, ORDERED)
    filled(ordered, held, brought, ORDERED)
    for attempt in range(4):
        first = parts.next_to_begin(ordered, 1)
        assert first is not None
        assert (first.body, first.receive_count) == ("0", attempt + 1)
        held.failed(first, "no")
        all_acknowledged(ack_batcher)
        poll = ordered.next_poll(1)
        assert poll is not None
        brought = sqs.receive(poll, SOON_S)
        held.add(brought)
        ordered.poll_finished(poll, brought)
    assert [stored.receipts for stored in sqs.all(ORDERED.url)] == [5, 1, 1]


@pytest.mark.parametrize("ends", ["expires", "cannot be deleted"])
def test_a_returned_head_is_received_alone_even_if_it_did_not_fail(
    sqs: InMemorySqs, ack_batcher: AckBatcher, ordered: Dispatcher, ends: str
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher, ordered)
    filled(ordered, held, sent(sqs, 3, ORDERED), ORDERED)
    first = parts.next_to_begin(ordered, 1)
    assert first is not None
    if ends == "expires":
        first.visible_at = time.monotonic() - 1
        assert not held.may_begin(first, time.monotonic())
    else:
        sqs.refusing["delete"] = lambda _: EXPIRED_HANDLE
        held.succeeded(first)
    all_acknowledged(ack_batcher)
    poll = ordered.next_poll(1)
    assert poll is not None
    assert poll.max_messages == 1


def test_while_a_failed_head_is_hidden_its_queue_is_polled_for_many(
    sqs: InMemorySqs, ack_batcher: AckBatcher, ordered: Dispatcher
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher, ordered, policy=FailurePolicy(backoff_s=600))
    filled(ordered, held, sent(sqs, 3, ORDERED), ORDERED)
    first = parts.next_to_begin(ordered, 1)
    assert first is not None
    held.failed(first, "no")
    all_acknowledged(ack_batcher)
    poll = ordered.next_poll(1)
    assert poll is not None
    assert poll.max_messages == 10


@pytest.mark.parametrize("part", ["ack batcher", "removing"])
def test_a_defect_after_a_delete_does_not_block_its_group(
    sqs: InMemorySqs, ack_batcher: AckBatcher, ordered: Dispatcher, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher, ordered)
    filled(ordered, held, sent(sqs, 2, ORDERED), ORDERED)
    first = parts.next_to_begin(ordered, 1)
    assert first is not None
    other = parts.message(ORDERED, group_id="other")

    def defective(*_: object) -> None:
        raise RuntimeError("a defect")

    if part == "ack batcher":  # in the callback of another acknowledgement of the same batch
        ack_batcher._lock.acquire()
        ack_batcher._pending += 1
        ack_batcher._enqueue(PendingAck(other, None, time.monotonic() + 60, defective), time.monotonic())
        ack_batcher._lock.release()
        sqs.refusing["delete"] = lambda one: EXPIRED_HANDLE if one is other else None
    else:
        monkeypatch.setattr(held, "_remove", defective)
    held.succeeded(first)
    second = parts.next_to_begin(ordered, 20)
    assert second is not None
    assert second.body == "1"
    all_acknowledged(ack_batcher)


@pytest.mark.parametrize("step", ["_hide", "_remove"])
def test_a_defect_in_returning_a_message_still_returns_those_behind_it(
    sqs: InMemorySqs, ack_batcher: AckBatcher, ordered: Dispatcher, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Those behind it would stay hidden for up to twelve hours, and never start."""
    held = parts.make_in_flight(sqs, ack_batcher, ordered)
    filled(ordered, held, sent(sqs, 3, ORDERED), ORDERED)
    first = parts.next_to_begin(ordered, 1)
    assert first is not None
    sound = getattr(held, step)

    def break_for_the_first(message: Message, *more: int, **named: bool) -> None:
        if message is first:
            raise RuntimeError("a defect")
        sound(message, *more, **named)

    monkeypatch.setattr(held, step, break_for_the_first)
    with pytest.raises(RuntimeError):
        held.failed(first, "no") if step == "_hide" else held.forget(first)
    all_acknowledged(ack_batcher)
    assert hidden(sqs) == [("1", 0), ("2", 0)]
    monkeypatch.undo()
    held.forget(first)  # by the thread that met the defect
    assert held.count == 0


def test_a_defect_in_releasing_one_message_still_releases_the_others(
    sqs: InMemorySqs, ack_batcher: AckBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = parts.make_in_flight(sqs, ack_batcher)
    first, *_ = messages = sent(sqs, 3)
    held.add(messages)
    hide = held._hide

    def break_for_the_first(message: Message, after_s: int) -> None:
        if message is first:
            raise RuntimeError("a defect")
        hide(message, after_s)

    monkeypatch.setattr(held, "_hide", break_for_the_first)
    held.release(messages)
    all_acknowledged(ack_batcher)
    assert sqs.visible(WORK.url) == ["1", "2"]


# ---- back-pressure -----------------------------------------------------------------------------------------


def test_the_in_flight_messages_are_full_with_few_that_are_large(
    sqs: InMemorySqs, ack_batcher: AckBatcher
) -> None:
    """Also processed ones are held until they are deleted."""
    sqs.failing("delete")
    held = parts.make_in_flight(sqs, ack_batcher, max_held_bytes=25_000)
    sqs.send(WORK.url, *["x" * 10_000] * 3)
    first, second, third = received(sqs)
    held.add([first, second])
    held.succeeded(first)
    assert not held.is_full
    held.add([third])
    assert held.is_full
    held.forget(second)
    held.forget(second)  # twice frees no more capacity
    assert not held.is_full
    sqs.healed()
    all_acknowledged(ack_batcher)
    held.forget(third)
    held.add([first, second])
    assert not held.is_full


def test_the_in_flight_messages_are_full_while_sqs_confirms_no_deletes_and_wake_pollers_then(
    sqs: InMemorySqs, ack_batcher: AckBatcher
) -> None:
    held: InFlightMessages
    dispatcher = parts.make_dispatcher([WORK], prefetch_limit=lambda: 0 if held.is_full else 100)
    held = parts.make_in_flight(sqs, ack_batcher, dispatcher, max_held=3)
    sqs.failing("delete")
    done = sent(sqs, 3)
    held.add(done[:2])
    assert not held.is_full
    held.add(done[2:])
    assert held.is_full
    assert dispatcher.next_poll(0.0) is None
    for one in done:
        held.succeeded(one)
    polls: list[object] = []
    poller = threading.Thread(target=lambda: polls.append(dispatcher.next_poll(20)), daemon=True)
    poller.start()
    sqs.healed()
    all_acknowledged(ack_batcher)
    poller.join(10)
    assert polls
    assert polls[0] is not None
