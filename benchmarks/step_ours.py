"""Our side of `training_step.py`: the objective of Stage 2 with the teacher's embeddings from their store."""

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import step_inputs
import torch
from stage2_objective import base_model, paper_objective
from torch import nn
from worker import serve

from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.train.accelerator import keep_freed_memory
from phenolip.train.collator import PairCollator, TextTokenizer
from phenolip.train.text_feature_store import TextFeatureStore


def build(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Callable[[], float]]]:
    """Facts and the one step."""
    torch.set_num_threads(settings["threads"])
    keep_freed_memory()
    torch.manual_seed(0)
    model, processor = base_model(settings["layers"], torch.device("cpu"))
    objective = paper_objective(model, settings["chunk_size"])
    batch = _batch(settings["rows"], processor)
    optimizer = torch.optim.AdamW(objective.parameters(), **step_inputs.OPTIMIZER)
    lengths = batch["caption_attention_mask"].sum(dim=1).tolist()
    facts = {"torch": torch.__version__, "parameters": sum(p.numel() for p in model.parameters()), "lengths": lengths}
    return facts, {"step": lambda: _step(objective, optimizer, batch)}


def _batch(rows: list[dict[str, str]], processor: PhenoLIPProcessor) -> dict[str, torch.Tensor]:
    """As the loader gives it: uint8 pixels, tokens, and rows of the store of the teacher's embeddings."""
    captions = [row["caption"] for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        known = TextFeatureStore(folder, _unit_rows).features(captions)
    columns = {"group_ids": np.arange(len(rows))[:, None], "knowledge_embeds": known}
    tokenize = TextTokenizer(processor.tokenizer, step_inputs.MAX_LENGTH)
    collate = PairCollator(columns, captions=captions, tokenize=tokenize)
    images = step_inputs.pixels(rows, 224)
    return collate([{"row": place, "image": image} for place, image in enumerate(images)])


def _unit_rows(texts: list[str]) -> np.ndarray:
    """What a teacher would have said: only its width matters for time."""
    rows = np.random.default_rng(0).standard_normal((len(texts), step_inputs.EMBED_DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _step(objective: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]) -> float:
    loss = objective(batch)["loss"]
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


if __name__ == "__main__":
    serve(build)
