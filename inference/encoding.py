"""What every encoder does alike: device, eval mode, progress, sorted batches of texts, rows that are checked."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from tqdm.auto import tqdm

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import decode_image


@dataclass(slots=True)
class TextCounts:
    """How many different texts an encoder has read, and how many of them were too long for it.

    Each text counts once, however often and in whatever batches it comes. Texts are remembered as 64-bit hashes.
    """

    _all: set[int] = field(default_factory=set)
    _cut: set[int] = field(default_factory=set)

    def add(self, texts: Sequence[str], lengths: Sequence[int], limit: int) -> None:
        """Counts texts with their whole lengths in tokens, special ones included; ``limit`` is the context length."""
        self._all.update(map(hash, texts))
        self._cut.update(hash(text) for text, length in zip(texts, lengths, strict=True) if length > limit)

    @property
    def num_texts(self) -> int:
        """Different texts so far."""
        return len(self._all)

    @property
    def num_truncated(self) -> int:
        """Those of them that were cut at the context length."""
        return len(self._cut)


def encode_by_length(
    lengths: Sequence[int], batch_size: int, encode: Callable[[list[int]], NDArray]
) -> NDArray[np.float32]:
    """Encodes texts in batches of like length and gives the embeddings in the order of the texts.

    Args:
        lengths: N lengths in tokens.
        batch_size: Texts at a time.
        encode: Row numbers of texts to their embeddings.

    Shapes (N texts, D width): returns (N, D).
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")  # longest first: too little memory shows at once
    embeds = None
    for start in show_progress(range(0, len(order), batch_size), "texts", len(order) > batch_size):
        batch = order[start : start + batch_size]
        values = encode(batch.tolist())
        if embeds is None:
            embeds = np.empty((len(order), values.shape[1]), np.float32)
        embeds[batch] = values
    return embeds


def encode_pictures(
    images: Sequence[Any], batch_size: int, encode: Callable[[list[Image.Image]], NDArray]
) -> NDArray[np.float32]:
    """Decodes and encodes images batch by batch, in their order.

    Args:
        images: Anything `decode_image` reads.
        batch_size: Images at a time.
        encode: RGB pictures to their embeddings.

    Shapes (N images, D width): returns (N, D).

    Raises:
        DataError: There is no image, or one cannot be read.
    """
    if not len(images):
        raise DataError("At least one image must be given, got none.")
    batches = []
    for start in show_progress(range(0, len(images), batch_size), "images", len(images) > batch_size):
        stop = min(start + batch_size, len(images))
        batches.append(encode([decode_image(images[row]) for row in range(start, stop)]))
    return np.concatenate(batches)


def check_rows(embeds: NDArray, what: str, model: str) -> NDArray:
    """The embeddings themselves, once each is a vector of finite numbers that has a direction.

    Args:
        embeds: (N, D) embeddings.
        what: "images" or "texts", for the message.
        model: Name of the model, for the message.

    Raises:
        DataError: A row holds NaN or infinity, or is zero.
    """
    bad = ~np.isfinite(embeds).all(axis=1) | ~embeds.any(axis=1)
    if bad.any():
        raise DataError(
            f"`model` {model} gives NaN, infinite or zero embeddings for {int(bad.sum())} of {len(bad)} {what}, the "
            f"first in row {int(bad.argmax())}: its weights are damaged, or its precision is too low."
        )
    return embeds


@contextmanager
def inference_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; the mode before is put back, so that training can go on."""
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in was_training.items():
            module.training = mode


def show_progress(batches: range, what: str, is_long: bool) -> tqdm:
    """A bar over batches, on a terminal and for more than one of them."""
    # None hides the bar where the output is no terminal
    return tqdm(batches, desc=f"Encoding {what}", unit="batch", leave=False, disable=None if is_long else True)


def usable_device(name: str | torch.device | None) -> torch.device:
    """The device of that name; by default the first GPU, else the CPU.

    Raises:
        ConfigurationError: This machine has no such device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigurationError(f"`device` must be one that this machine has, got '{name}': {reason}.") from None
    return device
