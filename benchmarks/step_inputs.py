"""What both sides of a training step get: the same captions, images and sizes of towers."""

import json
import random
from pathlib import Path
from typing import Any

WIDTH, HEADS, HIDDEN = 768, 12, 3072  # of ViT-B/16 and BERT-base
IMAGE_TOKENS, PATCH = 197, 16
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
MAX_LENGTH, EMBED_DIM = 256, 512
OPTIMIZER = {"lr": 1e-5, "betas": (0.9, 0.98), "weight_decay": 0.2, "fused": True}


def pick(data: Path, num: int, seed: int) -> list[dict[str, str]]:
    """Rows of a folder with metadata.jsonl: {"image": path, "caption"}, drawn by the seed."""
    with open(data / "metadata.jsonl", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    chosen = random.Random(seed).sample(rows, min(num, len(rows)))
    return [{"image": str(data / row["file_name"]), "caption": row["caption"]} for row in chosen]


def pixels(rows: list[dict[str, str]], size: int) -> Any:
    """(n, S, S, 3) uint8 array of the rows' images."""
    import numpy as np
    from PIL import Image

    read = [Image.open(row["image"]).convert("RGB").resize((size, size), Image.Resampling.BICUBIC) for row in rows]
    return np.stack([np.asarray(image) for image in read])


def vit_flops(layers: int) -> int:
    """Floating-point operations of a ViT-B/16 forward, one 224 px image."""
    patches = 2 * (IMAGE_TOKENS - 1) * (3 * PATCH * PATCH) * WIDTH
    return patches + text_flops(IMAGE_TOKENS, layers)


def text_flops(length: int, layers: int) -> int:
    """Of a BERT-base forward, one text of `length` tokens; 4 L^2 W are the two products of attention."""
    return layers * (24 * length * WIDTH * WIDTH + 4 * length * length * WIDTH)


def step_flops(lengths: list[int], layers: int, chunk: int | None) -> float:
    """Forward and backward (three times the forward) of a batch: texts at 256 tokens, or sorted and cut in chunks."""
    texts = [MAX_LENGTH] * len(lengths)
    if chunk is not None:
        ordered = sorted(lengths)
        texts = [
            max(ordered[place // chunk * chunk : place // chunk * chunk + chunk]) for place in range(len(ordered))
        ]
    return 3 * (len(lengths) * vit_flops(layers) + sum(text_flops(length, layers) for length in texts))
