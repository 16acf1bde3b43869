"""What the target matrix looks like before a run begins: soft targets that are nearly constant teach nothing."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

logger = logging.getLogger(__name__)

NUM_BINS = 20


def target_histogram(
    batches: Sequence[list[int]],
    entries: Callable[[list[int]], dict[str, torch.Tensor]],
    target_matrix: Callable[[dict[str, torch.Tensor]], tuple[torch.Tensor, torch.Tensor]],
    *,
    device: torch.device,
) -> dict[str, Any]:
    """Counts targets of some batches in equal bins from 0 to 1, own texts (at exactly 1) among them.

    Args:
        batches: Row numbers of each.
        entries: Row numbers -> batch entries without images.
        target_matrix: Entries -> targets (N, M) and where they are known.
        device: Where the targets are computed.

    Returns:
        `bin_edges`, `counts` of known targets (those below 0 in the first bin), `num_unknown`, `mean_target`,
        `mean_row_mass` (known targets of an image, summed), `share_zero` and `share_one`.
    """
    counts = np.zeros(NUM_BINS, dtype=np.int64)
    edges = np.linspace(0, 1, NUM_BINS + 1)
    num_unknown = num_rows = num_zero = num_one = 0
    total = 0.0
    for rows in batches:
        batch = {name: tensor.to(device) for name, tensor in entries(rows).items()}
        targets, valid = (tensor.cpu() for tensor in target_matrix(batch))
        known = targets[valid].double().numpy()
        counts += np.histogram(known.clip(0, 1), bins=edges)[0]
        num_unknown += int((~valid).sum())
        num_rows += len(targets)
        num_zero += int((known == 0).sum())
        num_one += int((known == 1).sum())
        total += float(known.sum())
    num_known = max(1, int(counts.sum()))
    summary = {
        "num_batches": len(batches),
        "mean_target": total / num_known,
        "mean_row_mass": total / max(1, num_rows),
        "share_zero": num_zero / num_known,
        "share_one": num_one / num_known,
        "num_unknown": num_unknown,
    }
    logger.info("Targets of the first batches: %s.", ", ".join(f"{key} {value:.4g}" for key, value in summary.items()))
    return {**summary, "bin_edges": edges.round(4).tolist(), "counts": counts.tolist()}
