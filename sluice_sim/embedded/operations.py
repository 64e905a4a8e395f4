"""Operations of AWS that moto lacks or answers wrongly, answered by functions of their parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from unittest import mock

from moto.core.responses import ActionResult, BaseResponse

Item = TypeVar("Item")
Parameters = Mapping[str, Any]
"""The parameters of a request by AWS's names, without those that are absent."""
Answer = Callable[[Parameters], object]
"""Returns the response in AWS's names; a ServiceException of moto becomes an error response."""
Method = Callable[[BaseResponse], ActionResult]
"""How moto answers an operation."""


@contextmanager
def answered(
    responses: type[BaseResponse], *, region: str | None = None, **answers: Answer
) -> Iterator[None]:
    """Within the context, these operations, named in snake case, are answered here and not by moto.

    With a `region` only those of that region; in others moto answers.
    """
    with ExitStack() as patches:
        for operation, answer in answers.items():
            method = _method(answer)
            if region is not None:
                method = _in_region(region, method, elsewhere=getattr(responses, operation))
            patches.enter_context(mock.patch.object(responses, operation, method, create=True))
        yield


def page(
    items: Sequence[Item], limit: int, token: str | None, key: str = "NextToken"
) -> tuple[list[Item], dict[str, str]]:
    """The items of the page that `token` names, and the next page's token under `key` if there is one."""
    first = int(token) if token else 0
    end = first + limit
    return list(items[first:end]), {key: str(end)} if end < len(items) else {}


def _in_region(region: str, method: Method, *, elsewhere: Method) -> Method:
    return lambda response: (method if response.region == region else elsewhere)(response)


def _method(answer: Answer) -> Method:
    def respond(response: BaseResponse) -> ActionResult:
        parsed = response.automated_parameter_parsing
        given = response._get_params() if parsed else json.loads(response.body or "{}")  # noqa: SLF001
        return ActionResult(answer({key: value for key, value in given.items() if value is not None}))

    return respond
