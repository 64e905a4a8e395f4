"""Entry point: the shards of a tick, each a slice of the registry served by an invocation of its own.

A tick over more workloads than one invocation can serve sends them; Lambda delivers them from the queue. A
shard does for its workloads what the tick would have done, at the tick's minute. One bad shard does not stop
the others of its batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from sluice.core.shard_slices import slices
from sluice.errors import ConfigError, TransientError
from sluice.events import Shard, parse_shard, shard_message, size_in_shard_bytes
from sluice.ports import Counter, Ports, Registered, RemainingS, Report, Shards
from sluice.usecases.isolation import isolated
from sluice.usecases.observe import registered
from sluice.usecases.serve_workloads import is_stale, serve_minute
from sluice.usecases.tick_context import NO_TIME_LEFT

MAX_WORKLOADS_PER_INVOCATION = 1000
"""Each takes about 1.5 ms of a core. With 0.29 of a core, which the function's memory
buys, a thousand take 5 s."""
WORKLOADS_PER_SHARD = 250
BYTES_PER_SHARD = 256_000
"""An SQS message holds 262,144 bytes (a million since August 2025); the rest is left for its envelope."""


def needs_shards(registry: Registered) -> bool:
    """Whether there are more workloads than one invocation can serve."""
    return len(registry.workloads) > MAX_WORKLOADS_PER_INVOCATION


def send_shards(
    scheduled: datetime, documents: Mapping[str, str], ports: Ports, report: Report, remaining_s: RemainingS
) -> None:
    """Send the workloads on in slices, each with the documents that this tick read.

    `documents` are the texts by workload name. Raises TransientError if any shard could not be sent.
    """
    sizes = {name: size_in_shard_bytes(name, text) for name, text in documents.items()}
    parts = slices(sizes, max_names=WORKLOADS_PER_SHARD, max_bytes=BYTES_PER_SHARD)
    shards = [
        Shard(scheduled=scheduled, documents={name: documents[name] for name in part}) for part in parts
    ]
    unsent = _shards(ports).send({shard.name: shard_message(shard) for shard in shards}, remaining_s)
    for name, reason in unsent.items():
        report.failed(name, Counter.SHARD_FAILED, reason)
    report.event(
        Counter.SHARDS_SENT,
        f"tick {scheduled:%H:%M} of {len(documents)} workloads",
        len(shards) - len(unsent),
    )
    if unsent:
        raise TransientError(f"{len(unsent)} of {len(shards)} shards could not be sent")


def publish_shards(
    bodies: Mapping[str, str], ports: Ports, report: Report, remaining_s: RemainingS
) -> list[str]:
    """Serve each shard that the queue delivered, by message id; returns the ids of those that failed.

    Raises TransientError if all of them failed, so that the invocation counts as failed.
    """
    share_s = remaining_s() / max(len(bodies), 1)
    failed = []
    for waiting, (message_id, body) in zip(reversed(range(len(bodies))), bodies.items(), strict=True):
        # A shard with slow reads uses up its own share of the time, not that of the next.
        in_share_s = partial(_less, remaining_s, share_s * waiting)
        try:
            shard = parse_shard(body)
        except ConfigError as bad:
            report.failed(f"message {message_id}", Counter.SHARD_FAILED, str(bad))
            failed.append(message_id)
            continue
        step = partial(_publish_shard, shard, ports, report, in_share_s)
        if not isolated(shard.name, Counter.SHARD_FAILED, report, step):
            failed.append(message_id)
    if failed and len(failed) == len(bodies):
        raise TransientError(f"all {len(failed)} shards of this batch failed; the log line of each says why")
    return failed


def _publish_shard(shard: Shard, ports: Ports, report: Report, remaining_s: RemainingS) -> None:
    """A tick over the shard's workloads, at the tick's minute."""
    if is_stale(shard.scheduled, ports, report):
        return
    if remaining_s() <= 0:
        raise TransientError(NO_TIME_LEFT)
    ports = replace(ports, registry=_shards(ports).registry(shard.documents))
    serve_minute(shard.scheduled, registered(ports, report, remaining_s), ports, report, remaining_s)


def _shards(ports: Ports) -> Shards:
    if ports.shards is None:
        raise ConfigError(
            f"more than {MAX_WORKLOADS_PER_INVOCATION} workloads are served in shards, and this function "
            "knows no queue for them: template.yaml sets SLUICE_SHARD_QUEUE_URL for publish_backlog"
        )
    return ports.shards


def _less(remaining_s: RemainingS, reserved_s: float) -> float:
    return remaining_s() - reserved_s
