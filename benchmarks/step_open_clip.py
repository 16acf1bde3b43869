"""open_clip's side of `training_step.py`: its model, tokenizer and loss, texts at its fixed 256 tokens."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import step_inputs
import torch
from open_clip.loss import ClipLoss
from open_clip.model import CustomTextCLIP
from open_clip.tokenizer import HFTokenizer
from torch import nn
from transformers import AutoModel, BertConfig
from worker import serve


def build(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Callable[[], float]]]:
    """Facts, and two steps: without a teacher, and with a frozen one of the same text tower run on the batch."""
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    config = BertConfig(num_hidden_layers=settings["layers"])
    model = _model(config).train()
    teacher = AutoModel.from_config(config).requires_grad_(False).eval()
    texts = HFTokenizer(settings["tokenizer"], context_length=step_inputs.MAX_LENGTH)(
        [row["caption"] for row in settings["rows"]]
    )
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (step_inputs.MEAN, step_inputs.STD))
    images = torch.from_numpy(step_inputs.pixels(settings["rows"], 224)).permute(0, 3, 1, 2).contiguous()
    images = (images.float() / 255 - mean) / std
    optimizer = torch.optim.AdamW(model.parameters(), **step_inputs.OPTIMIZER)
    facts = {
        "open_clip": open_clip.__version__,
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "text_shape": list(texts.shape),
    }

    def step() -> float:
        return _step(model, ClipLoss(), optimizer, images, texts)

    def step_with_teacher() -> float:
        knowledge = _teach(teacher, texts)
        return step() + 0.0 * float(knowledge.sum())

    return facts, {"step": step, "step_with_teacher": step_with_teacher}


def _model(config: BertConfig) -> nn.Module:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
        text = {
            "hf_model_name": folder,
            "hf_model_pretrained": False,
            "hf_proj_type": "mlp",
            "hf_pooler_type": "mean_pooler",
            "context_length": step_inputs.MAX_LENGTH,
        }
        vision = {"image_size": 224, "layers": config.num_hidden_layers, "width": 768, "patch_size": 16}
        return CustomTextCLIP(embed_dim=step_inputs.EMBED_DIM, vision_cfg=vision, text_cfg=text)


@torch.no_grad()
def _teach(teacher: nn.Module, texts: torch.Tensor) -> torch.Tensor:
    """Embeddings (n, 768) by the frozen encoder, in the loop as a plain implementation has it."""
    return teacher(input_ids=texts, attention_mask=(texts != 0).long()).last_hidden_state.mean(dim=1)


def _step(
    model: nn.Module, loss_of: ClipLoss, optimizer: torch.optim.Optimizer, images: torch.Tensor, texts: torch.Tensor
) -> float:
    image_features, text_features, scale = model(images, texts)[:3]
    loss = loss_of(image_features, text_features, scale)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if not np.isfinite(value := float(loss.detach())):
        raise RuntimeError(f"The loss must be finite, got {value}.")
    return value


if __name__ == "__main__":
    serve(build)
