"""Programs for the Python of `examples/cdk/.venv`, which has the CDK; each writes what it found as JSON."""

WORKLOADS = """
import json, sys
from aws_cdk import App, Stack
from sluice_cdk import Workload

folder, sets = sys.argv[1], json.load(sys.stdin)
app = App(outdir=folder)
stack = Stack(app, "Sets")
for name, arguments in sets.items():
    Workload(stack, name, **arguments)
app.synth()
"""
"""A stack with a workload for each set of arguments."""

REFUSALS = """
import json, sys
from sluice_cdk import template
from sluice_cdk.parameters import texts
from sluice_cdk.workload import TEMPLATE

def refusal(arguments):
    try:
        texts(template.load(TEMPLATE), arguments)
    except ValueError as refused:
        return str(refused)
    return ""

json.dump([refusal(arguments) for arguments in json.load(sys.stdin)], sys.stdout)
"""
"""What is said of each set of arguments; empty if they are taken."""

TOKENS = """
import json, sys
from aws_cdk import App, CfnOutput, CfnParameter, Stack
from sluice_cdk import Workload

app = App(outdir=sys.argv[1])
stack = Stack(app, "Tokens")
queue = CfnParameter(stack, "Queue")
most = CfnParameter(stack, "Most", type="Number")
workload = Workload(
    stack,
    "Workload",
    name="tokens",
    queue_name=queue.value_as_string,
    auto_scaling_group_name=f"{queue.value_as_string}-workers",
    max_capacity=most.value_as_number,
    processing_seconds=1e-05,
    fallback=None,
)
CfnOutput(stack, "Policy", value=workload.output("PolicyArn"))
try:
    workload.output("Nothing")
except ValueError as refused:
    print(refused)
app.synth()
"""
"""A workload whose arguments are known at deployment, and its outputs."""

EXAMPLE = """
import json, sys
from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

sys.path.insert(0, "examples/cdk")
from app import ReportExport

app = App(outdir=sys.argv[1], context=json.load(sys.stdin))
Validations.of(app).add_plugins(AwsSolutionsChecks(app))
ReportExport(app, "sluice-report-export")
try:
    app.synth()
except RuntimeError as refused:
    # The report beside the templates says what was found.
    assert "ValidationFailed" in str(refused), refused
"""
"""The example app, judged by the CDK itself and by cdk-nag."""
