"""Writes the screenshots of the operator's commands on the embedded AWS, beside this file."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMANDS = {
    "status": ("status",),
    "doctor": ("doctor",),
    "explain": ("explain", "transcription", "--at", "12:28"),
}
"""Picture -> the command that it shows; all read the embedded AWS."""
COLUMNS = 110
WEB_FONTS = re.compile(r"@font-face {.*?}\s*|<!--.*?-->\s*", re.DOTALL)
"""What a viewer would load from elsewhere, and rich's note of itself."""


def main() -> None:
    """Run each command and write what it prints as `<picture>.svg`."""
    for picture, command in COMMANDS.items():
        shown = " ".join(("sluice", *command, "--embedded"))
        svg = _svg(f"$ {shown}", _output(command))
        (Path(__file__).parent / f"{picture}.svg").write_text(svg, encoding="utf-8")


def _output(command: tuple[str, ...]) -> str:
    """What the command prints to a terminal."""
    terminal = {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    sluice = [sys.executable, "-c", "from sluice_cli.main import main; main()"]
    ours, its = pty.openpty()
    with subprocess.Popen(  # noqa: S603 - the commands above
        [*sluice, *command, "--embedded"],
        env={key: text for key, text in os.environ.items() if key != "NO_COLOR"} | terminal,
        stdout=its,
        stderr=subprocess.DEVNULL,
    ):
        os.close(its)
        return b"".join(_read(ours)).decode()


def _read(terminal: int) -> Iterator[bytes]:
    try:
        while some := os.read(terminal, 65536):
            yield some
    except OSError:  # Linux's answer once the process has ended
        return


def _svg(title: str, output: str) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("\n".join(line.rstrip() for line in output.splitlines())))
    svg = console.export_svg(title=title, unique_id=title.split()[2])
    return WEB_FONTS.sub("", svg)


if __name__ == "__main__":
    main()
