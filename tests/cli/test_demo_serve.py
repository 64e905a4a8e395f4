"""`sluice demo --serve`, as a user runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import boto3
import click
import pytest

from sluice_cli.demo_server import Address, serve_until_interrupted
from sluice_cli.terminal import Console

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_account_answers_after_the_run_until_ctrl_c_which_prints_the_summary():
    port = free_port()
    command = [sys.executable, "-P", "-c", "from sluice_cli.main import main; main()"]
    run = subprocess.Popen(
        [*command, "demo", "--scenario", "photo-import", "--serve", str(port)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/sluice'}"},
        stdout=subprocess.PIPE,
        text=True,
        # A test run in the background of a shell ignores it, and so would its children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert run.stdout is not None
    try:
        said = next(line for line in run.stdout if line.startswith("The account answers"))
        assert f"http://127.0.0.1:{port}, in eu-west-1" in said
        client = boto3.client("cloudwatch", endpoint_url=f"http://127.0.0.1:{port}")
        found = client.get_metric_statistics(
            Namespace="Sluice",
            MetricName="BacklogPerInstance",
            Dimensions=[{"Name": "AutoScalingGroupName", "Value": "photo-import"}],
            StartTime=datetime(2026, 1, 15, 12, tzinfo=UTC),
            EndTime=datetime(2026, 1, 15, 14, tzinfo=UTC),
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        assert max(point["Maximum"] for point in found) > 0
    finally:
        run.send_signal(signal.SIGINT)
        rest, _ = run.communicate(timeout=60)
    assert run.returncode == 0, rest
    assert "Promise kept" in rest


def test_a_port_that_was_taken_while_the_demo_played_is_named_with_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Address(host="127.0.0.1", port=other.getsockname()[1])
        with pytest.raises(click.ClickException) as refused:
            serve_until_interrupted(taken, Console(), 0.0, 0.0)
    assert refused.value.message == (
        f"127.0.0.1:{taken.port} was taken while the demo played: give --serve another one"
    )
