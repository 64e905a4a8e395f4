"""Where prices are kept: the table that ships with Sluice, and the user's own, which replaces it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from sluice.errors import ConfigError
from sluice_operator.core.prices import PriceError, Prices, parse, written

SHIPPED = Path(__file__).with_name("prices.json")


def user_file() -> Path:
    """The file that `--refresh-prices` writes, by the XDG base directory specification."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".config"
    return base / "sluice" / "prices.json"


@cache
def shipped() -> Prices:
    """The table of this release."""
    return parse(SHIPPED.read_text(encoding="utf-8"), what=SHIPPED.name)


def in_use() -> Prices:
    """The user's prices if there are any, otherwise those of this release; ConfigError says what is wrong."""
    path = user_file()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return shipped()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read: {error}; delete it to use the prices of Sluice"
        ) from error
    try:
        return parse(text, what=str(path))
    except PriceError as error:
        raise ConfigError(str(error)) from error


def to_refresh() -> Prices:
    """What `--refresh-prices` replaces; a user's file that lacks an item of this release does not stop it."""
    try:
        return in_use()
    except ConfigError:
        return shipped()


def keep(prices: Prices) -> Path:
    """Write the user's prices, and return their file; ConfigError if it cannot be written."""
    path = user_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written(prices), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; set XDG_CONFIG_HOME") from error
    return path
