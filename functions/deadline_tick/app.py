"""Below a minute: decide and set the sizes of the workloads that the deadline engine scales."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from sluice import wiring
from sluice.events import required_deliveries
from sluice.usecases.deadline_ticks import serve_deadline_ticks
from sluice.wiring import TICK_LIMITS

logger, metrics = Logger(), Metrics()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Invoked by the queue of the ticks below a minute."""
    with wiring.report(logger, metrics, context) as report:
        ticks, ports = required_deliveries(event), wiring.ports(limits=TICK_LIMITS)
        serve_deadline_ticks(ticks.values(), ports, report, wiring.remaining_s(context, limits=TICK_LIMITS))
