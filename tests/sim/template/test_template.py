import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from sluice_sim.template import ResolvedStack, TemplateError, load, resolve, stack_id

ACCOUNT, REGION = "123456789012", "eu-west-1"


def identity(logical_id: str, kind: str, properties: Mapping[str, Any], attribute: str) -> str:
    name = properties.get("Name", logical_id)
    return str(name) if attribute == "Ref" else f"{attribute.lower()}:{kind.rpartition(':')[2]}:{name}"


@pytest.fixture
def resolved(tmp_path: Path) -> Any:
    """Write a template, load it and resolve it."""

    def run(text: str, imports: Mapping[str, str] | None = None, **parameters: object) -> ResolvedStack:
        path = tmp_path / "workload.yaml"
        path.write_text(dedent(text))
        return resolve(
            load(path),
            parameters,
            identity=identity,
            imports=imports or {},
            account_id=ACCOUNT,
            region=REGION,
            stack_name="transcription",
        )

    return run


def one_property(value: str, head: str = "") -> str:
    """A template whose resource A has the property Value: `value`, one line of YAML."""
    return (
        "Parameters:\n  Name: {Type: String, Default: q}\n  Empty: {Type: String, Default: ''}\n"
        "Conditions:\n  IsQ: !Equals [!Ref Name, q]\n  Never: !Equals [a, b]\n"
        f"{head}\nResources:\n  A:\n    Type: T::A\n    Properties:\n      Value: {value}\n"
        "  B:\n    Type: T::B\n    Properties: {Name: !Sub 'b-${Name}'}\n"
        "  Absent:\n    Type: T::C\n    Condition: Never\n"
    )


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("!Ref Name", "q"),
        ("!Ref B", "b-q"),
        ("!GetAtt B.Arn", "arn:B:b-q"),
        ("{'Fn::GetAtt': B.Arn}", "arn:B:b-q"),
        ("{'Fn::GetAtt': [B, Arn]}", "arn:B:b-q"),
        ("!GetAtt B.Nested.Arn", "nested.arn:B:b-q"),
        ("!Ref AWS::Region", REGION),
        ("!Ref AWS::AccountId", ACCOUNT),
        ("!Ref AWS::StackName", "transcription"),
        ("!Ref AWS::StackId", stack_id(ACCOUNT, REGION, "transcription")),
        ("!Ref AWS::URLSuffix", "amazonaws.com"),
        (
            "!Sub 'arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${Name}'",
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:q",
        ),
        ("!Sub '${B}/${B.Arn}'", "b-q/arn:B:b-q"),
        ("!Sub '${!Literal} ${Name}'", "${Literal} q"),
        ("!Sub ['${x}-${Name}-${y}', {x: !Ref B, y: 3}]", "b-q-q-3"),
        ("!Sub ['${Name}', {Name: shadow}]", "shadow"),
        ("!Sub ['${flag}', {flag: true}]", "true"),
        ("!Sub '[${Empty}]'", "[]"),
        ("!If [IsQ, yes it is, other]", "yes it is"),
        ("!If [Never, 1, {k: !Ref Name}]", {"k": "q"}),
        ("!ImportValue plane-Namespace", "Sluice"),
        ("!ImportValue {'Fn::Sub': '${Plane}-Namespace'}", "Sluice"),
        ("!Join [',', !Split [+, 'MON+WED']]", "MON,WED"),
        ("!Join ['', [!Ref Name, 1]]", "q1"),
        ("!Split [',', !Ref Empty]", [""]),
        ("!Select [1, !Split [':', !Select [2, !Split [',', 'a,MON,8:05']]]]", "05"),
        ("[1, 0.5, true, text]", [1, 0.5, True, "text"]),
        ("{Condition: {StringEquals: {a: b}}}", {"Condition": {"StringEquals": {"a": "b"}}}),
        ("2012-10-17", "2012-10-17"),
    ],
)
def test_an_intrinsic_function_resolves_to_its_value(resolved: Any, written: str, value: object) -> None:
    text = one_property(written).replace(
        "Parameters:\n", "Parameters:\n  Plane: {Type: String, Default: plane}\n"
    )
    stack = resolved(text, imports={"plane-Namespace": "Sluice"})
    assert stack.resources["A"].properties["Value"] == value


