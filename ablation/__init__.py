"""The ablation: one table of runs that differ in one thing each."""
