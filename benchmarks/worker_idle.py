"""The requests of an idle worker to SQS: `python benchmarks/worker_idle.py`.

Measures a worker with its minimum of pollers at an empty queue, whose long polls take their real time. Exits
with 1 if it makes more than one ReceiveMessage for each poller in 20 s, or any other request.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import click

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "layers/sluice")]

from benchmarks.stub_sqs import stub  # noqa: E402
from benchmarks.turns import LATENCY_S, Contender  # noqa: E402
from sluice_worker.core.model import LONG_POLL_S  # noqa: E402

SETTLES_S = 5.0
"""From the start to the first long poll, with the short ones that find every queue empty."""


@click.command()
@click.option("--pollers", default=3, show_default=True, help="Threads that receive, minimum and maximum.")
@click.option("--watch-s", default=60.0, show_default=True, help="Seconds to watch it.")
def main(pollers: int, watch_s: float) -> None:
    """Count its requests."""
    with stub(latency_s=LATENCY_S, empty=True) as sqs:
        contender = Contender("worker", sqs.queue_url, 4 * pollers // 3, "nothing")
        time.sleep(SETTLES_S)
        cpu_before, before = contender.cpu_s(), sqs.counts()
        time.sleep(watch_s)
        after, cpu_after = sqs.counts(), contender.cpu_s()
        contender.end()
    requests = {
        operation: count - before.requests.get(operation, 0)
        for operation, count in after.requests.items()
        if count > before.requests.get(operation, 0)
    }
    allowed = math.ceil(watch_s / LONG_POLL_S) * pollers
    click.echo(
        f"{pollers} pollers, idle for {watch_s:g} s: {json.dumps(requests)}; {allowed} receives allowed; "
        f"{(cpu_after - cpu_before) / watch_s:.2%} of a core"
    )
    within = set(requests) <= {"ReceiveMessage"} and 0 < requests.get("ReceiveMessage", 0) <= allowed
    sys.exit(0 if within else 1)


if __name__ == "__main__":
    main()
