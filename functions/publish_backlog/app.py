"""Every minute: publish BacklogPerInstance of every workload, and repair what an alarm missed."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from sluice import wiring
from sluice.events import parse_scheduled_time
from sluice.publish import publish_backlog

logger, metrics = Logger(), Metrics()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Invoked by the schedule, whose input carries the minute it stands for."""
    with wiring.report(logger, metrics) as report:
        scheduled = parse_scheduled_time(event, now=wiring.now())
        publish_backlog(scheduled, wiring.world(), report, wiring.remaining_s(context))
