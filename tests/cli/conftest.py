"""Call the command as a user does."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluice_cli.main import main
from sluice_operator.session import AwsSession
from sluice_sim.aws_rules.iam_policies import parse
from sluice_sim.embedded import busy_account
from tests.privileges.authorization import Call, Request, requests
from tests.privileges.inventory import EverythingTagged
from tests.privileges.proof import Use, refused, surplus


@dataclass(frozen=True)
class Answer:
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def sluice(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """`sluice(...)`: exit status, stdout and stderr of one call whose output goes through a pipe.

    COLUMNS is removed: pytest-xdist sets it, but a pipe has no width.
    """
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(*arguments: object) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return Answer(exit_code=int(ended.value.code or 0), stdout=output.out, stderr=output.err)

    return call


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`failing(error, *operations)`: these operations of every client fail; without any, all `but` those.

    The error is AWS's code, with AWS's `message`; or an exception; or what makes one of an operation's name.
    """
    client = AwsSession.client

    def fail(error, *operations, but=(), message="no"):
        def made(session, service, **settings):
            built = client(session, service, **settings)

            def refuse(model, **_):
                if model.name in but or (operations and model.name not in operations):
                    return
                if isinstance(error, str):
                    raise ClientError({"Error": {"Code": error, "Message": message}}, model.name)
                raise error(model.name) if callable(error) else error

            built.meta.events.register("before-parameter-build", refuse)
            return built

        monkeypatch.setattr(AwsSession, "client", made)

    return fail


@pytest.fixture
def on_embedded(sluice: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`on_embedded(account, command)(...)`: calls with --embedded, on that account as it stands."""

    def on(account: Any, command: str) -> Callable[..., Answer]:
        @contextmanager
        def as_it_stands(*_: Any, **__: Any) -> Iterator[Any]:
            yield account

        monkeypatch.setattr(busy_account, "busy_account", as_it_stands)
        return partial(sluice, command, "--embedded")

    return on


@pytest.fixture
def allows_exactly(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[None]]:
    """`with allows_exactly(policy): ...`: it allows every call made meanwhile, and no call goes without it.

    `asked` says what a call asks AWS for, where that depends on more than its own parameters. Whoever reads
    the registry reads its colors too, where a workload has two.
    """
    client = AwsSession.client

    @contextmanager
    def checked(
        policy: dict[str, Any], asked: Callable[[Call], Iterable[Request]] = _asked
    ) -> Iterator[None]:
        uses: list[Use] = []

        def recording(session: AwsSession, service: str, **settings: Any) -> Any:
            made = client(session, service, **settings)

            def record(params: dict[str, Any], model: Any, **_: Any) -> None:
                signing_name = model.service_model.signing_name
                call = Call(signing_name=signing_name, operation=model.name, parameters=dict(params))
                uses.extend(Use(role="the policy", request=each) for each in asked(call))
                if model.name == "GetParametersByPath":
                    colors = {
                        "Names": [
                            f"{params['Path']}/any/{which}-color" for which in ("active", "first", "draining")
                        ]
                    }
                    call = Call(signing_name="ssm", operation="GetParameters", parameters=colors)
                    uses.extend(Use(role="the policy", request=each) for each in _asked(call))

            made.meta.events.register("before-parameter-build", record)
            return made

        with monkeypatch.context() as patch:
            patch.setattr(AwsSession, "client", recording)
            yield
        roles = {"the policy": parse(policy)}
        assert uses
        assert refused(roles, uses) == []
        assert surplus(roles, uses) == []

    return checked


def _asked(call: Call) -> Iterable[Request]:
    return requests(call, EverythingTagged())
