"""Which signals OpenTelemetry's standard variables turn on, and what the worker refuses at its start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sluice.errors import ConfigError
from sluice_worker import wiring
from sluice_worker.otlp.signals import Signals, signals

URL = "http://127.0.0.1:4318"
BOTH, NEITHER = Signals(traces=True, metrics=True), Signals(traces=False, metrics=False)


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, NEITHER),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, NEITHER),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL}, BOTH),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": URL}, Signals(traces=True, metrics=False)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": URL}, Signals(traces=False, metrics=True)),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_EXPORTER": "none"},
            Signals(traces=False, metrics=True),
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_EXPORTER": "otlp"}, BOTH),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_SDK_DISABLED": "TRUE"}, NEITHER),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense", "OTEL_SDK_DISABLED": "true"}, NEITHER),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, BOTH),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, NEITHER),
    ],
)
def test_an_endpoint_turns_a_signal_on(variables: dict[str, str], found: Signals) -> None:
    assert signals(variables) == found


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: the worker speaks http/protobuf alone",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_METRICS_EXPORTER": "prometheus"},
            "OTEL_METRICS_EXPORTER=prometheus: the worker exports by otlp alone: set it to otlp or none",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4318"},
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no URL: write it as http://HOST:4318",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_way_out(
    variables: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        signals(variables)
    assert str(refused.value).startswith(sentence)
    assert "OTEL_SDK_DISABLED=true" in str(refused.value) or "none" in str(refused.value)


def test_the_sentence_about_an_endpoint_does_not_quote_it() -> None:
    with pytest.raises(ConfigError) as refused:
        signals({"OTEL_EXPORTER_OTLP_ENDPOINT": "user:password@collector"})
    assert "password" not in str(refused.value)


def test_an_endpoint_without_the_extra_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", URL)
    wiring.check_telemetry()
    monkeypatch.setattr(wiring, "OTLP_MODULES", ("opentelemetry.no_such_module",))
    with pytest.raises(ConfigError, match=r"pip install 'WHEEL\[worker,otlp\]'"):
        wiring.check_telemetry()


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys; from sluice_worker import wiring, settings, supervisor; "
        "one = settings({'queues': ['https://sqs.eu-west-1.amazonaws.com/123456789012/q']}); "
        "assert wiring.telemetry(one) is None; "
        "print(sorted(name for name in sys.modules if name.startswith('opentelemetry')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "[]"
