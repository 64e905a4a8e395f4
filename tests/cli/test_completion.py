"""Shell completion of commands, options and the names of workloads, scenarios, policies and shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from sluice_cli import workloads
from sluice_cli.main import COMMANDS, main
from sluice_cli.settings import generators
from sluice_sim import policies
from sluice_sim.embedded.scenarios import SCENARIOS
from sluice_sim.template import deployment

ENVIRONMENTS = list(deployment.environments(workloads.CHECKOUT))
PARAMETERS = ["MinCapacity=", "MinMessagesPerInstance=", "MinSamples="]


def offered(*words: str) -> list[str]:
    """The completions of the last word."""
    *before, incomplete = words
    completion = ShellComplete(main, {}, "sluice", "_SLUICE_COMPLETE")
    return [item.value for item in completion.get_completions(list(before), incomplete)]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("",), list(COMMANDS)),
        (("cost", "--embedded", "a"), ["all"]),
        (("cost", "--embedded", "tr"), ["transcription"]),
        (("s",), ["status", "surge", "switch", "simulate"]),
        (("demo", "--scenario", ""), list(SCENARIOS)),
        (("demo", "--without", "boot"), ["bootstrap-alarm"]),
        (("simulate", ""), ENVIRONMENTS),
        (("simulate", "compiler"), [name for name in ENVIRONMENTS if name.startswith("compiler")]),
        (("validate", "transcription", "queue"), ["queue-proc"]),
        (("history", "bulk"), ["bulk-consumer"]),
        (("events", "boot"), ["bootstrap-alarm"]),
        (("events", "schedule", "tr"), ["transcription"]),
        (("trace", ""), list(generators.SHAPES)),
        (("simulate", "transcription", "--trace", "di"), ["diurnal"]),
        (("simulate", "transcription", "--policy", ""), [*policies.names(), "all"]),
        (("simulate", "transcription", "--policy", "sluice,static-"), ["sluice,static-target"]),
        (("simulate", "transcription", "--scale-in", "dr"), ["drain"]),
        (("simulate", "transcription", "--set", "Min"), PARAMETERS),
        (("simulate", "transcription", "--sweep", "boot"), ["boot-s="]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_names_are_offered(words: tuple[str, ...], names: list[str]) -> None:
    assert offered(*words) == names


@pytest.mark.parametrize("words", [("simulate", "./doc"), ("simulate", "transcription", "--trace", "./a")])
def test_without_a_matching_name_files_are_offered(words: tuple[str, ...]) -> None:
    completion = ShellComplete(main, {}, "sluice", "_SLUICE_COMPLETE")
    [item] = completion.get_completions(list(words[:-1]), words[-1])
    assert item.type == "file"


def test_options_are_offered_after_dashes() -> None:
    assert "--scenario" in offered("demo", "--")
    assert "--version" in offered("--")


def test_completion_works_outside_a_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "CHECKOUT", tmp_path)
    assert offered("simulate", "tr") == ["tr"]  # a file, perhaps


def test_names_come_from_the_given_samconfig(tmp_path: Path) -> None:
    config_file = tmp_path / "mine.toml"
    config_file.write_text('[thumbnails.deploy.parameters]\ntemplate_file = "workload.yaml"\n')
    assert offered("simulate", "--config-file", str(config_file), "") == ["thumbnails"]
