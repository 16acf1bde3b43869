"""What the adapters share: order, batches, unit norm, counts of long texts, the description for results.json."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from phenolip.exceptions import DataError
from phenolip.inference.encoding import TextCounts, check_rows, encode_by_length, encode_pictures, inference_mode


class DualEncoder(ABC):
    """Images and texts to unit-norm float32 rows of one width, by a model of a family that is not ours.

    A subclass says how pictures and texts become features; order, batches, repeated texts, the unit norm (in float32,
    whatever the precision of the weights), the count of texts that are cut, and the check for NaN are done here.

    Args:
        model: The torch module.
        name: What messages and reports call the model: its folder or Hub id.
        weights: File name -> sha256 of the weights.
    """

    family: ClassVar[str]
    has_images = True
    prompt_template = "{}"  # none of these models states one of its own

    def __init__(self, model: nn.Module, *, name: str, weights: dict[str, str]) -> None:
        self.model = model.eval()
        self.name = name
        self.weights = weights
        self.counts = TextCounts()

    @property
    @abstractmethod
    def context_length(self) -> int:
        """Tokens, special ones included, after which a text is cut."""

    @abstractmethod
    def count_tokens(self, texts: list[str]) -> list[int]:
        """Whole length of each text in tokens, special ones included."""

    @abstractmethod
    def image_features(self, pictures: list[Any]) -> torch.Tensor:
        """(N, D) projected features of RGB Pillow images, of any norm."""

    @abstractmethod
    def text_features(self, texts: list[str]) -> torch.Tensor:
        """(N, D) projected features of texts, of any norm."""

    @abstractmethod
    def describe_inputs(self) -> dict[str, Any]:
        """The fields `image_size`, `preprocessing` and `tokenizer` of the description."""

    @property
    def logit_scale(self) -> float:
        """Factor that turns cosines into logits."""
        return float(self.model.logit_scale.detach().float().exp())

    @property
    def logit_bias(self) -> float:
        """What is added to the scaled cosines; 0 where the family has none."""
        bias = getattr(self.model, "logit_bias", None)
        return float(bias.detach().float()) if bias is not None else 0.0

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.model.parameters()).dtype

    def encode_images(self, images: Sequence[Any], batch_size: int = 32) -> NDArray[np.float32]:
        """Unit-norm embeddings of images, in their order.

        Args:
            images: Anything `decode_image` reads: Pillow images, paths, bytes or rows of a `datasets` Image column.
            batch_size: Images decoded and encoded at a time.

        Shapes (N images, D width): returns (N, D).

        Raises:
            DataError: There is no image, one cannot be read, or the model gives no finite numbers.
        """
        with inference_mode(self.model):
            embeds = encode_pictures(images, batch_size, lambda pictures: _unit_rows(self.image_features(pictures)))
        return check_rows(embeds, "images", self.name)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 64) -> NDArray[np.float32]:
        """Unit-norm embeddings of texts, in their order.

        Args:
            texts: Any texts; what exceeds `context_length` tokens is cut and counted.
            batch_size: Texts encoded at a time.

        Shapes (N texts, D width): returns (N, D).

        Raises:
            DataError: No text was given, or the model gives no finite numbers.
        """
        if not len(texts):
            raise DataError("At least one text must be given, got none.")
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        distinct = list(rows)
        lengths = self.count_tokens(distinct)
        self.counts.add(distinct, lengths, self.context_length)
        lengths = np.minimum(lengths, self.context_length)
        with inference_mode(self.model):
            embeds = encode_by_length(
                lengths, batch_size, lambda batch: _unit_rows(self.text_features([distinct[row] for row in batch]))
            )
        return check_rows(embeds[[rows[text] for text in texts]], "texts", self.name)

    def describe(self) -> dict[str, Any]:
        """What decides this model's numbers, as JSON values: family, inputs, precision, size and hash of weights."""
        return {
            "family": self.family,
            "context_length": self.context_length,
            **self.describe_inputs(),
            "logit_scale": self.logit_scale,
            "logit_bias": self.logit_bias,
            "dtype": str(self.dtype).removeprefix("torch."),
            "num_parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "weights_sha256": self.weights,
            "num_texts": self.counts.num_texts,
            "num_texts_truncated": self.counts.num_truncated,
        }


def _unit_rows(features: torch.Tensor) -> NDArray[np.float32]:
    features = features.float()
    return (features / features.norm(dim=-1, keepdim=True).clamp_min(1e-12)).cpu().numpy()
