"""Sluice's worker: a consumer of SQS queues that reports, protects and drains.

    from sluice_worker import Message, run, settings

    def handle(message: Message) -> None: ...

    run(settings({"queues": [URL]}), handle)

`core` decides and is pure, `runtime` has the threads of one process, `aws` calls AWS, `supervisor` runs
several processes.
"""

from sluice_worker.core.retry_policy import Reject
from sluice_worker.message import Message
from sluice_worker.runtime.batches import Failed
from sluice_worker.settings import Settings, settings

__all__ = ["Failed", "Message", "Reject", "Settings", "run", "settings"]


def run(settings: Settings, handler: object) -> int:
    """Run until SIGTERM, SIGINT or the instance's termination: see `supervisor.run`."""
    from sluice_worker.supervisor import run as supervised  # boto3 is not needed to write a handler

    return supervised(settings, handler)  # type: ignore[arg-type]
