"""Evaluation: metrics on arrays, evaluators that feed them, tasks as data, reports."""
