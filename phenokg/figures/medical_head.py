"""Medical or not, by a linear classifier on the features of a vision tower: trained, kept as JSON, applied."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.whole_files import whole_file

DEFAULT_HEAD = "medical_head.json"
_MAX_BYTES = 1_000_000
_FORMAT = "phenolip medical head 1"
#: L2 strength: the inverse of scikit-learn's C, for standardised features. Strong, since there are as many features
#: as images; from 0.001 to 0.1 the cross-validated loss on training data hardly moves.
_C = 0.01
_MAX_ITERATIONS = 2000


class MedicalHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A classifier of one tower's features; probability = 1 / (1 + exp(-(features @ weights + bias))).

    Attributes:
        format: Names the layout of the file.
        tower: Name of the tower.
        fingerprint: Of the tower's weights and preprocessing; features of another tower are refused.
        weights: (D,), with the standardisation of the training data folded in.
        bias: In logits.
        provenance: What it was trained on, when, and how well it did on what it had not seen.
    """

    tower: str
    fingerprint: str
    weights: tuple[float, ...]
    bias: float
    provenance: dict[str, Any]
    format: str = _FORMAT

    def __post_init__(self) -> None:
        if self.format != _FORMAT:
            raise DataError(f"`format` of a head must be {_FORMAT!r}, got {self.format[:60]!r}.")
        if not self.weights or not np.isfinite((*self.weights, self.bias)).all():
            raise DataError("`weights` and `bias` of a head must be finite numbers, one weight a feature at least.")


def load_head(path: str | Path | None = None) -> MedicalHead:
    """A head from its JSON file; by default the one that comes with the package, for EfficientNet-Lite0.

    Raises:
        DataError: The file cannot be read, or is no head.
    """
    source = files("phenolip.phenokg.figures").joinpath(DEFAULT_HEAD) if path is None else Path(path)
    try:
        with source.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise DataError(f"`head` {source} must have at most {_MAX_BYTES:,} bytes.")
        return msgspec.json.decode(data, type=MedicalHead)
    except OSError as error:
        raise DataError(f"`head` {source} cannot be read: {error.strerror or error}.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"`head` {source} is no head: {str(error).rstrip('.')}.") from None


def save_head(head: MedicalHead, path: str | Path) -> None:
    """Writes a head as JSON that a person can read, but for the weights: six digits each, in one line."""
    row = msgspec.to_builtins(head) | {"weights": []}
    text = msgspec.json.format(msgspec.json.encode(row), indent=2).decode()
    weights = ", ".join(f"{weight:.6g}" for weight in head.weights)
    with whole_file(path, "w") as file:
        file.write(text.replace('"weights": []', f'"weights": [{weights}]', 1) + "\n")


def score_images(features: NDArray[np.floating], head: MedicalHead) -> NDArray[np.float64]:
    """Probability that each image is medical; not a number where a feature is not finite.

    Args:
        features: (N, D), of the head's tower.
        head: See `load_head`.

    Returns:
        (N,), 0 to 1.

    Example:
        >>> head = MedicalHead(tower="t", fingerprint="0" * 8, weights=(2.0, 0.0), bias=-2.0, provenance={})
        >>> score_images(np.array([[1.0, 5.0], [np.nan, 0.0]]), head).tolist()
        [0.5, nan]
    """
    if features.ndim != 2 or features.shape[1] != len(head.weights):
        raise ConfigurationError(
            f"`features` must have {len(head.weights)} columns for this head, got the shape {features.shape}."
        )
    finite = np.isfinite(features).all(axis=1)
    scores = np.full(len(features), np.nan)
    logits = features[finite].astype(np.float64) @ np.array(head.weights) + head.bias
    scores[finite] = 0.5 * (1 + np.tanh(logits / 2))  # the logistic function, without overflow
    return scores


def fit_head(
    features: NDArray[np.floating],
    is_medical: NDArray[np.bool_],
    *,
    tower: str,
    fingerprint: str,
    provenance: Mapping[str, Any] | None = None,
) -> MedicalHead:
    """Logistic regression; both classes weigh the same, however many images each has.

    Args:
        features: (N, D), finite.
        is_medical: (N,).
        tower: Name of the tower.
        fingerprint: Of the tower.
        provenance: What to note in the file.

    Raises:
        DataError: Only one of the classes is there.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    is_medical = np.asarray(is_medical, bool)
    if is_medical.all() or not is_medical.any():
        kinds = "medical" if is_medical.any() else "other"
        raise DataError(f"A head needs medical and other images, got {len(is_medical):,} {kinds} ones.")
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=_C, class_weight="balanced", max_iter=_MAX_ITERATIONS)
    model.fit(scaler.transform(features), is_medical)
    weights = model.coef_[0] / scaler.scale_
    bias = float(model.intercept_[0] - weights @ scaler.mean_)
    return MedicalHead(
        tower=tower,
        fingerprint=fingerprint,
        weights=tuple(weights.tolist()),
        bias=bias,
        provenance=dict(provenance or {}),
    )


def cross_validated_scores(
    features: NDArray[np.floating],
    is_medical: NDArray[np.bool_],
    groups: Sequence[Any],
    *,
    num_folds: int = 5,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Scores of every image by a head that saw no image of its group (N,).

    Args:
        features: (N, D), finite.
        is_medical: (N,).
        groups: Of each image, such as its cluster; a group is all medical or all other.
        num_folds: Heads that are fitted; fewer where a class has fewer groups.
        seed: Draws which groups are held out together.

    Raises:
        DataError: A class has fewer than two groups.
        ConfigurationError: `seed` is out of range.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if not 0 <= seed < 2**32:
        raise ConfigurationError(f"`seed` must be from 0 to {2**32 - 1}, got {seed}.")
    groups = np.unique(np.asarray(groups), return_inverse=True)[1]
    fewest = min(len(np.unique(groups[is_medical == side])) for side in (True, False))
    if fewest < 2:
        raise DataError("Held-out scores need two groups of medical and two of other images at least.")
    folds = StratifiedGroupKFold(min(num_folds, fewest), shuffle=True, random_state=seed)
    scores = np.full(len(features), np.nan)
    for seen, held_out in folds.split(features, is_medical, groups):
        head = fit_head(features[seen], is_medical[seen], tower="", fingerprint="")
        scores[held_out] = score_images(features[held_out], head)
    return scores