def test_no_value_removes_the_property_and_the_list_item(resolved: Any) -> None:
    stack = resolved(
        one_property(
            "{list: [1, !Ref AWS::NoValue, !If [IsQ, !Ref AWS::NoValue, 2], 3], gone: !Ref AWS::NoValue}"
        )
    )
    assert stack.resources["A"].properties == {"Value": {"list": [1, 3]}}
    assert resolved(one_property("!Ref AWS::NoValue")).resources["A"].properties == {}


@pytest.mark.parametrize(
    "written",
    [
        "!Sub 'x${AWS::NoValue}'",
        "!Sub ['x${v}', {v: !Ref AWS::NoValue}]",
        "!Sub ['x${v}', {v: !If [IsQ, !Ref AWS::NoValue, a]}]",
    ],
)
def test_no_value_inside_a_sub_is_refused_with_the_way_out(resolved: Any, written: str) -> None:
    with pytest.raises(TemplateError, match=r"Resources\.A\.Properties\.Value.*NoValue.*empty string"):
        resolved(one_property(written))


CONDITIONS = """
    Parameters:
      Mode: {Type: String, Default: active}
      Max: {Type: Number, Default: 5}
    Conditions:
      Active: !Equals [!Ref Mode, active]
      Five: !Equals [!Ref Max, 5]
      Both: !And [!Condition Active, !Condition Five]
      Either: !Or [!Condition Active, !Condition Five]
      Idle: !Not [!Condition Active]
      Flag: !Equals [true, 'true']
    Resources:
      Active: {Type: T, Condition: Active}
      Both: {Type: T, Condition: Both}
      Either: {Type: T, Condition: Either}
      Idle: {Type: T, Condition: Idle}
      Flag: {Type: T, Condition: Flag}
    Outputs:
      Mode: {Value: !Ref Mode, Condition: Idle}
"""


@pytest.mark.parametrize(
    ("mode", "maximum", "there"),
    [
        ("active", 5, {"Active", "Both", "Either", "Flag"}),
        ("active", 6, {"Active", "Either", "Flag"}),
        ("paused", 5, {"Either", "Idle", "Flag"}),
        ("paused", 6, {"Idle", "Flag"}),
    ],
)
def test_only_resources_and_outputs_whose_condition_holds_are_there(
    resolved: Any, mode: str, maximum: int, there: set[str]
) -> None:
    stack = resolved(CONDITIONS, Mode=mode, Max=maximum)
    assert set(stack.resources) == there
    assert stack.outputs == ({} if mode == "active" else {"Mode": "paused"})


def test_outputs_exports_metadata_and_types_are_resolved(resolved: Any) -> None:
    stack = resolved(
        """
        Resources:
          Q: {Type: AWS::SQS::Queue, Properties: {Name: transcription}, Metadata: {BuildMethod: python3.13}}
          Plain: {Type: AWS::SNS::Topic}
        Outputs:
          Url: {Value: !Ref Q, Export: {Name: !Sub '${AWS::StackName}-Url'}}
          Arn: {Value: !GetAtt Q.Arn}
        """
    )
    assert stack.outputs == {"Url": "transcription", "Arn": "arn:Queue:transcription"}
    assert stack.exports == {"transcription-Url": "transcription"}
    assert stack.resources["Q"].type == "AWS::SQS::Queue"
    assert stack.resources["Q"].metadata == {"BuildMethod": "python3.13"}
    assert stack.resources["Plain"].properties == {}


def test_identities_come_from_resolved_properties_whatever_the_order(resolved: Any) -> None:
    stack = resolved(
        """
        Resources:
          First: {Type: T::X, Properties: {Name: !Sub 'a-${Second}'}}
          Second: {Type: T::X, Properties: {Name: !Sub 'b-${Third}'}}
          Third: {Type: T::X, Properties: {Name: c}}
        """
    )
    assert [stack.resources[name].properties["Name"] for name in ("First", "Second", "Third")] == [
        "a-b-c",
        "b-c",
        "c",
    ]


def test_circular_resources_are_refused_with_their_path(resolved: Any) -> None:
    with pytest.raises(TemplateError, match="B -> C -> B: is a circle"):
        resolved(
            """
            Resources:
              A: {Type: T, Properties: {Name: !Ref B}}
              B: {Type: T, Properties: {Name: !Ref C}}
              C: {Type: T, Properties: {Name: !GetAtt B.Arn}}
            """
        )


