"""Dual encoders of transformers: what their families have in common."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedModel

from phenolip.exceptions import ConfigurationError
from phenolip.inference.adapters.base import DualEncoder
from phenolip.inference.adapters.files import file_hashes, first_line, weight_files
from phenolip.inference.adapters.image_settings import describe_image_processor
from phenolip.inference.encoding import usable_device
from phenolip.inference.model_check import check_model

UNLIMITED = 100_000  # tokenizers without a limit report a number far above this


class TransformersEncoder(DualEncoder):
    """A model class of transformers with `get_image_features` and `get_text_features`, its processor and tokenizer.

    Code that a checkpoint carries is never run, pickled weights are never read, and weights that the checkpoint lacks
    are an error: transformers would fill them with random numbers.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        image_processor: Its image processor.
        name: Folder or Hub id.
        weights: File name -> sha256.
    """

    model_class: ClassVar[type[PreTrainedModel]]
    model_types: ClassVar[tuple[str, ...]]  # `model_type` of the config.json that this class reads
    text_fields: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    pads_to_context: ClassVar[bool] = False  # whether the model was trained on texts padded to the context length

    def __init__(
        self, model: PreTrainedModel, tokenizer: Any, image_processor: Any, *, name: str, weights: dict[str, str]
    ) -> None:
        super().__init__(model, name=name, weights=weights)
        self.tokenizer = tokenizer
        self.image_processor = image_processor

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: str | torch.device | None = None, *, dtype: torch.dtype = torch.float32
    ) -> "TransformersEncoder":
        """Reads a folder or Hub repository.

        Raises:
            ConfigurationError: A file is missing or damaged, or the weights do not fit.
        """
        device = usable_device(device)
        check_model(path)
        files = weight_files(path)
        try:
            model, loading = cls.model_class.from_pretrained(
                path, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
            _check_complete(path, cls.family, loading["missing_keys"])
            # With the config at hand, transformers does not ask whether to run the code that the folder carries.
            tokenizer = AutoTokenizer.from_pretrained(path, config=model.config, trust_remote_code=False)
            # Pillow resizes on every machine alike; torchvision would differ in the last digit.
            images = AutoImageProcessor.from_pretrained(path, backend="pil", trust_remote_code=False)
        except ConfigurationError:
            raise
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
            raise ConfigurationError(f"`model` {path} cannot be loaded: {first_line(error)}.") from error
        if tokenizer.pad_token_id is None or tokenizer.model_max_length < 1:
            raise ConfigurationError(
                f"`model` {path} must have a tokenizer with a padding token and a limit of at least 1, got "
                f"{tokenizer.pad_token!r} and {tokenizer.model_max_length}."
            )
        return cls(model.to(device), tokenizer, images, name=str(path), weights=file_hashes(files))

    @property
    def context_length(self) -> int:
        """Tokens after which a text is cut: the tokenizer's limit, and never more than the tower can read."""
        positions = self._num_positions()
        limit = self.tokenizer.model_max_length
        return min(limit, positions) if limit < UNLIMITED else positions

    def count_tokens(self, texts: list[str]) -> list[int]:
        """Whole length of each text in tokens, special ones included."""
        return [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]]

    def image_features(self, pictures: list[Any]) -> torch.Tensor:
        """(N, D) projected features of RGB Pillow images."""
        inputs = self.image_processor(images=pictures, return_tensors="pt")
        fields = {
            name: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }
        return self.model.get_image_features(**fields).pooler_output

    def text_features(self, texts: list[str]) -> torch.Tensor:
        """(N, D) projected features of texts, cut at the context length."""
        padding = "max_length" if self.pads_to_context else True
        inputs = self.tokenizer(
            texts, padding=padding, truncation=True, max_length=self.context_length, return_tensors="pt"
        )
        highest, known = int(inputs["input_ids"].max()), self.model.config.text_config.vocab_size
        if highest >= known:  # on a GPU this would end the process
            raise ConfigurationError(
                f"`model` {self.name} must know the tokens of its tokenizer, got token {highest}, and knows {known}."
            )
        fields = {name: inputs[name].to(self.device) for name in self.text_fields}
        return self.model.get_text_features(**fields).pooler_output

    def describe_inputs(self) -> dict[str, Any]:
        """Image size, preprocessing and tokenizer."""
        return {
            "model_type": self.model.config.model_type,
            **describe_image_processor(self.image_processor),
            "tokenizer": {
                "class": type(self.tokenizer).__name__,
                "vocab_size": len(self.tokenizer),
                "padding": "context length" if self.pads_to_context else "longest of the batch",
            },
        }

    def _num_positions(self) -> int:
        return self.model.config.text_config.max_position_embeddings


def _check_complete(path: str | Path, family: str, missing: Any) -> None:
    missing = sorted(missing)
    if not missing:
        return
    for tower, prefix in (("text", "text_model."), ("image", "vision_model.")):
        if any(key.startswith(prefix) for key in missing):
            raise ConfigurationError(
                f"`model` {path} must hold the weights of both towers of a {family} model; those of the {tower} tower "
                f"are incomplete: {len(missing)} are missing, such as {missing[0]}."
            )
    raise ConfigurationError(
        f"`model` {path} must hold all weights of a {family} model; {len(missing)} are missing, such as {missing[0]}."
    )
