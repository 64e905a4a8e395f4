"""The user's own prices replace those of the release."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sluice.errors import ConfigError
from sluice_operator.price_files import in_use, keep, shipped, to_refresh, user_file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def test_without_a_file_of_ones_own_the_release_has_the_prices() -> None:
    assert in_use() == shipped()


def test_what_is_kept_is_used_from_then_on(home: Path) -> None:
    mine = replace(shipped(), region="eu-west-1")
    assert keep(mine) == home / "sluice" / "prices.json"
    assert in_use() == mine


def test_the_file_is_in_the_users_configuration_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for unset in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CONFIG_HOME", unset)
        assert user_file() == tmp_path / "user/.config/sluice/prices.json"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"{", "not a price file"), (b"\xff", "cannot be read: .* delete it to use the prices of Sluice")],
)
def test_a_broken_file_is_named(content: bytes, sentence: str) -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_bytes(content)
    with pytest.raises(ConfigError, match=sentence) as refused:
        in_use()
    assert str(user_file()) in str(refused.value)


def test_prices_can_be_refreshed_over_a_file_of_another_release() -> None:
    assert to_refresh() == shipped()
    mine = replace(shipped(), region="eu-west-1")
    path = keep(mine)
    assert to_refresh() == mine
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"eventbridge scheduler invocation"', '"gone"'), encoding="utf-8")
    assert to_refresh() == shipped()


def test_a_folder_that_cannot_be_made_is_named(home: Path) -> None:
    (home / "sluice").write_text("a file", encoding="utf-8")
    with pytest.raises(ConfigError, match="set XDG_CONFIG_HOME"):
        keep(shipped())
