"""Which rows are the same caption or the same image, so that they are not taken for negatives of each other."""

from collections.abc import Sequence

import numpy as np

from phenolip.datasets_scripts.split import fold_caption


def duplicate_groups(captions: Sequence[str], image_hashes: Sequence[str]) -> np.ndarray:
    """Group numbers of each row: equal for rows of one caption (case and spaces folded), and for rows of one image.

    Returns:
        (N, 2) int64, columns caption and image.
    """
    columns = [
        np.unique(np.asarray(values, dtype=str), return_inverse=True)[1]
        for values in (list(map(fold_caption, captions)), image_hashes)
    ]
    return np.stack(columns, axis=1).astype(np.int64)
