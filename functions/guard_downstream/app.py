"""Every minute: hold scale-out of the workloads whose downstream fails, and release it."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from sluice import wiring
from sluice.events import parse_scheduled_time
from sluice.usecases.guard_downstream import guard_downstream

logger, metrics = Logger(), Metrics()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Invoked by the schedule, whose input has the scheduled minute."""
    with wiring.report(logger, metrics, context) as report:
        scheduled = parse_scheduled_time(event, now=wiring.now())
        guard_downstream(scheduled, wiring.ports(), report, wiring.remaining_s(context))
