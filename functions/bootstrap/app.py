"""The bootstrap alarm: messages wait and nothing runs, so start the fleet."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from sluice import wiring
from sluice.events import parse_alarm
from sluice.usecases.alarms import on_bootstrap_alarm

logger, metrics = Logger(), Metrics()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Invoked by the alarm itself, or by EventBridge with the alarm's state change."""
    with wiring.report(logger, metrics, context) as report:
        on_bootstrap_alarm(parse_alarm(event), wiring.ports(), report, wiring.remaining_s(context))
