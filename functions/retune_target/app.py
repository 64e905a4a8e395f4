"""Every hour, and after a change of a workload's stack: recompute the dynamic targets."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from sluice import wiring
from sluice.events import parse_retune
from sluice.usecases.retune import retune_targets

logger, metrics = Logger(), Metrics()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Invoked by the hourly schedule, or by EventBridge with a stack's status change."""
    with wiring.report(logger, metrics, context) as report:
        retune_targets(parse_retune(event), wiring.ports(), report, wiring.remaining_s(context))
