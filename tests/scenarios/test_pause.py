"""A pause in the closed loop: of a group and a service with target tracking, and of the deadline engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import boto3
import pytest

from sluice.core.pause import BOTH, Direction
from sluice.ports import StoredState
from sluice_operator import pauses
from sluice_operator.account import open_account
from sluice_operator.session import AwsSession
from sluice_sim.embedded.cloud import embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import PHOTO_IMPORT, QUEUE_PROC, TRANSCRIPTION
from sluice_sim.embedded.timeline import Scenario
from tests.scenarios.conftest import ROOT

pytestmark = pytest.mark.slow

KINDS = {"group": TRANSCRIPTION, "service": QUEUE_PROC, "deadline engine": PHOTO_IMPORT}


@dataclass
class Played:
    """One workload without arrivals but those that a test sends."""

    demo: Demo
    scenario: Scenario
    minutes: Iterator[int]

    def play(self, minutes: int) -> list[int]:
        """The desired count at the end of each minute."""
        return [self.size() for _ in range(minutes) if next(self.minutes)]

    def size(self) -> int:
        aws = self.demo.aws
        if self.scenario is QUEUE_PROC:
            return aws.services.fleet(self.service()).size().desired
        return aws.groups.fleet(self.scenario.name).size().desired

    def send(self, messages: int) -> None:
        url = self.demo.aws.sqs.get_queue_url(QueueName=self.scenario.name)["QueueUrl"]
        for _ in range(messages):
            self.demo.aws.sqs.send_message(QueueUrl=url, MessageBody='{"duration_s": 60}')

    def start(self, instances: int) -> None:
        aws = self.demo.aws
        if self.scenario is QUEUE_PROC:
            aws.services.set_desired(self.service(), instances)
        else:
            aws.groups.set_desired(self.scenario.name, instances)

    @staticmethod
    def service() -> str:
        return (
            f"service/{boto3.client('ecs').list_clusters()['clusterArns'][0].rsplit('/', 1)[-1]}/queue-proc"
        )

    def pause(self, *directions: Direction, for_: timedelta | None = None) -> None:
        account = open_account(AwsSession(), "sluice")
        chosen = frozenset(directions) or BOTH
        name = self.scenario.name
        pauses.pause(account, name, chosen, for_, "a deploy", lambda: 60.0, replace_others=False)

    def resume(self) -> None:
        pauses.resume(open_account(AwsSession(), "sluice"), self.scenario.name, BOTH, lambda: 60.0)

    def held(self) -> set[str]:
        return {
            line.record["decision"]
            for line in self.demo.aws.log
            if line.record.get("reason") == "paused" and ": a deploy" in line.record["message"]
        }


@pytest.fixture(params=KINDS)
def played(request: pytest.FixtureRequest) -> Iterator[Played]:
    with embedded_aws(ROOT) as aws:
        demo, scenario = Demo(aws, ROOT), KINDS[request.param]
        demo.add_workload(replace(scenario, bursts={}, steady=None))
        yield Played(demo, scenario, demo.minutes())


@pytest.mark.parametrize("directions", [(Direction.OUT,), ()], ids=["out", "both"])
def test_a_burst_grows_nothing_that_is_paused_and_the_next_ticks_after_it_grow(
    played: Played, directions: tuple[Direction, ...]
) -> None:
    """From zero, where Sluice starts a fleet."""
    played.play(1)
    lowest = played.size()
    played.pause(*directions)
    played.send(200)
    assert set(played.play(6)) == {lowest}
    assert played.held() & {"bootstrap", "scale"} or lowest
    played.resume()
    assert max(played.play(2 if lowest == 0 else 6)) > lowest


def test_a_burst_grows_nothing_of_a_fleet_that_runs_and_is_paused_out(played: Played) -> None:
    """Above zero, where AWS's own policy scales two of the three."""
    played.start(1)
    played.send(10)
    played.play(3)
    before = played.size()
    played.pause(Direction.OUT)
    played.send(400)
    assert max(played.play(8)) <= before
    played.resume()
    assert max(played.play(6)) > before


def test_nothing_of_an_empty_fleet_ends_that_is_paused_in(played: Played) -> None:
    played.start(3)
    played.pause(Direction.IN)
    assert set(played.play(25)) == {3}
    assert played.held() & {"shutdown", "scale"}
    played.resume()
    assert played.play(8)[-1] < 3


def test_a_fleet_that_is_paused_out_is_shut_down_when_its_queue_is_empty(played: Played) -> None:
    played.start(3)
    played.pause(Direction.OUT)
    assert played.play(10)[-1] < 3


def test_a_pause_ends_by_itself_while_no_function_runs(played: Played) -> None:
    """Sluice's own decisions by the clock, AWS's policy by its schedule."""
    played.start(1)
    played.play(2)
    played.pause(for_=timedelta(minutes=4))
    for function in boto3.client("lambda").list_functions()["Functions"]:
        boto3.client("lambda").put_function_concurrency(
            FunctionName=function["FunctionName"], ReservedConcurrentExecutions=0
        )
    played.play(6)
    assert boto3.client("scheduler").list_schedules(GroupName="sluice-pauses")["Schedules"] == []
    for function in boto3.client("lambda").list_functions()["Functions"]:
        boto3.client("lambda").delete_function_concurrency(FunctionName=function["FunctionName"])
    played.send(400)
    assert max(played.play(8)) > 1


def test_an_update_of_the_stack_releases_what_aws_holds_and_not_what_sluice_holds(played: Played) -> None:
    """CloudFormation puts a changed policy or scalable target whole; the stored pause is not its own."""
    played.play(1)
    played.pause(Direction.OUT)
    [run] = played.demo.runs
    run.deployed |= {"MaxCapacity": str(int(run.deployed["MaxCapacity"]) + 1)}
    played.demo.deploy(run)
    assert not held_by_aws(played)
    lowest = played.size()
    played.send(200)
    assert set(played.play(3)) == {lowest} or lowest
    played.pause(Direction.OUT)
    assert held_by_aws(played)
    played.resume()


def held_by_aws(played: Played) -> bool:
    account, name = open_account(AwsSession(), "sluice"), played.scenario.name
    assert account.ports.states is not None
    stored = account.ports.states.read([name], lambda: 60.0)[name]
    assert isinstance(stored, StoredState)
    assert stored.pause is not None
    workload = account.ports.registry.one(name, lambda: 60.0)
    return pauses.held_by_aws(account.clients, workload, stored.pause)
