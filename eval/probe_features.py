"""Features of images before or after a model's projection, for probes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import SupportsEncoding
from phenolip.exceptions import ConfigurationError, DataError

FEATURES = ("pooled", "projected")


def probe_features(encoder: SupportsEncoding, images: Sequence[Any], kind: str) -> NDArray:
    """(N, D) float32 features of images, each encoded once, in eval mode and in their order.

    Args:
        encoder: A model's encoder; its own preprocessing and batches are used.
        images: Anything that its `encode_images` takes.
        kind: "pooled" is what the vision tower gives, before any projection; "projected" what the projection gives,
            without unit norm where the model has a projection of its own to ask, else the embeddings.

    Raises:
        ConfigurationError: The kind is unknown, or the model does not show its pooled features.
        DataError: A feature is not finite.
    """
    if kind not in FEATURES:
        raise ConfigurationError(f"`features` must be one of {', '.join(FEATURES)}, got {kind!r}.")
    vision_model = getattr(getattr(encoder, "model", None), "vision_model", None)
    module = vision_model if kind == "pooled" else getattr(vision_model, "projection", None)
    if module is None:
        if kind == "pooled":
            name = getattr(encoder, "name", type(encoder).__name__)
            raise ConfigurationError(f"`features` must be 'projected' for {name}: it shows no pooled features.")
        return _finite(encoder.encode_images(images))
    with _captured(module) as batches:
        encoder.encode_images(images)
    return _finite(np.concatenate([batch.detach().float().cpu().numpy() for batch in batches]))


@contextmanager
def _captured(module: Any) -> Iterator[list[Any]]:
    """What a module gives for each batch, in their order, for as long as the context lasts."""
    outputs: list[Any] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        outputs.append(_pooled(output))  # not the feature maps beside it, which would fill the memory

    hook = module.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        hook.remove()


def _pooled(output: Any) -> Any:
    pooled = getattr(output, "pooler_output", output)
    if pooled is None:
        raise ConfigurationError("`features` must be 'projected' for this model: its tower pools nothing.")
    return pooled


def _finite(features: NDArray) -> NDArray:
    if not np.isfinite(features).all():
        raise DataError("Features of the model must be finite; some are not.")
    return np.asarray(features, np.float32)
