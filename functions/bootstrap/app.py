"""The bootstrap alarm: work waits and nothing runs, so wake the fleet."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from sluice import wiring
from sluice.events import parse_alarm
from sluice.wake import on_bootstrap_alarm

logger, metrics = Logger(), Metrics()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Invoked by the alarm itself, or by EventBridge with the same news."""
    alarm = parse_alarm(event)
    on_bootstrap_alarm(alarm, wiring.world(), wiring.report(logger, metrics), wiring.remaining_s(context))
