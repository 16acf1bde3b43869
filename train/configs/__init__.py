"""Run configurations: one YAML per reported run."""
