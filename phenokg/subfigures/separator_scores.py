"""How sure it is that a place separates subfigures: a network of two hidden layers, weights beside this file.

`python -m phenolip.phenokg.subfigures.fit_separators` makes them.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phenolip.whole_files import whole_file

WEIGHTS = Path(__file__).with_name("separator_weights.json")
_CLIP = 8.0  # standard deviations: no feature of a strange figure counts for more
_DIGITS = 5


class SeparatorScorer:
    """Features of places to log odds.

    Args:
        mean: Of each feature. Shape (F,).
        scale: What one standard deviation of it is divided by. Shape (F,).
        layers: Weights (in, out) and biases (out,) of each layer; between layers negative values become 0.
    """

    def __init__(
        self,
        mean: NDArray[np.float32],
        scale: NDArray[np.float32],
        layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    ) -> None:
        self.mean, self.scale, self.layers = mean, scale, layers

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, F) to (N,)."""
        values = np.minimum(np.maximum((features - self.mean) / self.scale, -_CLIP), _CLIP)
        *hidden, (weights, biases) = self.layers
        for inner, bias in hidden:
            values = np.maximum(values @ inner + bias, 0)
        return (values @ weights + biases)[:, 0]

    def save(self, path: Path = WEIGHTS) -> None:
        """Writes the weights as JSON."""
        rows = {"mean": self.mean, "scale": self.scale}
        for place, (weights, biases) in enumerate(self.layers):
            rows |= {f"weights_{place}": weights, f"biases_{place}": biases}
        with whole_file(path, "w") as file:
            json.dump({name: _rounded(values) for name, values in rows.items()}, file)
            file.write("\n")


@cache
def load_scorer(path: Path = WEIGHTS) -> SeparatorScorer:
    """The scorer that `save` wrote; one for the process."""
    rows = {name: np.array(values, np.float32) for name, values in json.loads(path.read_text("utf-8")).items()}
    num_layers = sum(name.startswith("weights_") for name in rows)
    layers = [(rows[f"weights_{place}"], rows[f"biases_{place}"]) for place in range(num_layers)]
    return SeparatorScorer(rows["mean"], rows["scale"], layers)


def _rounded(values: NDArray[np.float32]) -> list:
    """Nested lists of numbers with a few significant digits."""
    if values.ndim > 1:
        return [_rounded(row) for row in values]
    return [float(f"{value:.{_DIGITS}g}") for value in values.tolist()]
