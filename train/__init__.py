"""Accelerate scripts for Stage 1 and Stage 2, and the parts they are built from."""
