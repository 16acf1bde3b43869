"""Boxes and labels brought together: printed letters, reading order, words of place."""
