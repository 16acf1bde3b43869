"""One side of `loss.py`: InfoNCE of random embeddings, forward and backward, plain or by tiles; and a product."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from worker import peak_mb, serve

from phenolip.train.losses.paired_contrastive import PairedContrastiveLoss
from phenolip.train.losses.tiled_contrastive import TiledContrastiveLoss

LOSSES = {"plain": PairedContrastiveLoss, "tiled": TiledContrastiveLoss}
WARM_ROWS, PRODUCT_ROWS = 2048, 4096


def build(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Callable[[], float]]]:
    """Memory before the embeddings are drawn, and the steps of a side."""
    facts = {"torch": torch.__version__, "start_mb": peak_mb()}
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    loss = LOSSES[settings["side"]]()
    sides = [F.normalize(torch.randn(settings["rows"], settings["width"]), dim=1).requires_grad_() for _ in range(2)]
    scale = torch.tensor(1 / 0.07, requires_grad=True)
    one, two = (torch.randn(PRODUCT_ROWS, settings["width"]) for _ in range(2))

    def step(num_rows: int | None = None) -> float:
        """Of the first so many rows, or of all."""
        value = loss(*(sides if num_rows is None else (side[:num_rows] for side in sides)), scale)
        value.backward()
        for weight in (*sides, scale):
            weight.grad = None
        return float(value.detach())

    def product() -> float:
        """A large product, by which the arithmetic that a step could reach is known."""
        return float((one @ two.T)[0, 0])

    return facts, {"step": step, "warm": lambda: step(WARM_ROWS), "product": product}


if __name__ == "__main__":
    serve(build)
