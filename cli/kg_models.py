"""The models that steps of the construction take beside their records; phenokg/ itself knows of none."""

import inspect
from functools import cache, partial
from typing import Any

from phenolip.phenokg.figures.image_features import ImageTower
from phenolip.phenokg.steps import Run, Step


def with_models(step: Step, config: Any) -> Run:
    """A step's `run`; one that takes a `tower` is handed the one that its config names."""
    if "tower" not in inspect.signature(step.run).parameters:
        return step.run
    return partial(step.run, tower=_tower(config.tower))


@cache
def _tower(name: str) -> ImageTower:
    """One load a process, however many shards it works on."""
    from phenolip.inference.image_tower import load_image_tower  # torch, which other steps do without

    return load_image_tower(name)
