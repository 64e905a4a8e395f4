"""Every minute: publish BacklogPerInstance of every workload, and retry what an alarm missed."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from sluice import wiring
from sluice.events import batch_response, deliveries, parse_scheduled_time
from sluice.usecases.shards import publish_shards
from sluice.usecases.tick import publish_backlog

logger, metrics = Logger(), Metrics()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any] | None:
    """Invoked by the schedule, whose input has the scheduled minute, and by the queue of a tick's shards."""
    with wiring.report(logger, metrics, context) as report:
        ports, remaining_s = wiring.ports(), wiring.remaining_s(context)
        shards = deliveries(event)
        if shards is not None:
            return batch_response(publish_shards(shards, ports, report, remaining_s))
        publish_backlog(parse_scheduled_time(event, now=wiring.now()), ports, report, remaining_s)
    return None
