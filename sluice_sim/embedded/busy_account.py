"""An embedded account in the middle of a burst, for the operator's reading commands and their tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import PHOTO_IMPORT, QUEUE_PROC, TRANSCRIPTION, TRANSLATION
from sluice_sim.embedded.timeline import Scenario
from sluice_worker.aws.dead_letter import REASON

SCENARIOS = (PHOTO_IMPORT, QUEUE_PROC, TRANSCRIPTION)
BLUE_GREEN = TRANSLATION
"""A workload of two colors, for the command that switches them."""
MINUTES = 9
"""Four minutes into the bursts of photo-import and transcription; queue-proc is at a steady load."""

BODY = json.dumps({"duration_s": 60})
MOVED_BY_SQS = 2
GIVEN_UP = (
    (400, "customer-7", "KeyError: 'language'"),
    (415, "customer-7", "KeyError: 'language'"),
    (430, "customer-3", "the handler was not back after 300 s"),
    (475, "customer-7", "KeyError: 'language'"),
    (510, "customer-12", "Reject: file 4711 is no audio file"),
)
"""Dead letters that transcription's workers send: second of the account, message group, reason."""


class BusyAccount:
    """The account as it is now; time stands still until `play_minute`."""

    def __init__(self, demo: Demo) -> None:
        self.aws, self.demo = demo.aws, demo
        self._minutes = demo.minutes()

    def play_minute(self) -> None:
        """Let a minute pass."""
        next(self._minutes)


@contextmanager
def busy_account(
    root: Path,
    *,
    scenarios: Sequence[Scenario] = SCENARIOS,
    minutes: int = MINUTES,
    on_minute: Callable[[int, int], None] = lambda *_: None,
) -> Iterator[BusyAccount]:
    """Deploy the control plane and these workloads, and play them up to that minute.

    Within the context, boto3 in this process reaches this account alone. `on_minute` is called with the
    minutes played and those to play.
    """
    with embedded_aws(root) as aws:
        demo = Demo(aws, root)
        for scenario in scenarios:
            demo.add_workload(scenario)
        if TRANSCRIPTION in scenarios:
            _give_up_messages(aws, TRANSCRIPTION.name)
        account = BusyAccount(demo)
        for minute in range(minutes):
            account.play_minute()
            on_minute(minute + 1, minutes)
        yield account


def _give_up_messages(aws: EmbeddedAws, queue: str) -> None:
    """Have SQS dead-letter messages that were received too often, and workers send others with a reason."""
    url = aws.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    dead_url = aws.sqs.get_queue_url(QueueName=f"dead-{queue}")["QueueUrl"]
    for _ in range(MOVED_BY_SQS):
        aws.sqs.send_message(QueueUrl=url, MessageBody=BODY)
    while aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0).get("Messages"):
        pass
    for at_s, group, reason in GIVEN_UP:
        send = partial(
            aws.sqs.send_message,
            QueueUrl=dead_url,
            MessageBody=BODY,
            MessageGroupId=group,
            MessageAttributes={REASON: {"DataType": "String", "StringValue": reason}},
        )
        aws.clock.at(aws.clock.now + at_s, send)