def test_circular_conditions_are_refused(resolved: Any) -> None:
    with pytest.raises(TemplateError, match=r"Conditions\.X -> Conditions\.Y -> Conditions\.X: is a circle"):
        resolved(
            """
            Conditions:
              X: !Not [!Condition Y]
              Y: !Not [!Condition X]
            Resources:
              A: {Type: T, Condition: X}
            """
        )


PARAMETERS = """
    Parameters:
      Name: {Type: String, AllowedPattern: '[a-z]+', MaxLength: 5, ConstraintDescription: lowercase letters}
      Mode: {Type: String, Default: active, AllowedValues: [active, paused]}
      Max: {Type: Number, Default: 5, MinValue: 0, MaxValue: 10}
      Count: {Type: String, Default: true, AllowedValues: [true, false]}
      Ratio: {Type: Number, Default: 0.10}
      Zones: {Type: CommaDelimitedList, Default: 'a, b'}
      Image: {Type: 'AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>', Default: /aws/ami}
    Resources:
      A: {Type: T, Properties: {Max: !Ref Max, Zones: !Ref Zones}}
"""


def test_parameters_are_text_with_their_defaults_applied(resolved: Any) -> None:
    stack = resolved(PARAMETERS, Name="abc", Max=7, Count=False, Image="ami-1")
    assert stack.parameters == {
        "Name": "abc",
        "Mode": "active",
        "Max": "7",
        "Count": "false",
        "Ratio": "0.1",
        "Zones": ["a", "b"],
        "Image": "ami-1",
    }
    assert stack.resources["A"].properties == {"Max": "7", "Zones": ["a", "b"]}


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"Name": "abc1"}, r"Parameters\.Name = 'abc1': must match \[a-z\]\+ \(lowercase letters\)"),
        ({"Name": "abc\n"}, r"must match"),
        ({"Name": "abcdef"}, r"Parameters\.Name = 'abcdef': must have at most 5"),
        ({"Mode": "off"}, r"Parameters\.Mode = 'off': must be one of active, paused"),
        ({"Max": -1}, r"Parameters\.Max = '-1': must be at least 0"),
        ({"Max": "11"}, r"Parameters\.Max = '11': must be at most 10"),
        ({"Max": "nan"}, r"Parameters\.Max = 'nan': must be a number"),
        ({"Count": "True"}, r"Parameters\.Count = 'True': must be one of true, false"),
        ({"Maximum": 3}, r"Parameters\.Maximum = 3: the template has no such parameter; it has Name, Mode"),
    ],
)
def test_a_parameter_that_is_not_allowed_is_refused_with_value_and_way_out(
    resolved: Any, parameters: dict[str, object], sentence: str
) -> None:
    with pytest.raises(TemplateError, match=sentence):
        resolved(PARAMETERS, **({"Name": "abc", "Image": "ami-1"} | parameters))


def test_the_default_of_a_stored_parameter_is_a_key_and_no_value(resolved: Any) -> None:
    with pytest.raises(TemplateError, match=r"Parameters\.Image is missing and has no default"):
        resolved(PARAMETERS, Name="abc")


def test_a_list_parameter_is_checked_item_by_item(resolved: Any) -> None:
    text = """
        Parameters:
          Sizes: {Type: List<Number>, MaxValue: 5}
        Resources: {A: {Type: T}}
    """
    assert resolved(text, Sizes=["1", 2]).parameters == {"Sizes": ["1", "2"]}
    with pytest.raises(TemplateError, match=r"Parameters\.Sizes = '6': must be at most 5"):
        resolved(text, Sizes="1,6")


def test_a_short_text_is_refused(resolved: Any) -> None:
    with pytest.raises(TemplateError, match="at least 3 characters"):
        resolved("Parameters: {P: {Type: String, MinLength: 3}}\nResources: {}", P="ab")


def test_one_item_of_a_list_parameter_is_selected(resolved: Any) -> None:
    text = """
    Parameters: {Sizes: {Type: CommaDelimitedList}}
    Resources: {A: {Type: T, Properties: {First: !Select [0, !Ref Sizes], Last: !Select [1, !Ref Sizes]}}}
    """
    assert resolved(text, Sizes="s,m").resources["A"].properties == {"First": "s", "Last": "m"}


