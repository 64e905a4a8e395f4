"""Read a CloudFormation or SAM template and resolve it the way one stack would.

Owns: YAML with the short-hand tags, parameters and their constraints, conditions, and the intrinsics this
project's templates may use (Ref, Sub, If, Equals, And, Or, Not, Condition, GetAtt, ImportValue, pseudo
parameters). Refuses every other intrinsic. `Rules` refuse here too.
"""

from sluice_sim.template.errors import TemplateError
from sluice_sim.template.intrinsics import Identity
from sluice_sim.template.stack import ResolvedStack, Resource, load, resolve, stack_id

__all__ = ["Identity", "ResolvedStack", "Resource", "TemplateError", "load", "resolve", "stack_id"]
