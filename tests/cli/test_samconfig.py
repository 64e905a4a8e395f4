"""An environment written into a samconfig file: nothing else of the file changes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from sluice_cli import samconfig, workloads
from sluice_cli.usage_errors import UsageError

EXAMPLES = (workloads.CHECKOUT / "samconfig.toml").read_text(encoding="utf-8")
WANTED = {"Name": "thumbs", "MaxCapacity": "12"}


def overrides(text: str, name: str) -> list[str]:
    found: list[str] = tomllib.loads(text)[name]["deploy"]["parameters"]["parameter_overrides"]
    return found


def made(text: str, name: str = "thumbs", *, replace: bool = False) -> str:
    return samconfig.with_environment(text, name, WANTED, replace=replace, what="mine.toml")


@pytest.mark.parametrize(
    "text",
    [EXAMPLES, EXAMPLES.rstrip("\n"), "version = 0.1", EXAMPLES.replace("\n", "\r\n"), "# only a comment\n"],
    ids=["examples", "no end of line", "one line", "CRLF", "comment"],
)
def test_a_new_environment_stands_behind_all_bytes_that_were_there(text: str) -> None:
    written = made(text)
    assert written.startswith(text)
    assert overrides(written, "thumbs") == ["Name=thumbs", "MaxCapacity=12"]
    if "\r" in text:
        assert written.replace("\r\n", "").count("\n") == 0


def test_a_new_file_is_one_that_sam_reads() -> None:
    read = tomllib.loads(made(""))
    assert read["version"] == 0.1
    assert read["thumbs"]["deploy"]["parameters"]["template_file"] == "workload.yaml"
    assert read["thumbs"]["deploy"]["parameters"]["stack_name"] == "sluice-thumbs"


def test_an_environment_that_exists_is_kept_unless_it_shall_be_replaced() -> None:
    with pytest.raises(UsageError, match="environment queue-proc is there already: add --replace"):
        made(EXAMPLES, "queue-proc")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["transcription", "report-export", "e2e-queue-proc"])
def test_replaced_parameters_leave_every_other_line_as_it_is(name: str, newline: str) -> None:
    text = EXAMPLES.replace("\n", newline)
    written = made(text, name, replace=True)
    assert overrides(written, name) == ["Name=thumbs", "MaxCapacity=12"]
    begin = text.index("parameter_overrides", text.index(f"[{name}.deploy"))
    end = text.index(f"{newline}]{newline}", begin) + len(f"{newline}]{newline}")
    assert written.startswith(text[:begin])
    assert written.endswith(text[end:])


def test_parameters_in_one_text_are_replaced_too() -> None:
    text = '[a.deploy.parameters]\nparameter_overrides = "Name=a Max=1"\nregion = "eu-west-1"\n'
    written = made(text, "a", replace=True)
    assert overrides(written, "a") == ["Name=thumbs", "MaxCapacity=12"]
    assert tomllib.loads(written)["a"]["deploy"]["parameters"]["region"] == "eu-west-1"


@pytest.mark.parametrize(
    "text",
    [
        'a = {deploy = {parameters = {parameter_overrides = ["x=1"]}}}\n',
        "[a.deploy.parameters]\nregion = 'eu-west-1'\n",
        "[a.deploy.parameters]\nregion = 'eu-west-1'\n[b.deploy.parameters]\nparameter_overrides = ['x=1']\n",
        (
            'note = """\n[a.deploy.parameters]\nparameter_overrides = []\n"""\n'
            '[a.deploy.parameters]\nparameter_overrides = ["x=1"]\n'
        ),
    ],
    ids=["inline", "none", "of the next table", "in a text"],
)
def test_what_cannot_be_replaced_safely_is_left_to_its_owner(text: str) -> None:
    with pytest.raises(UsageError, match="by hand"):
        made(text, "a", replace=True)


def test_a_broken_file_is_not_touched(tmp_path: Path) -> None:
    for content, sentence in ((b"[a", "not valid TOML"), (b"\xff", "not UTF-8 text")):
        path = tmp_path / "samconfig.toml"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=sentence):
            samconfig.write_environment(path, "a", WANTED, replace=False)
        assert path.read_bytes() == content


def test_the_file_is_written_with_the_line_ends_it_had(tmp_path: Path) -> None:
    path = tmp_path / "samconfig.toml"
    before = EXAMPLES.replace("\n", "\r\n").encode()
    path.write_bytes(before)
    samconfig.write_environment(path, "thumbs", WANTED, replace=False)
    assert path.read_bytes().startswith(before)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it is a folder"):
        samconfig.write_environment(tmp_path, "thumbs", WANTED, replace=False)
