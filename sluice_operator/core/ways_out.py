"""What an operator can do about a read that AWS refused or did not answer, by our own error sentences.

`sluice.aws.errors` writes AWS's code into the sentence; a reading that failed carries the sentence alone.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"AWS answered (\w+)")
DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized"}
)
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
INVALID = frozenset(
    {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
)


def with_way_out(failure: str, command: str) -> str:
    """The sentence with what to do about it, where that is known."""
    return "; ".join(filter(None, (failure, way_out(failure, command))))


def way_out(failure: str, command: str) -> str | None:
    """What to do, as the end of the sentence; None if the failure is of no known kind."""
    found = _CODE.search(failure)
    code = found[1] if found else ""
    if code in DENIED:
        return f"docs/policies/{command}.json is the policy that allows all that `sluice {command}` asks for"
    if code in EXPIRED or "expired" in failure.lower():
        return "your credentials have expired: renew them, for example with `aws sso login`"
    if code in INVALID:
        return "AWS does not know these credentials: check AWS_PROFILE or --profile"
    if "Unable to locate credentials" in failure:
        return "set AWS_PROFILE, give --profile, or try it without an account: --embedded"
    if code == "ResourceNotFoundException" and "log group" in failure.lower():
        return "the control plane is of another release than this command: update its stack"
    if "SSO" in failure:
        return "log in first: `aws sso login` with the same profile"
    if "no answer from AWS" in failure:
        return "check the network, the region and --endpoint-url"
    return None
