"""The released templates deploy what template.yaml does, from archives in place of folders to build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from release.build import ARCHITECTURES
from release.templates import packaged
from release.versions import ReleaseError
from sluice_sim import template

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "template.yaml").read_text(encoding="utf-8")
FUNCTION = "AWS::Serverless::Function"
APPLICATION = "AWS::ServerlessRepo::Application"


def released(architecture: str, folder: Path) -> dict[str, Any]:
    path = folder / "template.yaml"
    path.write_text(packaged(TEXT, architecture=architecture, layer="layer.zip", functions="functions.zip"))
    return template.load(path)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_function_runs_its_own_file_of_the_one_archive(architecture: str, tmp_path: Path) -> None:
    resources = released(architecture, tmp_path)["Resources"]
    functions = [each["Properties"] for each in resources.values() if each["Type"] == FUNCTION]
    assert {each["CodeUri"] for each in functions} == {"functions.zip"}
    handlers = sorted(each["Handler"] for each in functions)
    assert handlers == sorted(f"{path.parent.name}.app.handler" for path in ROOT.glob("functions/*/app.py"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_is_template_yaml_in_all_but_the_archives_and_the_architecture(
    architecture: str, tmp_path: Path
) -> None:
    ours, theirs = template.load(ROOT / "template.yaml"), released(architecture, tmp_path)
    assert theirs["Parameters"]["Architecture"].pop("AllowedValues") == [architecture]
    assert theirs["Parameters"]["Architecture"].pop("Default") == architecture
    del ours["Parameters"]["Architecture"]["AllowedValues"], ours["Parameters"]["Architecture"]["Default"]
    assert theirs["Resources"]["SluiceLayer"]["Properties"]["ContentUri"] == "layer.zip"
    del ours["Resources"]["SluiceLayer"]["Metadata"]
    for logical_id, resource in ours["Resources"].items():
        for name in ("ContentUri", "CodeUri", *(["Handler"] if resource["Type"] == FUNCTION else [])):
            resource.get("Properties", {}).pop(name, None)
            theirs["Resources"][logical_id].get("Properties", {}).pop(name, None)
    about = theirs["Metadata"][APPLICATION]
    assert (about.pop("LicenseUrl"), about.pop("ReadmeUrl")) == ("LICENSE", "README.md")
    assert theirs == ours


@pytest.mark.parametrize("line", ["      ContentUri: layers/sluice\n", "    Default: arm64\n"])
def test_a_template_without_a_line_to_replace_is_refused(line: str) -> None:
    with pytest.raises(ReleaseError, match=r"template\.yaml has 0 times, and not once"):
        packaged(TEXT.replace(line, ""), architecture="arm64", layer="layer.zip", functions="functions.zip")
