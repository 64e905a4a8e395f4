"""Limited encodings, closed pipes and Ctrl-C: the command behaves as Unix tools do."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from sluice_cli.main import main
from sluice_sim.study import sweep

pytestmark = pytest.mark.slow

SHORT = "steady:days=0.02:per-day=2000"
SIGINT_STATUS, SIGPIPE_STATUS = 130, 141
BEGIN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from sluice_cli.main import main; main(prog_name='sluice')"
)
"""A shell that runs the tests in the background leaves SIGINT ignored."""
COMMAND = (sys.executable, "-c", BEGIN)
HISTORY = ("history", "transcription", "--region", "eu-west-1")


def printed_in(encoding: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """The command's output on a terminal with this encoding."""
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(written, encoding=encoding, write_through=True))
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code in (0, None)
    return written.getvalue().decode(encoding)


@pytest.mark.usefixtures("one_process")
class TestEncodings:
    @pytest.fixture
    def one_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Run in this process: others take seconds to start."""
        monkeypatch.setattr(sweep, "_workers", lambda tasks: ThreadPoolExecutor(1))

    def test_the_demos_bars_and_arrows_become_ascii(self, monkeypatch: pytest.MonkeyPatch) -> None:
        printed = printed_in("ascii", monkeypatch, "demo", "--scenario", "transcription")
        assert "# visible, = in flight; * running, o asked for" in printed
        assert "-> 24 messages arrive" in printed
        assert "########" in printed
        assert "?" not in printed

    @pytest.mark.parametrize("policies", ["sluice", "sluice,static"])
    def test_a_simulations_tables_become_ascii(self, policies: str, monkeypatch: pytest.MonkeyPatch) -> None:
        command = ("simulate", "transcription", "--trace", SHORT, "--policy", policies)
        printed = printed_in("ascii", monkeypatch, *command)
        assert "instance" in printed
        assert "?" not in printed

    def test_characters_of_the_encoding_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        command = ("simulate", "transcription", "--trace", SHORT, "--policy", "sluice,static")
        assert "× bound" in printed_in("latin-1", monkeypatch, *command)


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command in its own process group, as a shell does."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("demo", "--list"),
        ("demo", "--scenario", "transcription"),
        ("simulate", "transcription", "--trace", SHORT, "--no-bound"),
    ],
    ids=" ".join,
)
def test_it_ends_quietly_when_the_reader_closes_the_pipe(arguments: tuple[str, ...]) -> None:
    with started(*arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # as `head` does
        printed = process.stderr.read()
        assert process.wait() == SIGPIPE_STATUS, printed
    assert "Traceback" not in printed
    assert "Error" not in printed
    assert "Exception ignored" not in printed


class TestCtrlC:
    def interrupted(self, process: subprocess.Popen[str]) -> None:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: child processes get it too
        _, printed = process.communicate(timeout=120)
        assert process.returncode == SIGINT_STATUS, printed
        assert "Traceback" not in printed
        assert "KeyboardInterrupt" not in printed

    def test_ctrl_c_ends_the_demo(self) -> None:
        with started("demo", "--scenario", "transcription") as process:
            assert process.stdout is not None
            while "arrive" not in process.stdout.readline():
                assert process.poll() is None
            self.interrupted(process)

    def test_a_comparison_ends_with_its_processes(self, tmp_path: Path) -> None:
        # The trace is so long that it is still being simulated when the signal comes.
        command = ("simulate", "transcription", "--trace", "diurnal:days=7:per-day=200000", "--policy", "all")
        with started(*command, TMPDIR=str(tmp_path)) as process:
            while not any(tmp_path.glob("sluice-sweep-*/*")):
                assert process.poll() is None
            self.interrupted(process)
        assert not list(tmp_path.iterdir())

    def test_the_history_command_ends_while_aws_does_not_answer(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with started(*HISTORY, AWS_ENDPOINT_URL=endpoint) as process:
                connection, _ = silent.accept()
                with connection:
                    self.interrupted(process)
