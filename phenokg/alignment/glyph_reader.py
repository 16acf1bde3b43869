"""What character a glyph is: a network with one hidden layer, trained by `train_glyphs.py`, run by numpy."""

import string
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: What glyphs are told apart into; one class more is none of these.
CHARACTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "()"
WEIGHTS = Path(__file__).with_name("glyphs.npz")


@lru_cache(maxsize=2)
def load_weights(path: str = str(WEIGHTS)) -> dict[str, NDArray[np.float32]]:
    """The network's arrays."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name].astype(np.float32) for name in arrays.files}


def read_glyphs(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log probabilities of every character, and in the last column of none.

    Args:
        patches: Of `find_glyphs`. Shape (N, P).

    Returns:
        Shape (N, len(CHARACTERS) + 1), in nats.
    """
    weights = load_weights()
    hidden = np.maximum(patches @ weights["hidden"] + weights["hidden_bias"], 0)
    logits = hidden @ weights["last"] + weights["last_bias"]
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
