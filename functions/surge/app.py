"""A surge: raise a fleet at once and hold it, because an operator asks for it or a critical alarm rings."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from sluice import wiring
from sluice.events import parse_surge
from sluice.surge_answer import answer
from sluice.usecases.surge_requests import on_surge_event

logger, metrics = Logger(), Metrics()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any] | None:
    """Invoked by `sluice surge`, which gets the answer, or by a critical alarm itself."""
    with wiring.report(logger, metrics, context) as report:
        done = on_surge_event(parse_surge(event), wiring.ports(), report, wiring.remaining_s(context))
        return None if done is None else answer(done)
