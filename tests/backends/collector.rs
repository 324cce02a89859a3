//! A real OpenTelemetry Collector, built from its Go modules, takes what the OTLP sink sends.
