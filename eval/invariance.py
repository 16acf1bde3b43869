"""Whether a model's scores depend on what must not matter: the size of a batch, and the precision of the weights."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from phenolip.exceptions import DataError
from phenolip.inference.encoding import TextCounts

SAMPLE = 48  # images, and at most as many texts
BATCH = 7  # unlike the sizes that anyone uses, and no divisor of the sample
# Largest change of a cosine that passes (ours): float32 sums differ by rounding alone; bfloat16 keeps 8 bits.
LIMITS = {"batch_size": 1e-4, "float64": 1e-4, "bfloat16": 0.03}


def encoding_invariance(encoder: Any, images: Sequence[Any], texts: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """Scores of a sample, encoded again in another batch size, in float64 and in bfloat16.

    Args:
        encoder: A model in `.model` with ``encode_images(images, batch_size=)`` and ``encode_texts`` likewise; for
            others the check is left out with the reason.
        images: N images, of which at most `SAMPLE` are drawn.
        texts: Captions or names of classes, of which at most `SAMPLE` distinct ones are drawn.
        seed: Seed of the draw.

    Returns:
        ``variants``: of each the largest change of a cosine, the share of images whose best text changes, the largest
        change of a text's place among an image's texts, and whether the change of cosines is within the limit.
    """
    if not isinstance(getattr(encoder, "model", None), torch.nn.Module):
        return {"omitted": "The encoder is no model that can be asked in another batch size or precision."}
    rng = np.random.default_rng(seed)
    chosen = [images[int(row)] for row in np.sort(rng.permutation(len(images))[:SAMPLE])]
    distinct = list(dict.fromkeys(texts))
    wordings = [distinct[row] for row in np.sort(rng.permutation(len(distinct))[:SAMPLE])]
    plain = _scores(encoder, chosen, wordings)
    variants = {"batch_size": _compare(plain, _scores(encoder, chosen, wordings, batch_size=BATCH), "batch_size")}
    for dtype in (torch.float64, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        try:
            variants[name] = _compare(plain, _scores(_in_precision(encoder, dtype), chosen, wordings), name)
        except (RuntimeError, TypeError, NotImplementedError, DataError) as error:  # a layer without this precision
            variants[name] = {"omitted": " ".join(str(error).split())[:200]}
    found = {"num_images": len(chosen), "num_texts": len(wordings), "variants": variants}
    return found | {"passes": all(variant.get("passes", True) for variant in variants.values())}


def _in_precision(encoder: Any, dtype: torch.dtype) -> Any:
    """A copy of the encoder whose weights have another precision; the encoder itself stays as it is."""
    other = copy.copy(encoder)
    other.model = copy.deepcopy(encoder.model).to(dtype)
    return other


def _scores(encoder: Any, images: Sequence[Any], texts: Sequence[str], **options: Any) -> NDArray:
    quiet = copy.copy(encoder)
    quiet.counts = TextCounts()  # the sample's texts were counted before
    embeds = (quiet.encode_images(images, **options), quiet.encode_texts(texts, **options))
    return np.asarray(embeds[0], np.float64) @ np.asarray(embeds[1], np.float64).T


def _compare(plain: NDArray, other: NDArray, name: str) -> dict[str, Any]:
    change = float(np.abs(other - plain).max())
    places = [np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1) for scores in (plain, other)]
    return {
        "largest_change": change,
        "best_changes": float((plain.argmax(axis=1) != other.argmax(axis=1)).mean()),
        "largest_change_of_place": int(np.abs(places[0] - places[1]).max()),
        "limit": LIMITS[name],
        "passes": change <= LIMITS[name],
    }
