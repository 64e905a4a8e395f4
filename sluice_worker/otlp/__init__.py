"""OpenTelemetry: traces of messages and metrics by OTLP. All but `signals` needs the extra `otlp`."""
