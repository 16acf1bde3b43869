"""The two sides of `mini_step.py`: what Stage 2 does, and a plain loop."""

from collections.abc import Callable
from typing import Any

import numpy as np
import step_inputs
import torch
import torch.nn.functional as F
from stage2_objective import paper_objective
from worker import serve

from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train.accelerator import keep_freed_memory
from phenolip.train.collator import PairCollator, TextTokenizer
from phenolip.train.tower_layers import choose_attention, freeze_batch_norm
from phenolip.train.towers import LITE_MEAN_STD, build_preset

SIZE, WIDTH = 160, 384


def build(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Callable[[], float]]]:
    """Facts and the one step of a side."""
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    model, processor = build_preset("mini", random_init=True, image_size=SIZE)
    freeze_batch_norm(model)  # on both sides: batches of another size then give the same gradient
    rows = settings["rows"]
    known = np.random.default_rng(0).standard_normal((len(rows), WIDTH)).astype(np.float32)
    columns = {"group_ids": np.arange(len(rows))[:, None], "knowledge_embeds": known}
    tokenize = TextTokenizer(processor.tokenizer, step_inputs.MAX_LENGTH)
    collate = PairCollator(columns, captions=[row["caption"] for row in rows], tokenize=tokenize)
    images = step_inputs.pixels(rows, SIZE)
    batch = collate([{"row": place, "image": image} for place, image in enumerate(images)])
    side = _ours if settings["side"] == "ours" else _plain
    return {"torch": torch.__version__}, {"step": side(model, batch, settings)}


def _ours(model: PhenoLIPModel, batch: dict[str, torch.Tensor], settings: dict[str, Any]) -> Callable[[], float]:
    keep_freed_memory()
    model.vision_model.to(memory_format=torch.channels_last)
    choose_attention(model.text_model, model.device)
    mean, std = LITE_MEAN_STD
    objective = paper_objective(model, settings["chunk_size"], pixel_mean=mean, pixel_std=std, knowledge_dim=WIDTH)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-5, fused=True)
    return lambda: _update(optimizer, objective(batch)["loss"])


def _plain(model: PhenoLIPModel, batch: dict[str, torch.Tensor], settings: dict[str, Any]) -> Callable[[], float]:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in LITE_MEAN_STD)
    pixel_values = (batch["pixels"].contiguous().float() / 255 - mean) / std
    labels = torch.arange(len(pixel_values))
    known = F.normalize(batch["knowledge_embeds"], dim=-1)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def symmetric(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        logits = model.logit_scale.exp() * one @ two.T
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2

    def step() -> float:
        images = model.get_image_features(pixel_values)
        texts = model.get_text_features(batch["caption_input_ids"], batch["caption_attention_mask"])
        return _update(optimizer, symmetric(images, texts) + 0.3 * symmetric(texts, known))

    return step


def _update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> float:
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


if __name__ == "__main__":
    serve(build)
