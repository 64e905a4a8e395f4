"""Entry point: send test messages, whose body says how long a worker should take over each."""

from __future__ import annotations

import json

from sluice.events import LoadRequest
from sluice.ports import Counter, Ports, RemainingS, Report


def send_test_messages(load: LoadRequest, ports: Ports, report: Report, remaining_s: RemainingS) -> None:
    """Send the load to its workload's queue, standard or FIFO."""
    workload = ports.registry.one(load.workload, remaining_s)
    body = json.dumps({"duration_s": load.duration_s})
    ports.queues.send(workload.queue_url, [body] * load.messages)
    report.event(Counter.MESSAGES_SENT, f"{load.duration_s:g} s each to {workload.queue_url}", load.messages)
