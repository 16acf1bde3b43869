"""A caption matches its own image; rows that are the same thing are not taken for negatives of each other."""

from collections.abc import Sequence

import numpy as np

from phenolip.near_copies import fold_caption


def duplicate_groups(captions: Sequence[str], image_hashes: Sequence[str], group_ids: Sequence[str]) -> np.ndarray:
    """Group numbers of each row: equal for rows of one caption (case and spaces folded), image, and case or article.

    Args:
        captions, image_hashes: Of each row.
        group_ids: Case, study, patient or article of each row; rows with an empty one are of no common group.

    Returns:
        (N, 3) int64, columns caption, image and group.
    """
    cases = [group_id or f"\0{row}" for row, group_id in enumerate(group_ids)]
    keys = (list(map(fold_caption, captions)), image_hashes, cases)
    columns = [np.unique(np.asarray(values, dtype=str), return_inverse=True)[1] for values in keys]
    return np.stack(columns, axis=1).astype(np.int64)
