"""Every minute while its schedule is enabled: send test messages to one workload's queue."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from sluice import wiring
from sluice.events import parse_test_load
from sluice.usecases.send_test_messages import send_test_messages

logger, metrics = Logger(), Metrics()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Invoked by the schedule, whose input names the workload and the load."""
    with wiring.report(logger, metrics, context) as report:
        send_test_messages(parse_test_load(event), wiring.ports(), report, wiring.remaining_s(context))
