"""The models that steps of the construction take beside their records; phenokg/ itself knows of none."""

import inspect
from functools import partial
from typing import Any

from phenolip.phenokg.steps import Run, Step


def with_models(step: Step, config: Any) -> Run:
    """A step's `run`; one that takes a `tower` is handed the one that its config names."""
    if "tower" not in inspect.signature(step.run).parameters:
        return step.run
    from phenolip.inference.image_tower import load_image_tower  # torch, which other steps do without

    return partial(step.run, tower=load_image_tower(config.tower))
