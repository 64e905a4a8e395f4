"""The consumers that are measured, each alone in a process: `python benchmarks/contenders.py worker URL`.

Each is configured to be as fast as it can be. It writes its CPU seconds to stdout for each line on stdin, and
ends with its stdin.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import click

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "layers/sluice")]

BATCH = 10
SLEEP_S = 0.005
ATTRIBUTES: dict[str, Any] = {
    "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"],
    "MessageAttributeNames": ["All"],
}
"""What the worker asks of each message, so that SQS's part is the same for the bare loop."""


def nothing(_: object) -> None:
    """Work off a message in no time."""


async def nothing_awaited(_: object) -> None:
    """The same as a coroutine."""


def nap(_: object) -> None:
    """Work for five milliseconds, without the CPU."""
    time.sleep(SLEEP_S)


async def nap_awaited(_: object) -> None:
    """The same as a coroutine."""
    await asyncio.sleep(SLEEP_S)


HANDLERS: dict[str, Callable[[Any], Any]] = {
    "nothing": nothing,
    "nothing-awaited": nothing_awaited,
    "nap": nap,
    "nap-awaited": nap_awaited,
}


def worker(url: str, connections: int, handler: Callable[[Any], Any]) -> None:
    """The worker with as many pollers: they delete too, and its senders have nothing to do."""
    from sluice_worker import run, settings

    slots = {"min_concurrency": 32, "max_concurrency": 32} if handler in (nap, nap_awaited) else {}
    run(
        settings(
            {
                "queues": [url],
                "min_pollers": connections,
                "max_pollers": connections,
                "report_s": 3600,
                **slots,
            }
        ),
        handler,
    )


def traced(url: str, connections: int, handler: Callable[[Any], Any]) -> None:
    """The worker with an OTLP collector in a process of its own; OTEL_TRACES_SAMPLER says what is traced."""
    collector = subprocess.Popen(  # noqa: S603 - the text below
        [sys.executable, "-c", COLLECTOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert collector.stdout is not None
    port = int(collector.stdout.readline())
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{port}"
    worker(url, connections, handler)


COLLECTOR = """
import http.server, os, sys, threading

class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", -1

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
"""
"""Takes what it gets, and ends with its stdin, and so with who started it."""


def loop(url: str, connections: int, handler: Callable[[Any], Any]) -> None:
    """A loop of receive, handle, delete in each of so many threads, over one client made for speed."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "sqs",
        config=Config(
            max_pool_connections=connections,
            parameter_validation=False,
            tcp_keepalive=True,
            retries={"mode": "standard"},
            user_agent="loop",  # botocore's own is put together for each call
        ),
    )

    def consume() -> None:
        with asyncio.Runner() as runner:
            receive_and_delete(_called(handler, runner))

    def receive_and_delete(handle: Callable[[Any], object]) -> None:
        while True:
            answer = client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=20,
                **ATTRIBUTES,
            )
            done: list[Any] = []
            for message in answer.get("Messages", ()):
                handle(message["Body"])
                done.append({"Id": str(len(done)), "ReceiptHandle": message["ReceiptHandle"]})
            if done:
                client.delete_message_batch(QueueUrl=url, Entries=done)

    threads = [threading.Thread(target=consume, daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _called(handler: Callable[[Any], Any], runner: asyncio.Runner) -> Callable[[Any], object]:
    if not inspect.iscoroutinefunction(handler):
        return handler
    return lambda body: runner.run(handler(body))


def celery(url: str, connections: int, handler: Callable[[Any], Any]) -> None:
    """Celery's worker with a pool of threads; it receives in batches, and deletes one by one."""
    from celery import Celery

    app = Celery("benchmark", broker="sqs://")
    app.conf.update(
        task_ignore_result=True,
        task_default_queue="benchmark",
        worker_prefetch_multiplier=100,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_transport_options={
            "predefined_queues": {"benchmark": {"url": url}},
            "endpoint_url": url.rsplit("/", 2)[0],
            "region": "eu-west-1",
            "is_secure": False,
            "wait_time_seconds": 20,
            "polling_interval": 0,
        },
    )
    app.task(name="handle")(handler)
    app.worker_main(
        [
            "worker",
            "--pool=threads",
            f"--concurrency={connections}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]
    )


def celery_body(message_id: str) -> str:
    """A message as Celery sends it."""
    import base64

    arguments = json.dumps(
        [["nothing"], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    )
    return json.dumps(
        {
            "body": base64.b64encode(arguments.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": "handle",
                "id": message_id,
                "root_id": message_id,
                "retries": 0,
            },
            "properties": {
                "correlation_id": message_id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "benchmark"},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": message_id,
            },
        }
    )


CONTENDERS: dict[str, Callable[[str, int, Callable[[Any], Any]], None]] = {
    "worker": worker,
    "traced": traced,
    "loop": loop,
    "celery": celery,
}


def _gauge(answers: TextIO) -> None:
    for _ in sys.stdin:
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(used.ru_utime + used.ru_stime, file=answers, flush=True)
    os._exit(0)


@click.command()
@click.argument("name", type=click.Choice(list(CONTENDERS)))
@click.argument("url")
@click.option("--connections", default=4, show_default=True, help="Connections to SQS.")
@click.option("--handler", default="nothing", show_default=True, type=click.Choice(list(HANDLERS)))
def main(name: str, url: str, connections: int, handler: str) -> None:
    """Consume until stdin ends."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": url.rsplit("/", 2)[0],
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a contender prints is not an answer
    threading.Thread(target=_gauge, args=[answers], daemon=True).start()
    CONTENDERS[name](url, connections, HANDLERS[handler])


if __name__ == "__main__":
    main()
