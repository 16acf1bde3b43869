"""Benchmarks as data: one YAML per task."""
