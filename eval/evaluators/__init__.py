"""Evaluators: the device work that feeds the metrics, one per file."""
