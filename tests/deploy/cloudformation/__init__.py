"""CloudFormation for the embedded AWS: stacks whose resources are made, changed and removed by API calls.

Stands behind moto's own CloudFormation API, whose engine ignores half of our resource types and loses the
exports, the outputs and many updates of a change set. Refuses whatever it does not know.
"""