def test_all_problems_are_reported_at_once(resolved: Any) -> None:
    text = PARAMETERS.replace("!Ref Zones", "!Cidr ['-', 1, 8]")
    with pytest.raises(TemplateError) as caught:
        resolved(text, Mode="off", Max=99, Typo=1, Image="ami-1")
    assert len(caught.value.problems) == 5
    for word in ("Cidr", "Mode", "Max", "Typo", "Parameters.Name is missing"):
        assert (
            sum(word in problem.partition("=")[0].partition(";")[0] for problem in caught.value.problems) == 1
        )


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("!If [IsQ, fine, !Cidr [a, 1, 8]]", r"Resources\.A\.Properties\.Value.*\[2\]: Cidr is not"),
        ("!Join ['-', !Ref Name]", r"Value: Join takes a separator and a list, not"),
        ("!Join ['-']", r"Value: Join takes a list of 2"),
        ("!Join ['-', [[a]]]", r"is no text"),
        ("!Split [',']", r"Value: Split takes a list of 2"),
        ("!Split [',', [a]]", r"is no text"),
        ("!Split ['', a]", r"Value: Split takes a separator"),
        ("!Select [3, !Split [',', 'a,b']]", r"Value: Select takes an index and a list that has it"),
        ("!Select [2, [a, b]]", r"Value: Select takes an index and a list that has it"),
        ("!Select [0, !Ref Name]", r"Value: Select takes an index and a list that has it"),
        ("{'Fn::FindInMap': [a, b, c]}", "FindInMap"),
        ("[x, !Cidr [a, 1, 8]]", r"Value\[1\]: Cidr"),
        ("{'Fn::Sub': '${Name}', Other: 1}", "Sub stands beside other keys"),
        ("!Equals [a, b]", r"Equals belongs in Conditions"),
        ("!Ref Nobody", r"Value: refers to 'Nobody'"),
        ("!Ref AWS::NotificationARNs", "AWS::NotificationARNs"),
        ("!Sub '${Nobody}'", r"Sub\(\$\{Nobody\}\): refers to 'Nobody'"),
        ("!GetAtt Nobody.Arn", r"refers to Nobody\.Arn"),
        ("!Ref Absent", "Absent, which does not exist here because its condition Never is false"),
        ("!GetAtt Absent.Arn", "condition Never is false"),
        ("!Sub '${Absent.Arn}'", "condition Never is false"),
        ("!If [Perhaps, 1, 2]", "names the condition 'Perhaps'.*IsQ, Never"),
        ("!If [IsQ, 1]", "If takes a list of 3"),
        ("!Sub [a]", "Sub takes a list of 2"),
        ("!Sub {a: b}", "Sub takes"),
        ("!Sub ['${v}', {v: [1]}]", r"\[1\] is no text"),
        ("!ImportValue other-Namespace", "no stack exports 'other-Namespace'; the exports are none"),
    ],
)
def test_an_unresolvable_value_is_refused_by_name_and_place(resolved: Any, written: str, named: str) -> None:
    with pytest.raises(TemplateError, match=named):
        resolved(one_property(written))


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        ("!Equals [!Ref A, a]", r"Conditions\.X.*resource A"),
        ("!Equals [!GetAtt A.Arn, a]", r"Conditions\.X.*resource A"),
        ("!Equals [a]", "Equals takes a list of 2"),
        ("!And [!Equals [a, a]]", "And takes a list of 2 to 10"),
        ("!Not [a]", "'a' is no condition"),
        ("!Condition Y", "names the condition 'Y'"),
        ("!Contains [[a], a]", "Contains is not simulated"),
    ],
)
def test_a_condition_outside_the_known_ones_is_refused(resolved: Any, condition: str, named: str) -> None:
    with pytest.raises(TemplateError, match=named):
        resolved(f"Conditions:\n  X: {condition}\nResources:\n  A: {{Type: T, Condition: X}}\n")


def test_what_the_metadata_refers_to_is_made_first(tmp_path: Path) -> None:
    """CloudFormation orders by every reference, and DependsOn takes no condition."""
    made: list[str] = []

    def recording(logical_id: str, *_: object) -> str:
        made.append(logical_id)
        return logical_id

    path = tmp_path / "template.yaml"
    path.write_text("""
        Conditions: {C: !Equals [a, a]}
        Resources:
          A: {Type: T, Properties: {P: !Ref B}}
          B: {Type: T, Metadata: {After: !If [C, !Ref D, ""]}}
          D: {Type: T, Condition: C}
        """)
    place = {"account_id": ACCOUNT, "region": REGION, "stack_name": "s"}
    resolve(load(path), {}, identity=recording, imports={}, **place)
    assert made == ["D", "B"]


