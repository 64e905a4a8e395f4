"""An ECS task's scale-in protection, by the agent's endpoint. ECS announces a task's end by SIGTERM alone."""

from __future__ import annotations

import json
import math

import urllib3
from urllib3.exceptions import HTTPError

from sluice.errors import ConfigError, TransientError

AGENT_VARIABLE = "ECS_AGENT_URI"
PATH = "/task-protection/v1/state"
MAX_MINUTES = 2880
"""The maximum term of a task's protection (documented)."""
MINUTE_S = 60
OK = 200


class TaskProtection:
    """Implements `ports.Protection`; a term is twice the visibility timeout and a minute."""

    def __init__(self, agent_uri: str, *, visibility_s: int) -> None:
        self._url = agent_uri.rstrip("/") + PATH
        minutes = math.ceil((2 * visibility_s + MINUTE_S) / MINUTE_S)
        self._minutes = min(minutes, MAX_MINUTES)
        self.expires_after_s = float(self._minutes * MINUTE_S)
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(5), retries=False)

    def protect(self) -> None:
        """Blocks scale-in and deployments until the term ends; Spot interruptions still apply."""
        self._put({"ProtectionEnabled": True, "ExpiresInMinutes": self._minutes})

    def release(self) -> None:
        """Scale-in and deployments may choose the task again."""
        self._put({"ProtectionEnabled": False})

    def _put(self, state: dict[str, object]) -> None:
        try:
            answer = self._http.request(
                "PUT", self._url, body=json.dumps(state), headers={"Content-Type": "application/json"}
            )
        except HTTPError as unreachable:
            raise TransientError(f"task protection: {unreachable}") from unreachable
        text = answer.data.decode(errors="replace")
        if answer.status != OK or '"failure"' in text or '"error"' in text:
            kind = TransientError if answer.status == 429 or answer.status >= 500 else ConfigError
            raise kind(f"task protection: HTTP {answer.status}: {text[:300]}")
