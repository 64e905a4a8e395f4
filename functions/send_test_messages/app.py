"""Every minute while its schedule is enabled: send test messages to one workload's queue."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from sluice import wiring
from sluice.events import parse_test_load
from sluice.send import send_test_messages

logger, metrics = Logger(), Metrics()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> None:  # noqa: ARG001 - the decorators read it
    """Invoked by the schedule, whose input names the workload and the load."""
    send_test_messages(parse_test_load(event), wiring.world(), wiring.report(logger, metrics))
