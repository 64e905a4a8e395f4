"""A step of a switch between the colors of a blue/green workload, as the state machine asks for it."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from sluice import wiring
from sluice.events import parse_switch
from sluice.switch_answer import answer
from sluice.usecases.switch import switch_step

logger, metrics = Logger(), Metrics()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Invoked by SwitchStateMachine, which goes on as the answer says."""
    with wiring.report(logger, metrics, context) as report:
        done = switch_step(parse_switch(event), wiring.ports(), report, wiring.remaining_s(context))
        return answer(done)
