"""The frozen text encoders of Stage 2."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from tqdm.auto import tqdm
from transformers import AutoModel, AutoTokenizer

from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import PhenoLIPTextModel
from phenolip.train.collator import TextTokenizer
from phenolip.train.towers import is_knowledge_encoder, longest_text


def module_fingerprint(module: nn.Module) -> str:
    """sha256 over the names and bytes of a module's weights, first 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


@torch.no_grad()
def encode_texts(
    text_model: nn.Module,
    tokenize: TextTokenizer,
    texts: list[str],
    *,
    field: str,
    batch_size: int = 64,
    description: str = "texts",
) -> np.ndarray:
    """Runs a text model over texts, longest first so that a batch is hardly padded.

    Args:
        text_model: PhenoLIPTextModel.
        tokenize: Its tokeniser.
        texts: Any strings.
        field: Output to keep, "text_embeds" (after projection, unit norm) or "pooler_output" (before).
        batch_size: Texts encoded together.
        description: Label of the progress bar.

    Returns:
        (len(texts), D) float32 in the order of `texts`.
    """
    device = next(text_model.parameters()).device
    was_training = text_model.training
    text_model.eval()
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    features: list[torch.Tensor] = []
    for start in tqdm(range(0, len(order), batch_size), desc=description, unit="batch", dynamic_ncols=True):
        batch = tokenize([texts[place] for place in order[start : start + batch_size]])
        output = text_model(**{name: tensor.to(device) for name, tensor in batch.items()})
        features.append(output[field].float().cpu())
    text_model.train(was_training)
    in_order = torch.empty_like(torch.cat(features))
    in_order[order] = torch.cat(features)
    return in_order.numpy()


def load_teacher(path: str | Path, max_length: int) -> tuple[PhenoLIPTextModel, TextTokenizer]:
    """The frozen knowledge encoder of a Stage 1 folder, and its tokeniser.

    Raises:
        ConfigurationError: The folder is missing or holds no PhenoLIPTextModel.
    """
    allowed = f"`knowledge_encoder` must be a Stage 1 folder or Hub id, got '{path}'"
    if not is_knowledge_encoder(path):
        raise ConfigurationError(f"{allowed}, which holds no phenolip_text_model; train one with train/stage1.py.")
    try:
        teacher, report = PhenoLIPTextModel.from_pretrained(path, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(path, config=teacher.config)  # without the folder's own code
    except (OSError, ValueError, SafetensorError) as error:
        raise ConfigurationError(f"{allowed}: {str(error).splitlines()[0]}") from None
    if report["missing_keys"]:
        raise ConfigurationError(f"{allowed}, which lacks the weights {sorted(report['missing_keys'])[0]} and others.")
    max_length = min(max_length, longest_text(teacher.config.tower_config))
    return teacher.requires_grad_(False).eval(), TextTokenizer(tokenizer, max_length)


class MeanPooledText(nn.Module):
    """A text model of transformers, its last hidden states averaged over the tokens of a text, unit norm.

    Args:
        tower: Reads input_ids and attention_mask.
    """

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.averaged = tower  # not `tower`: the store of features knows models by the names of their weights

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Shapes: input_ids and attention_mask (n, L); returns text_embeds (n, D)."""
        hidden = self.averaged(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask[:, :, None].to(hidden.dtype)
        pooled = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        return {"text_embeds": nn.functional.normalize(pooled, dim=-1)}


def load_text_model(path: str | Path, max_length: int) -> tuple[nn.Module, TextTokenizer]:
    """Any frozen text model that compares texts: a Stage 1 folder as it is, another one by the mean of its tokens.

    Raises:
        ConfigurationError: The folder or Hub id holds neither.
    """
    if is_knowledge_encoder(path):
        return load_teacher(path, max_length)
    try:
        tower = AutoModel.from_pretrained(path)
        tokenizer = AutoTokenizer.from_pretrained(path, config=tower.config)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigurationError(
            f"`ssm_model` must be a Stage 1 folder, or a folder or Hub id of a text model with its tokenizer, got "
            f"'{path}' ({reason})."
        ) from None
    longest = longest_text(tower.config) if hasattr(tower.config, "max_position_embeddings") else max_length
    return MeanPooledText(tower.requires_grad_(False).eval()), TextTokenizer(tokenizer, min(max_length, longest))
