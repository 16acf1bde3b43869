"""Metrics: pure numpy on arrays."""