def test_an_output_that_is_no_text_is_refused(resolved: Any) -> None:
    with pytest.raises(TemplateError, match=r"Outputs\.O\.Value"):
        resolved("Resources: {}\nOutputs: {O: {Value: !Ref AWS::NoValue}}")


RULES = """
Parameters: {Mode: {Type: String}, Size: {Type: String, Default: ""}}
Rules:
  Sized:
    RuleCondition: !Or [!Equals [!Ref Mode, active], !Equals [!Ref Mode, observe]]
    Assertions:
      - Assert: !Not [!Equals [!Ref Size, ""]]
        AssertDescription: Size is empty; give 1.
      - Assert: !Not [!Equals [!Ref Size, "0"]]
        AssertDescription: Size is 0; give 1.
  Always: {Assertions: [{Assert: !Not [!Equals [!Ref Size, "13"]]}]}
Resources: {A: {Type: T}}
"""


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"Mode": "active"}, "Rules.Sized: Size is empty; give 1."),
        ({"Mode": "observe", "Size": "0"}, "Rules.Sized: Size is 0; give 1."),
        ({"Mode": "off", "Size": "13"}, "Rules.Always: its assertion 1 does not hold"),
    ],
)
def test_a_failed_assertion_of_a_rule_rejects_the_stack_with_its_description(
    resolved: Any, parameters: dict[str, str], expected: str
) -> None:
    with pytest.raises(TemplateError, match=re.escape(expected)):
        resolved(RULES, **parameters)


@pytest.mark.parametrize("parameters", [{"Mode": "off"}, {"Mode": "active", "Size": "1"}])
def test_a_rule_whose_condition_is_false_or_whose_assertions_hold_refuses_nothing(
    resolved: Any, parameters: dict[str, str]
) -> None:
    assert set(resolved(RULES, **parameters).resources) == {"A"}


@pytest.mark.parametrize(
    ("assertion", "named"),
    [
        ("!Contains [[a], a]", r"Rules\.R\.Assertions\[0\]\.Assert.*Contains is not simulated"),
        ("{Condition: C}", "names the condition 'C'; the template's conditions are none"),
        ("!Equals [!Ref A, a]", "refers to 'A'"),
    ],
)
def test_a_rule_knows_parameters_and_the_known_intrinsics_alone(
    resolved: Any, assertion: str, named: str
) -> None:
    """Like CloudFormation, which checks rules before conditions and resources."""
    text = f"""
        Rules: {{R: {{Assertions: [{{Assert: {assertion}}}]}}}}
        Conditions: {{C: !Equals [a, a]}}
        Resources: {{A: {{Type: T}}}}
        """
    with pytest.raises(TemplateError, match=named):
        resolved(text)


@pytest.mark.parametrize("section", ["{A: }", "[A]", "{A: {}}", "{A: {Type: T, Properties: {V: !If 1}}}"])
def test_a_template_of_another_form_is_refused(resolved: Any, section: str) -> None:
    with pytest.raises(TemplateError):
        resolved(f"Resources: {section}")


def test_a_file_that_is_no_template_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"missing\.yaml: cannot be read"):
        load(tmp_path / "missing.yaml")
    path = tmp_path / "bad.yaml"
    path.write_text("a: [")
    with pytest.raises(TemplateError, match=r"bad\.yaml: is not valid YAML"):
        load(path)
    path.write_bytes(b"a: \xbd")
    with pytest.raises(TemplateError, match=r"bad\.yaml: is not UTF-8 text"):
        load(path)
    path.write_text("a: 1")
    with pytest.raises(TemplateError, match=r"bad\.yaml: has no Resources"):
        load(path)


def test_one_stack_has_one_id_and_another_region_another() -> None:
    first = stack_id(ACCOUNT, REGION, "transcription")
    assert first == stack_id(ACCOUNT, REGION, "transcription")
    assert first.startswith(f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/transcription/")
    assert first != stack_id(ACCOUNT, "us-east-1", "transcription")
