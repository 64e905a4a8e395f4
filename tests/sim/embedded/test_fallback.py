"""The fallback of the deadline engine, as deployed: it acts while Sluice is silent, and only then."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from unittest import mock

import pytest

from sluice.aws.sqs import SqsQueues
from sluice.core.model import Backlog, Unknown
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import CONTROL_PLANE, Demo
from sluice_sim.embedded.scenarios import TRANSCRIPTION
from sluice_sim.embedded.timeline import Minute, Scenario, Summary
from sluice_sim.embedded.workers import Assignment, SimulatedWorkers
from tests.templates.stacks import ROOT

pytestmark = pytest.mark.slow

PROMISE_S = 300
MAXIMUM = 30
DIES, RETURNS, LAST_ARRIVAL = 12, 42, 56
LOAD = {minute: 6 if minute < DIES else 24 for minute in range(4, LAST_ARRIVAL + 1)}
"""Messages of 20 s: two instances keep up with them until the plane dies, eight from then on."""
FUNCTIONS = (
    "PublishBacklogFunction",
    "DeadlineTickFunction",
    "BootstrapFunction",
    "ShutdownFunction",
    "RetuneTargetFunction",
)


def scenario(name: str = "transcription") -> Scenario:
    """One workload of the deadline engine under `LOAD`."""
    return replace(
        TRANSCRIPTION,
        name=name,
        environment="transcription",
        durations=((0, 20),),
        bursts=LOAD,
        parameters={
            "Name": name,
            "QueueName": name,
            "AutoScalingGroupName": name,
            "MaxCapacity": str(MAXIMUM),
            "Scaling": "deadline",
            "AcceptableLatencySeconds": str(PROMISE_S),
            "ProcessingSeconds": "20",
            "BootSeconds": "120",
        },
    )


@dataclass(frozen=True, kw_only=True)
class Played:
    """What became of one workload; minutes count from the deploy."""

    summary: Summary
    minutes: list[Minute]
    waits: list[tuple[float, float]]
    """(minute of arrival, seconds until the start) of each message."""
    policy: list[tuple[int, int, int]]
    """(minute, desired before, after) of each scale-out by AWS."""

    def desired(self, minute: int) -> int:
        return self.minutes[minute - 1].desired

    def late(self, first: float, last: float) -> int:
        """How many of the messages that arrive between these minutes start late."""
        return sum(waited > PROMISE_S for minute, waited in self.waits if first <= minute < last)


def play(
    *scenarios: Scenario,
    fallback: str = "",
    meanwhile: Callable[[EmbeddedAws, float], None],
) -> dict[str, Played]:
    """Play workloads side by side; `meanwhile` schedules what happens, given the moment of the deploy."""
    waits: dict[str, list[tuple[float, float]]] = {each.name: [] for each in scenarios}
    with embedded_aws(ROOT) as aws:

        def recorded(account: EmbeddedAws, assignment: Assignment) -> SimulatedWorkers:
            def on_processed(message: str, took_s: float, waited_s: float) -> None:
                arrived = (account.clock.now - took_s - waited_s - start) / 60
                waits[assignment.scenario.name].append((arrived, waited_s))
                assignment.on_processed(message, took_s, waited_s)

            return SimulatedWorkers(account, replace(assignment, on_processed=on_processed))

        demo, start = Demo(aws, ROOT, worker_factory=recorded), aws.clock.now
        for each in scenarios:
            demo.add_workload(each, {"Fallback": fallback})
        meanwhile(aws, start)
        timelines = demo.run()
        return {
            each.name: Played(
                summary=timeline.summary,
                minutes=list(timeline.minutes),
                waits=waits[each.name],
                policy=[
                    (int(at - start) // 60, scaled.before, scaled.after)
                    for at, scaled in aws.scaled
                    if scaled.fleet == each.name
                ],
            )
            for each, timeline in zip(scenarios, timelines, strict=True)
        }


def plane_dies(aws: EmbeddedAws, start: float) -> None:
    """No function of the control plane runs from DIES to RETURNS."""

    def switch(*, on: bool) -> None:
        for name in FUNCTIONS:
            aws.functions.named(f"{CONTROL_PLANE}-{name}").enabled = on

    aws.clock.at(start + 60 * DIES, partial(switch, on=False))
    aws.clock.at(start + 60 * RETURNS, partial(switch, on=True))


@contextmanager
def unreadable(name: str) -> Iterator[None]:
    """Sluice cannot read this queue within the context; its workers can."""
    read = SqsQueues.read

    def partly(
        queues: SqsQueues, urls: list[str], *rest: Callable[[], float]
    ) -> dict[str, Backlog | Unknown]:
        return {
            url: Unknown(reason="AccessDenied") if url.endswith(f"/{name}") else backlog
            for url, backlog in read(queues, urls, *rest).items()
        }

    with mock.patch.object(SqsQueues, "read", partly):
        yield


def becomes_unreadable(name: str, aws: EmbeddedAws, start: float) -> None:
    """Sluice cannot read this workload's queue from DIES to RETURNS."""
    context = unreadable(name)
    aws.clock.at(start + 60 * DIES, context.__enter__)
    aws.clock.at(start + 60 * RETURNS, lambda: context.__exit__(None, None, None))


