"""The two sides of `gradient_cache.py`: a plain step of few pairs, and one of many that encodes as few at a time."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from worker import peak_mb, serve

from phenolip.train.accelerator import keep_freed_memory
from phenolip.train.collator import PairCollator
from phenolip.train.data import EpochPlan, ImageTextPairs
from phenolip.train.gradient_cache import Batch, CachedObjective, cached_backward
from phenolip.train.objective_stage2 import ImageTextObjective
from phenolip.train.targets.identity import duplicate_groups
from phenolip.train.targets.multi_hot import MultiHotTargets
from phenolip.train.tower_layers import freeze_batch_norm
from phenolip.train.towers import LITE_MEAN_STD, build_preset

SIZE, WIDTH = 160, 384  # px; of MiniLM's features


def build(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Callable[[], float]]]:
    """Memory before the first step, and the one step of a side, which reads its samples as training does."""
    torch.set_num_threads(settings["threads"])
    keep_freed_memory()
    torch.manual_seed(0)
    micro, size = settings["micro_batch_size"], settings["batch_size"]
    rows = _rows(Path(settings["data"]), settings["num_rows"])
    samples = ImageTextPairs(rows, image_size=SIZE, min_crop_area=0.35, color_jitter=0.3, seed=0)
    plan = EpochPlan(len(rows), size, seed=0)
    batches = _Reader(
        plan.loader(samples, _collator(rows), first_batch=0, num_batches=10**6, num_workers=0, micro_batch_size=micro)
    )
    accelerator = Accelerator(cpu=True)
    objective = _objective()
    objective = accelerator.prepare(CachedObjective(objective) if micro else objective).train()
    weights = [weight for weight in objective.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-5, fused=True)

    def step() -> float:
        losses = _backward(objective, batches, plan, micro, accelerator)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(losses["loss"].detach())

    def reading() -> float:
        """Processor time that reading samples has taken since it was last asked for."""
        seconds, batches.seconds = batches.seconds, 0.0
        return seconds

    return {"torch": torch.__version__, "start_mb": peak_mb()}, {"step": step, "reading": reading}


def _backward(
    objective: nn.Module, batches: Iterator[Batch], plan: EpochPlan, micro: int, accelerator: Accelerator
) -> Batch:
    if micro:
        num_parts = plan.micro_batches_per_batch(micro)
        return cached_backward(objective, batches, num_parts, accelerator, synchronise=True, divisor=1)
    losses = objective(next(batches))
    losses["loss"].backward()
    return losses


class _Reader:
    """Batches of a loader, and the processor time that each takes until it is there."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches, self.seconds = iter(batches), 0.0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        began = time.process_time()
        batch = next(self.batches)
        self.seconds += time.process_time() - began
        return batch


def _rows(data: Path, num_rows: int) -> list[dict[str, Any]]:
    """Rows of a folder with metadata.jsonl, over again until there are so many."""
    with open(data / "metadata.jsonl", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    for row in found:
        row["image"] = {"bytes": None, "path": str(data / row["file_name"])}
        row["hpo_ids"] = [hpo_id for hpo_id in row["hpo_ids"] if hpo_id]
    return [found[place % len(found)] for place in range(num_rows)]


def _collator(rows: list[dict[str, Any]]) -> PairCollator:
    """What mini_stage2.yaml gives a batch; features of the frozen text tower are drawn: they are only read."""
    rng = np.random.default_rng(0)
    captions, images = ([row[name] for row in rows] for name in ("caption", "file_name"))
    targets = MultiHotTargets([row["hpo_ids"] for row in rows])
    names = [rng.standard_normal((len(targets.candidate_ids), WIDTH), dtype=np.float32) for _ in range(2)]
    return PairCollator(
        {
            "group_ids": duplicate_groups(captions, images, [""] * len(rows)),
            "caption_pooled": rng.standard_normal((len(rows), WIDTH), dtype=np.float32),
        },
        targets=targets,
        constants={"name_pooled": torch.from_numpy(names[0]), "knowledge_names": torch.from_numpy(names[1])},
    )


def _objective() -> ImageTextObjective:
    model, _ = build_preset("mini", random_init=True, image_size=SIZE, text_projection="residual", vision_dropout=0.2)
    model.vision_model.to(memory_format=torch.channels_last)
    model.text_model.tower.requires_grad_(False)
    freeze_batch_norm(model)
    return ImageTextObjective(
        model,
        pixel_mean=list(LITE_MEAN_STD[0]),
        pixel_std=list(LITE_MEAN_STD[1]),
        knowledge_weight=1.0,
        distillation={"names": 1.0},
        knowledge_dim=WIDTH,
        share_scale=False,
        name_weight=1.0,
        mask_duplicates=True,
        caption_target_weight=0.0,
        chunk_size=32,
    )


if __name__ == "__main__":
    serve(build)
