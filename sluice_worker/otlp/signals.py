"""Which signals OpenTelemetry's standard variables turn on; imports nothing of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sluice.errors import ConfigError

PROTOCOL = "http/protobuf"
WAY_OUT = "or switch OpenTelemetry off with OTEL_SDK_DISABLED=true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What is exported."""

    traces: bool
    metrics: bool

    @property
    def any(self) -> bool:
        """Whether anything is."""
        return self.traces or self.metrics


def signals(variables: Mapping[str, str]) -> Signals:
    """The signals that have an endpoint and are not switched off; ConfigError for what cannot be exported."""
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Signals(traces=False, metrics=False)
    problems: list[str] = []
    traces, metrics = (_is_on(signal, variables, problems) for signal in ("TRACES", "METRICS"))
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return Signals(traces=traces, metrics=metrics)


def _is_on(signal: str, variables: Mapping[str, str], problems: list[str]) -> bool:
    name, endpoint = _first_set(
        variables, f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    exporter = variables.get(f"OTEL_{signal}_EXPORTER", "").strip()
    if not endpoint or exporter == "none":
        return False
    problems += _problems(signal, exporter, name, endpoint, variables)
    return True


def _problems(
    signal: str, exporter: str, name: str, endpoint: str, variables: Mapping[str, str]
) -> Iterator[str]:
    if exporter not in ("", "otlp"):
        yield f"OTEL_{signal}_EXPORTER={exporter}: the worker exports by otlp alone: set it to otlp or none"
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        # The value stays out of the sentence: a URL may contain a password.
        yield f"{name} is no URL: write it as http://HOST:4318 or https://HOST, {WAY_OUT}"
    said, protocol = _first_set(
        variables, f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    if protocol not in ("", PROTOCOL):
        yield (
            f"{said}={protocol}: the worker speaks {PROTOCOL} alone: set it to that, and the endpoint to the "
            f"collector's HTTP port (4318), {WAY_OUT}"
        )


def _first_set(variables: Mapping[str, str], *names: str) -> tuple[str, str]:
    """The first variable that is set, with its value; an empty one counts as not set (specified)."""
    for name in names:
        if value := variables.get(name, "").strip():
            return name, value
    return names[-1], ""
