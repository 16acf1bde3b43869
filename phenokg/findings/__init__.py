"""Severity, location and category of findings in reports and captions."""
