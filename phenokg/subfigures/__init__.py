"""Boxes of subfigures: separators, layouts, a trained detector, and composites to measure them on."""
