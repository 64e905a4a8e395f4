"""Functions, their layer, and what starts them: schedules, queues, event rules, permissions."""

from __future__ import annotations

import json

from tests.deploy.cloudformation.calls import (
    Aws,
    tag_map,
)
from tests.deploy.cloudformation.kinds import (
    CreatedResource,
    Kind,
    Properties,
    without,
)


class LayerVersion:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        return CreatedResource(ref=aws("lambda", "PublishLayerVersion", **properties)["LayerVersionArn"])

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        *_, layer, version = made.ref.split(":")
        aws("lambda", "DeleteLayerVersion", LayerName=layer, VersionNumber=version)


class Function:
    ELSEWHERE = ("Code", "Architectures", "ReservedConcurrentExecutions", "Tags")

    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        settings = without(properties, *self.ELSEWHERE)
        if old is None:
            made = aws(
                "lambda",
                "CreateFunction",
                FunctionName=name,
                Code=properties["Code"],
                Architectures=properties["Architectures"],
                Tags=tag_map(properties["Tags"]),
                **settings,
            )
        else:
            aws(
                "lambda",
                "UpdateFunctionCode",
                FunctionName=name,
                Architectures=properties["Architectures"],
                **properties["Code"],
            )
            made = aws("lambda", "UpdateFunctionConfiguration", FunctionName=name, **settings)
        if "ReservedConcurrentExecutions" in properties:
            reserved = properties["ReservedConcurrentExecutions"]
            aws("lambda", "PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=reserved)
        elif old is not None:
            aws("lambda", "DeleteFunctionConcurrency", FunctionName=name)
        return CreatedResource(ref=name, attributes={"Arn": made["FunctionArn"]})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("lambda", "DeleteFunction", FunctionName=made.ref)


class EventInvokeConfig:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        aws("lambda", "PutFunctionEventInvokeConfig", **properties)
        return CreatedResource(ref=f"{properties['FunctionName']}|{properties['Qualifier']}")

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        function, qualifier = made.ref.split("|")
        aws("lambda", "DeleteFunctionEventInvokeConfig", FunctionName=function, Qualifier=qualifier)


class EventSourceMapping:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        if old is None:
            return CreatedResource(ref=aws("lambda", "CreateEventSourceMapping", **properties)["UUID"])
        aws("lambda", "UpdateEventSourceMapping", UUID=old.ref, **without(properties, "EventSourceArn"))
        return old

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("lambda", "DeleteEventSourceMapping", UUID=made.ref)


class Permission:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        if old is not None:
            self.delete(aws, old)
        aws("lambda", "AddPermission", StatementId=name, **properties)
        return CreatedResource(ref=f"{properties['FunctionName']}|{name}")

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        function, statement = made.ref.split("|")
        aws("lambda", "RemovePermission", FunctionName=function, StatementId=statement)


class Schedule:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        operation = "CreateSchedule" if old is None else "UpdateSchedule"
        arn = aws("scheduler", operation, Name=name, **properties)["ScheduleArn"]
        return CreatedResource(ref=name, attributes={"Arn": arn})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("scheduler", "DeleteSchedule", Name=made.ref)


class ScheduleGroup:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        if old is not None:
            return old
        arn = aws("scheduler", "CreateScheduleGroup", **properties)["ScheduleGroupArn"]
        return CreatedResource(ref=properties["Name"], attributes={"Arn": arn})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("scheduler", "DeleteScheduleGroup", Name=made.ref)


class EventRule:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        arn = aws("events", "PutRule", Name=name, **without(properties, "Targets"))["RuleArn"]
        aws("events", "PutTargets", Rule=name, Targets=properties["Targets"])
        return CreatedResource(ref=name, attributes={"Arn": arn})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        targets = aws("events", "ListTargetsByRule", Rule=made.ref)["Targets"]
        aws("events", "RemoveTargets", Rule=made.ref, Ids=[target["Id"] for target in targets])
        aws("events", "DeleteRule", Name=made.ref)


class StateMachine:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        settings = {
            "roleArn": properties["RoleArn"],
            "definition": _substituted(properties),
        }
        if old is not None:
            aws("stepfunctions", "UpdateStateMachine", stateMachineArn=old.ref, **settings)
            return old
        made = aws("stepfunctions", "CreateStateMachine", name=properties["StateMachineName"], **settings)
        return CreatedResource(ref=made["stateMachineArn"], attributes={"Arn": made["stateMachineArn"]})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("stepfunctions", "DeleteStateMachine", stateMachineArn=made.ref)


def _substituted(properties: Properties) -> str:
    text = properties["DefinitionString"]
    text = text if isinstance(text, str) else json.dumps(text)
    for name, value in properties["DefinitionSubstitutions"].items():
        text = text.replace(f"${{{name}}}", str(value))
    return text


FUNCTION_KINDS: dict[str, Kind] = {
    "AWS::Events::Rule": EventRule(),
    "AWS::Lambda::EventInvokeConfig": EventInvokeConfig(),
    "AWS::Lambda::EventSourceMapping": EventSourceMapping(),
    "AWS::Lambda::Function": Function(),
    "AWS::Lambda::LayerVersion": LayerVersion(),
    "AWS::Lambda::Permission": Permission(),
    "AWS::StepFunctions::StateMachine": StateMachine(),
    "AWS::Scheduler::Schedule": Schedule(),
    "AWS::Scheduler::ScheduleGroup": ScheduleGroup(),
}
