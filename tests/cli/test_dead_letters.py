"""`sluice dead-letters` over the embedded AWS, as a user calls it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import boto3
import jsonschema
import pytest
from botocore.exceptions import ClientError

from sluice.errors import TransientError
from sluice_cli import aws_account, terminal, workloads
from sluice_operator.aws import dead_letter_queues
from sluice_operator.session import AwsSession
from sluice_sim.embedded.busy_account import busy_account
from sluice_sim.embedded.scenarios import COMPILER_STAGING
from tests.privileges.authorization import request, requests

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMA = json.loads((DOCS / "schemas/dead-letters.json").read_text(encoding="utf-8"))
POLICY = json.loads((DOCS / "policies/dead-letters.json").read_text(encoding="utf-8"))
NAME, DEAD = "transcription", "dead-transcription"
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012"
ARN = "arn:aws:sqs:eu-west-1:123456789012"


@pytest.fixture
def account(monkeypatch):
    """Just deployed: SQS has dead-lettered two messages of transcription, which were received three times."""
    monkeypatch.setattr(aws_account.time, "sleep", lambda _: None)
    with busy_account(workloads.CHECKOUT, minutes=0) as deployed:
        yield deployed


@pytest.fixture
def dead_letters(on_embedded, account):
    """`dead_letters(...)`: one call of `sluice dead-letters --embedded` on the account as it stands."""

    operate = on_embedded(account, "dead-letters")

    def call(*arguments):
        answer = operate(*arguments)
        # moto shows a message again once its virtual time has passed; that stands still during a call.
        account.aws.clock.run_until(account.aws.clock.now + 1)
        return answer

    return call


class Terminal(io.StringIO):
    """What a person types."""

    def isatty(self):
        return True


def give_up(reason=None, *, queue=DEAD, messages=1, body="{}", group=None):
    """What our worker sends to the dead-letter queue; without a reason, what another program does."""
    told = {"SluiceWorkerFailure": {"DataType": "String", "StringValue": reason}} if reason else {}
    for _ in range(messages):
        more = {"MessageGroupId": group} if group else {}
        boto3.client("sqs").send_message(
            QueueUrl=f"{URL}/{queue}", MessageBody=body, MessageAttributes=told, **more
        )


def count(queue):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = boto3.client("sqs").get_queue_attributes(QueueUrl=f"{URL}/{queue}", AttributeNames=names)
    return tuple(int(answer["Attributes"][name]) for name in names)


def set_attributes(queue, **attributes):
    boto3.client("sqs").set_queue_attributes(QueueUrl=f"{URL}/{queue}", Attributes=attributes)


def words(text):
    return " ".join(text.split())


class TestWhatIsThere:
    def test_dead_letters_are_counted_by_reason_and_by_message_group(self, dead_letters):
        give_up("KeyError: 'language'", messages=3, group="customer-7")
        give_up(group="customer-3")
        answer = dead_letters(NAME)
        assert answer.exit_code == 1
        for expected in (
            r"^transcription  6 dead letters$",
            r"6 visible, 0 in flight, 0 delayed",
            r"By reason: all 6 visible messages",
            r"^3  KeyError: 'language', newest sent 1s ago",
            r"^2  no reason: SQS moved it, received too often \(maxReceiveCount\)",
            r"^1  no reason: sent to the dead-letter queue without one",
            r"^3  customer-7,",
            r"^2  no message group,",
        ):
            assert re.search(expected, answer.stdout, re.MULTILINE), expected

    def test_reasons_that_differ_by_an_id_or_a_number_are_one(self, dead_letters):
        for reason in ("file 17 of 3b1f-9a is missing", "file 4711 of 77aa-0c is missing", "no disk space"):
            give_up(reason)
        counts = json.loads(dead_letters("--json", NAME).stdout)["sample"]["by_reason"]
        assert sorted(each["messages"] for each in counts) == [1, 2, 2]

    def test_each_sampled_message_says_when_it_was_given_up_and_how_often_it_was_received_before(
        self, dead_letters, account
    ):
        give_up("no disk space")
        account.aws.clock.run_until(account.aws.clock.now + 600)
        shown = dead_letters(NAME).stdout
        assert len(re.findall(r"^  sent 10m00s ago, received 3 times, first 10m00s ago$", shown, re.M)) == 2
        assert len(re.findall(r"^  dead-lettered 10m00s ago$", shown, re.M)) == 1
        assert re.search(r"since +the longest there came 10m", shown)
        assert re.search(r"oldest sample +sent 10m00s ago; SQS deletes it in 13d", shown)

    def test_bodies_are_shown_only_when_they_are_asked_for(self, dead_letters):
        give_up("no disk space", body="the sender's secret")
        for arguments in ([NAME], [NAME, "--json"]):
            assert "secret" not in dead_letters(*arguments).stdout
            assert "secret" in dead_letters("--bodies", *arguments).stdout

    def test_control_characters_of_a_message_do_not_reach_the_terminal(self, dead_letters):
        give_up("it is \x9b31mred\nand two lines", body="\x9b2Jcleared")
        shown = dead_letters("--bodies", NAME).stdout
        assert "\x9b" not in shown
        assert "it is \ufffd31mred and two lines" in shown

    def test_an_empty_queue_is_no_finding(self, dead_letters):
        answer = dead_letters("queue-proc")
        assert answer.exit_code == 0
        assert "queue-proc  no dead letters" in answer.stdout


class TestTheSample:
    def test_it_is_said_how_the_sample_relates_to_all(self, dead_letters):
        give_up("no disk space", messages=30)
        assert (
            "By reason: 12 sampled of about 32 visible messages" in dead_letters("--sample", 12, NAME).stdout
        )

    def test_sampled_messages_are_visible_again_and_none_is_deleted(self, dead_letters):
        give_up("no disk space", messages=30)
        answer = dead_letters(NAME)
        assert count(DEAD) == (32, 0)
        assert "raised the receive count of its messages by one. None was deleted" in answer.stdout

    def test_they_are_visible_again_even_if_a_later_receive_fails(self, dead_letters, monkeypatch):
        give_up("no disk space", messages=30)
        client, received = AwsSession.client, []

        def made(session, service, **settings):
            built = client(session, service, **settings)

            def refuse(model, **_):
                if model.name == "ReceiveMessage":
                    received.append(model.name)
                    if len(received) == 2:
                        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, model.name)

            built.meta.events.register("before-parameter-build", refuse)
            return built

        monkeypatch.setattr(AwsSession, "client", made)
        answer = dead_letters(NAME)
        assert (answer.exit_code, len(received)) == (2, 2)
        assert count(DEAD) == (32, 0)

    def test_a_sample_of_zero_receives_nothing(self, dead_letters, failing):
        failing("AccessDenied", "ReceiveMessage")
        answer = dead_letters("--sample", 0, NAME)
        assert answer.exit_code == 1
        assert "By reason" not in answer.stdout

    def test_a_dead_letter_queue_with_a_redrive_policy_of_its_own_is_not_sampled(self, dead_letters, failing):
        policy = json.dumps({"deadLetterTargetArn": f"{ARN}:dead-queue-proc", "maxReceiveCount": 5})
        set_attributes(DEAD, RedrivePolicy=policy)
        failing("AccessDenied", "ReceiveMessage")
        answer = dead_letters(NAME)
        assert answer.exit_code == 1
        assert "could move messages on to dead-queue-proc." in words(answer.stdout)

    def test_no_more_than_ten_messages_of_a_group_of_a_fifo_queue_are_sampled(self, dead_letters, account):
        account.demo.add_workload(COMPILER_STAGING)
        for number in range(25):
            boto3.client("sqs").send_message(
                QueueUrl=f"{URL}/dead-{COMPILER_STAGING.name}.fifo",
                MessageBody="{}",
                MessageGroupId="one",
                MessageDeduplicationId=str(number),
            )
        shown = words(dead_letters(COMPILER_STAGING.name).stdout)
        assert "10 sampled of about 25 visible messages (a FIFO queue shows at most ten of a" in shown


class TestRedriving:
    def test_messages_return_to_the_workloads_queue_also_those_that_a_worker_gave_up(self, dead_letters):
        give_up("no disk space", messages=3)
        answer = dead_letters("--redrive", "--yes", NAME)
        assert answer.exit_code == 0, answer.stderr
        assert answer.stdout == "transcription: moved 5 messages from dead-transcription to transcription.\n"
        assert count(DEAD) == (0, 0)

    def test_no_more_than_so_many_a_second_are_moved(self, dead_letters):
        give_up("no disk space", messages=3)
        found = json.loads(dead_letters("--redrive", "--yes", "--max-per-second", 2, "--json", NAME).stdout)
        assert found["move_task"]["max_per_second"] == 2
        assert (found["ok"], found["move_task"]["moved"]) == (True, 5)

    def test_another_queue_may_be_named(self, dead_letters):
        answer = dead_letters("--redrive", "--yes", "--to", f"{ARN}:dead-queue-proc", NAME)
        assert "moved 2 messages from dead-transcription to dead-queue-proc." in answer.stdout
        assert count("dead-queue-proc") == (2, 0)

    @pytest.mark.parametrize(("typed", "exit_code", "left"), [("y\n", 0, 0), ("n\n", 1, 2), ("\n", 1, 2)])
    def test_it_asks_on_a_terminal_before_it_starts(self, dead_letters, monkeypatch, typed, exit_code, left):
        monkeypatch.setattr("sys.stdin", Terminal(typed))
        answer = dead_letters("--redrive", NAME)
        assert answer.exit_code == exit_code
        assert "Move about 2 messages from dead-transcription to transcription? [y/N]" in answer.stderr
        assert count(DEAD) == (left, 0)

    def test_ctrl_c_at_the_question_moves_nothing(self, dead_letters, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        def exit_at_once(status_code):
            raise SystemExit(status_code)

        typed = Terminal()
        monkeypatch.setattr(typed, "readline", interrupt)
        monkeypatch.setattr("sys.stdin", typed)
        monkeypatch.setattr(terminal.os, "_exit", exit_at_once)
        answer = dead_letters("--redrive", NAME)
        assert answer.exit_code == 130
        assert "goes on in AWS" not in answer.stderr
        assert count(DEAD) == (2, 0)

    def test_without_a_terminal_it_starts_only_with_yes(self, dead_letters):
        answer = dead_letters("--redrive", NAME)
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert "--redrive asks before it starts, and this is no terminal: add --yes" in answer.stderr
        assert count(DEAD) == (2, 0)

    def test_a_task_that_runs_already_is_followed_and_no_second_one_started(self, dead_letters, failing):
        boto3.client("sqs").start_message_move_task(SourceArn=f"{ARN}:{DEAD}")
        failing("AccessDenied", "StartMessageMoveTask")
        answer = dead_letters("--redrive", NAME)
        assert "A move task of dead-transcription is running already: following it." in answer.stderr
        assert answer.exit_code == 0
        assert "moved 2 messages from dead-transcription to the queues that they came from" in answer.stdout

    def test_a_second_redrive_waits_until_aws_lists_its_task(self, dead_letters, monkeypatch):
        dead_letters("--redrive", "--yes", NAME)
        give_up("no disk space", messages=3)
        listed, answers = dead_letter_queues.newest_task, []

        def late(client, queue):
            answers.append(listed(client, queue))
            return answers[0] if len(answers) < 4 else answers[-1]

        monkeypatch.setattr(dead_letter_queues, "newest_task", late)
        assert "moved 3 messages" in dead_letters("--redrive", "--yes", NAME).stdout

    def test_the_newest_task_is_shown_with_what_became_of_it(self, dead_letters):
        dead_letters("--redrive", "--yes", NAME)
        assert re.search("move task +started .* ago: moved 2 messages from", dead_letters(NAME).stdout)

    def test_while_a_task_runs_nothing_is_sampled(self, dead_letters):
        boto3.client("sqs").start_message_move_task(SourceArn=f"{ARN}:{DEAD}")
        shown = words(dead_letters(NAME).stdout)
        assert "runs: 0 of about 2 moved to the queues that they came from" in shown
        assert "No sample: a move task is running" in shown

    def test_messages_of_a_shared_dead_letter_queue_return_each_to_its_own_queue(self, dead_letters):
        policy = json.dumps({"deadLetterTargetArn": f"{ARN}:{DEAD}", "maxReceiveCount": 1})
        set_attributes("queue-proc", RedrivePolicy=policy)
        assert re.search("shared with +queue-proc", dead_letters(NAME).stdout)
        answer = dead_letters("--redrive", "--yes", NAME)
        assert "moved 2 messages from dead-transcription to the queues that they came from" in answer.stdout

    def test_a_task_that_fails_says_why_and_the_way_out(self, dead_letters):
        policy = json.dumps({"deadLetterTargetArn": f"{ARN}:{DEAD}", "maxReceiveCount": 1})
        set_attributes("queue-proc", RedrivePolicy=policy)
        give_up("no disk space")
        answer = dead_letters("--redrive", "--yes", NAME)
        assert answer.exit_code == 1
        said = words(answer.stdout)
        assert "the move task failed after 2 messages: CouldNotDetermineMessageSource" in said
        assert f"name one with --to {ARN}:{NAME}" in said

    def test_ctrl_c_says_that_the_task_goes_on_and_how_to_cancel_it(self, dead_letters, monkeypatch):
        def pause(_):
            raise KeyboardInterrupt

        def exit_at_once(status_code):
            raise SystemExit(status_code)

        monkeypatch.setattr(aws_account.time, "sleep", pause)
        monkeypatch.setattr(terminal.os, "_exit", exit_at_once)
        answer = dead_letters("--redrive", "--yes", "--max-per-second", 1, NAME)
        assert answer.exit_code == 130
        assert "The move task goes on in AWS; to follow it, give the same command again;" in answer.stderr
        [handle] = re.findall(r"aws sqs cancel-message-move-task --task-handle (\S+)$", answer.stderr, re.M)
        boto3.client("sqs").cancel_message_move_task(TaskHandle=handle)

    def test_a_task_that_cannot_be_read_any_more_goes_on(self, dead_letters, monkeypatch):
        def refuse(_):
            monkeypatch.setattr(
                "sluice_operator.aws.dead_letter_queues.newest_task", lambda *_: throttled("the task")
            )

        monkeypatch.setattr(aws_account.time, "sleep", refuse)
        answer = dead_letters("--redrive", "--yes", NAME)
        assert answer.exit_code == 2
        assert "the move task goes on in AWS; to follow it, give the same command again" in answer.stderr

    def test_an_empty_queue_has_nothing_to_move(self, dead_letters):
        answer = dead_letters("--redrive", "--yes", "queue-proc")
        assert answer.exit_code == 0
        assert answer.stdout == "queue-proc: nothing to move, dead-queue-proc is empty.\n"

    def test_messages_in_flight_cannot_be_moved(self, dead_letters):
        boto3.client("sqs").receive_message(
            QueueUrl=f"{URL}/{DEAD}", MaxNumberOfMessages=10, VisibilityTimeout=60
        )
        answer = dead_letters("--redrive", "--yes", NAME)
        assert answer.exit_code == 1
        assert "nothing was moved: 2 messages of dead-transcription are hidden" in answer.stdout


def throttled(what):
    raise TransientError(f"{what}: AWS answered Throttling: no")


class TestJson:
    def test_it_follows_its_schema(self, dead_letters):
        give_up("no disk space", group="customer-7")
        for arguments in (
            [NAME],
            [NAME, "--bodies"],
            [NAME, "--sample", 0],
            ["queue-proc"],
            [NAME, "--redrive", "--yes"],
            [NAME],
        ):
            jsonschema.validate(json.loads(dead_letters("--json", *arguments).stdout), SCHEMA)

    def test_it_follows_its_schema_when_the_age_and_the_tasks_cannot_be_read(self, dead_letters, failing):
        failing("AccessDenied", "ListMessageMoveTasks", "GetMetricData")
        found = json.loads(dead_letters("--json", NAME).stdout)
        jsonschema.validate(found, SCHEMA)
        assert "unknown" in found["since"]
        assert "unknown" in found["move_task"]


class TestBadInput:
    def test_an_unknown_workload_is_answered_with_the_nearest_names(self, dead_letters):
        answer = dead_letters("transcriptoin")
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert "transcriptoin: no such workload is registered: did you mean transcription?" in answer.stderr

    def test_a_queue_without_a_dead_letter_queue_is_said(self, dead_letters):
        set_attributes(NAME, RedrivePolicy="")
        answer = dead_letters(NAME)
        assert answer.exit_code == 2
        assert "queue transcription has no dead-letter queue: give it a RedrivePolicy" in answer.stderr

    @pytest.mark.parametrize(
        ("elsewhere", "said"),
        [
            (ARN.replace("123456789012", "999999999999"), "is in account 999999999999 and region eu-west-1"),
            (ARN.replace("eu-west-1", "us-east-1"), "is in account 123456789012 and region us-east-1"),
        ],
    )
    def test_a_dead_letter_queue_in_another_account_or_region_is_said(
        self, dead_letters, monkeypatch, elsewhere, said
    ):
        client = AwsSession.client

        def made(session, service, **settings):
            built = client(session, service, **settings)

            def move_away(parsed, **_):
                policy = parsed.get("Attributes", {}).get("RedrivePolicy", "")
                parsed.get("Attributes", {})["RedrivePolicy"] = policy.replace(ARN, elsewhere)

            built.meta.events.register("after-call.sqs.GetQueueAttributes", move_away)
            return built

        monkeypatch.setattr(AwsSession, "client", made)
        answer = dead_letters(NAME)
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert said in words(answer.stderr)
        assert "give the queue a dead-letter queue beside it" in words(answer.stderr)

    def test_a_refused_document_is_said(self, dead_letters):
        boto3.client("ssm").put_parameter(Name="/sluice/workloads/broken", Value="{}", Type="String")
        answer = dead_letters("broken")
        assert answer.exit_code == 2
        assert "the document of workload broken is refused" in answer.stderr

    def test_a_dead_letter_queue_that_is_gone_is_said(self, dead_letters):
        boto3.client("sqs").delete_queue(QueueUrl=f"{URL}/{DEAD}")
        answer = dead_letters(NAME)
        assert answer.exit_code == 2
        assert f"names {ARN}:{DEAD}, which does not exist: create" in words(answer.stderr)

    @pytest.mark.parametrize(
        ("operation", "said"),
        [
            ("GetQueueAttributes", "GetQueueAttributes of https://"),
            ("ReceiveMessage", "ReceiveMessage from https://"),
            ("ListDeadLetterSourceQueues", "ListDeadLetterSourceQueues of https://"),
        ],
    )
    def test_a_missing_permission_names_the_action_the_resource_and_the_policy(
        self, dead_letters, failing, operation, said
    ):
        failing("AccessDenied", operation)
        answer = dead_letters(NAME)
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert said in answer.stderr
        assert "docs/policies/dead-letters.json is the policy" in answer.stderr

    def test_a_missing_permission_to_redrive_names_it(self, dead_letters, failing):
        failing("AccessDenied", "StartMessageMoveTask")
        answer = dead_letters("--redrive", "--yes", NAME)
        assert answer.exit_code == 2
        assert f"StartMessageMoveTask of {ARN}:{DEAD}: AWS answered AccessDenied" in answer.stderr
        assert "docs/policies/dead-letters.json" in answer.stderr

    def test_a_key_that_may_not_be_used_is_said_with_its_permissions(self, dead_letters, failing):
        failing("KMS.AccessDeniedException", "ReceiveMessage")
        answer = dead_letters(NAME)
        assert answer.exit_code == 2
        assert "the caller's role needs kms:Decrypt on the queue's key to receive" in answer.stderr

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--yes"], "belong to --redrive"),
            (["--max-per-second", 5], "belong to --redrive"),
            (["--to", "x"], "belong to --redrive"),
            (["--redrive", "--bodies"], "leave --bodies out"),
            (["--sample", 0, "--bodies"], "leave --bodies out"),
            (["--redrive", "--max-per-second", 501], "501 is not in the range 1<=x<=500"),
            (["--sample", 1001], "1001 is not in the range"),
        ],
    )
    def test_options_that_contradict_each_other_are_refused(self, dead_letters, arguments, said):
        answer = dead_letters(*arguments, NAME)
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert said in answer.stderr


def test_the_busy_account_has_dead_letters_of_every_kind(sluice):
    answer = sluice("dead-letters", "--embedded", NAME)
    assert answer.exit_code == 1
    for expected in (
        "7 dead letters",
        "3  KeyError: 'language'",
        "2  no reason: SQS moved it",
        "3  customer-7",
    ):
        assert expected in answer.stdout


def test_the_policy_allows_every_call_and_nothing_that_no_call_needs(dead_letters, allows_exactly):
    sqs = boto3.client("sqs")
    tags = {
        f"{ARN}:{name}": sqs.list_queue_tags(QueueUrl=f"{URL}/{name}").get("Tags", {})
        for name in (NAME, DEAD)
    }

    def asked(call):
        yield from requests(call, tags)
        if call.operation == "StartMessageMoveTask":  # what SQS does for the caller (documented)
            source, to = call.parameters["SourceArn"], call.parameters["DestinationArn"]
            for action in ("ReceiveMessage", "DeleteMessage"):
                yield request(f"sqs:{action}", source, tags)
            yield request("sqs:SendMessage", to, tags)

    with allows_exactly(POLICY, asked):
        dead_letters(NAME)
        dead_letters("--redrive", "--yes", NAME)
