"""examples/processes: systemd, supervisord and honcho accept what they are told, and it fits the worker."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import pytest
from supervisor.datatypes import RestartWhenExitUnexpected

from tests.examples import supervisors
from tests.support import systemd
from tests.templates import fleet_workers, stacks
from tests.templates.fleet_workers import Unit, taken_apart, understood
from tests.templates.test_example_worker import LEAVING_S, SPOT_NOTICE_S

UNIT = (supervisors.FOLDER / "worker.service").read_text()
HONCHO_KILLS_AFTER_S = 5
TOLD = {"Service.Environment", "Service.EnvironmentFile", "Unit.Description"}
"""Where the two units differ: one reads a file, the template writes the variables into the other."""


@pytest.fixture(scope="module")
def unit() -> Unit:
    return taken_apart(UNIT)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    assert systemd.complaints(UNIT, tmp_path) == []


@pytest.mark.parametrize("key", ["TimeoutStopSec", "DynamicUser", "EnvironmentFile"])
def test_systemd_finds_a_misspelled_key(key: str, tmp_path: Path) -> None:
    assert systemd.complaints(UNIT.replace(key, f"{key}s"), tmp_path)


def test_the_unit_is_confined_as_far_as_a_worker_may_be(tmp_path: Path) -> None:
    assert systemd.exposure(UNIT, tmp_path) < 2
    assert systemd.exposure(UNIT.replace("CapabilityBoundingSet=\n", ""), tmp_path) > 2


def test_the_unit_is_that_of_the_example_fleet(unit: Unit) -> None:
    of_fleet = fleet_workers.unit(stacks.example_fleet())
    assert {key: of_fleet[key] for key in of_fleet.keys() - TOLD} == {
        key: unit[key] for key in unit.keys() - TOLD
    }


def test_the_variables_are_those_of_the_example_fleet() -> None:
    """The commented ones, which belong to an instance of a group, included."""
    commented = (supervisors.FOLDER / "worker.env").read_text().replace("#SLUICE", "SLUICE")
    said = dict(line.split("=", 1) for line in commented.splitlines() if not line.startswith("#"))
    of_fleet = fleet_workers.variables("asg")
    del of_fleet["SLUICE_WORKER_NAMESPACE"]  # as by default
    assert said == of_fleet


def test_the_worker_accepts_its_variables_and_no_credentials_are_among_them() -> None:
    given = supervisors.variables()
    settings, handler = understood(given)
    assert handler == "sleeper:handle"
    assert settings.fleet is None
    assert not [name for name in given if name.startswith("AWS_") and name != "AWS_DEFAULT_REGION"]


def test_systemd_waits_for_the_drain_and_the_drain_for_no_longer_than_a_spot_notice(unit: Unit) -> None:
    settings, _ = understood(supervisors.variables())
    assert int(unit["Service.TimeoutStopSec"][0]) >= settings.grace_s + LEAVING_S
    assert settings.grace_s + LEAVING_S <= SPOT_NOTICE_S


def test_supervisord_starts_the_workers_anew_unless_they_drained() -> None:
    programs = supervisors.programs()
    assert [program.name for program in programs] == ["worker-0", "worker-1"]
    for program in programs:
        assert shlex.split(program.command)[1:] == fleet_workers.entry_point()[1:]
        assert (program.autorestart, program.exitcodes) == (RestartWhenExitUnexpected, [0])
        assert program.startretries > 1000  # an outage at the start is waited for as long as it takes


def test_supervisord_waits_between_starts_that_fail() -> None:
    """It does so only within startsecs, and a worker takes seconds to find that it has no credentials."""
    assert min(program.startsecs for program in supervisors.programs()) >= 10


def test_supervisord_signals_the_worker_and_waits_for_the_drain() -> None:
    settings, _ = understood(supervisors.variables())
    for program in supervisors.programs():
        assert program.stopsignal == signal.SIGTERM
        assert not program.stopasgroup  # the worker tells its own processes
        assert program.killasgroup
        assert program.stopwaitsecs >= settings.grace_s + LEAVING_S


def test_a_drain_under_honcho_is_shorter_than_its_patience() -> None:
    [command] = supervisors.procfile().values()
    words = shlex.split(command)
    assert words[:3] == fleet_workers.entry_point()
    assert words[3] == "--grace-s"
    assert float(words[4]) < HONCHO_KILLS_AFTER_S


def test_honcho_finds_variables_and_handler_by_the_command_that_is_given() -> None:
    """It ignores a file of variables that is missing, and the worker looks for the handler where it runs."""
    lines = (supervisors.FOLDER / "Procfile").read_text().splitlines()
    [line] = [line for line in lines if "honcho -" in line]
    command = line.removeprefix("#").strip()
    assert f"`{command}`" in (supervisors.ROOT / "docs/ways-in.md").read_text()
    change, start = command.split(" && ")
    folder = supervisors.ROOT / change.removeprefix("cd ")
    words = shlex.split(start)
    given = dict(zip(words[1:5:2], words[2:5:2], strict=True))
    assert folder / given["-f"] == supervisors.FOLDER / "Procfile"
    assert folder / given["-e"] == supervisors.FOLDER / "worker.env"
    module, _ = supervisors.variables()["SLUICE_WORKER_HANDLER"].split(":")
    assert (folder / f"{module}.py").is_file()
