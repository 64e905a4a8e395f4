"""Reads a CloudFormation or SAM template and resolves it as a stack would.

Supports YAML with short-hand tags, parameters and their constraints, conditions, rules, and the intrinsic
functions that this project's templates use (Ref, Sub, If, Equals, And, Or, Not, Condition, GetAtt,
ImportValue, pseudo parameters). Any other intrinsic function is a TemplateError.
"""

from sluice_sim.template.errors import TemplateError
from sluice_sim.template.intrinsics import Identity
from sluice_sim.template.stack import ResolvedStack, Resource, load, resolve, stack_id

__all__ = ["Identity", "ResolvedStack", "Resource", "TemplateError", "load", "resolve", "stack_id"]
