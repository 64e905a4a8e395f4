"""Open a page in headless Chromium, if it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium on the PATH: install one (apt-get install chromium) to open the report",
)


def opened(page: Path, profile: Path, width: int = 1280) -> tuple[str, list[str]]:
    """The document after the browser has loaded it, and its console messages.

    Chromium's sandbox and shared memory are off: many containers have neither.
    """
    ran = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--enable-logging=stderr", f"--user-data-dir={profile}", f"--window-size={width},900",
            "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return ran.stdout, [line for line in ran.stderr.splitlines() if ":CONSOLE" in line]
