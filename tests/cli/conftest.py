"""Call the command as a user does."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sluice_cli.main import main
from sluice_operator.session import AwsSession


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
    """`failing(error, *operations)`: these operations of every client raise the error; all without any."""
    client = AwsSession.client

    def fail(error, *operations):
        def made(session, service, **settings):
            built = client(session, service, **settings)

            def refuse(model, **_):
                if not operations or model.name in operations:
                    raise error(model.name) if callable(error) else error

            built.meta.events.register("before-parameter-build", refuse)
            return built

        monkeypatch.setattr(AwsSession, "client", made)

    return fail