def test_a_fleet_grows_while_the_plane_is_dead_and_the_promise_returns_with_it() -> None:
    [played] = play(scenario(), meanwhile=plane_dies).values()
    acted = [minute for minute, _, _ in played.policy]
    assert DIES + 4 <= acted[0] <= DIES + 8
    assert acted[-1] <= RETURNS + 3, "it ends with the first points"
    assert all(before < after for _, before, after in played.policy), "it only scales out"
    assert played.desired(DIES) <= 4
    assert played.desired(RETURNS) >= 8
    summary = played.summary
    assert (summary.sent, summary.left, summary.final_desired) == (summary.processed, 0, 0)
    assert played.late(RETURNS + 10, LAST_ARRIVAL + 1) == 0
    assert played.late(RETURNS - 10, RETURNS) == 0, "the fallback itself catches up"


def test_without_the_fallback_the_fleet_keeps_its_size_while_the_plane_is_dead() -> None:
    """So that the test above shows what the policy does."""
    [played] = play(scenario(), fallback="false", meanwhile=plane_dies).values()
    assert played.policy == []
    assert played.desired(RETURNS) == played.desired(DIES + 1)
    assert played.late(RETURNS - 10, RETURNS) > 0


def test_if_one_workload_is_unreadable_its_own_fallback_acts_and_no_other() -> None:
    both = scenario("one"), scenario("other")
    played = play(*both, meanwhile=partial(becomes_unreadable, "one"))
    assert DIES + 4 <= played["one"].policy[0][0] <= DIES + 8
    assert played["one"].desired(RETURNS) >= 8
    assert played["other"].policy == []
    for each in played.values():
        assert (each.summary.sent, each.summary.left) == (each.summary.processed, 0)
        assert each.late(RETURNS + 10, LAST_ARRIVAL + 1) == 0


@pytest.mark.parametrize("seed", range(2))
def test_while_the_plane_publishes_the_fallback_never_acts_whatever_the_backlog(seed: int) -> None:
    """The engine itself is off, so that a policy that looked at the queue would have to scale out.

    Points start up to 59 s late and are readable up to 119 s after they are put.
    """
    drawn = random.Random(seed)
    with embedded_aws(ROOT, seed=seed, custom_metric_delay_s=drawn.uniform(0, 119)) as aws:
        aws.clock.run_until(aws.clock.now + drawn.uniform(0, 60))
        demo = Demo(aws, ROOT)
        run = demo.add_workload(replace(scenario(), bursts={}), {"MinCapacity": "1"})
        aws.functions.named(f"{CONTROL_PLANE}-DeadlineTickFunction").enabled = False
        aws.clock.run_until(aws.clock.now + 300)
        url, body = aws.sqs.get_queue_url(QueueName=run.name)["QueueUrl"], json.dumps({"duration_s": 3600})
        for _ in range(12):
            if drawn.random() < 0.2:
                aws.sqs.purge_queue(QueueUrl=url)
            for _ in range(int(10 ** drawn.uniform(0, 2.3))):
                aws.sqs.send_message(QueueUrl=url, MessageBody=body)
            aws.clock.run_until(aws.clock.now + drawn.uniform(240, 600))
        assert aws.scaled == []
        aws.functions.named(f"{CONTROL_PLANE}-PublishBacklogFunction").enabled = False
        aws.clock.run_until(aws.clock.now + 600)
        assert aws.scaled, "and it would have acted"
