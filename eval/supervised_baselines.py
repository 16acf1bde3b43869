"""ResNet-50, ConvNeXt-T and EfficientNet-Lite0 trained in full on a labelled set: what probes are compared with.

Weights are random, from the configurations of `transformers` and our own; the published baselines (MedFILIP, arXiv
2501.10775) begin with ImageNet weights, which a folder given as `weights` may hold. Optimiser and schedule are ours.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from transformers import AutoModelForImageClassification, ConvNextConfig, ResNetConfig
from transformers.modeling_outputs import ImageClassifierOutput

from phenolip.configuration_efficientnet_lite import EfficientNetLiteConfig
from phenolip.datasets_scripts.labelled_images import UNCERTAIN, LabelledImages
from phenolip.exceptions import ConfigurationError, near_matches
from phenolip.images import decode_image
from phenolip.modeling_efficientnet_lite import EfficientNetLiteModel

LITE = "efficientnet_lite0"
#: Their defaults are ResNet-50, ConvNeXt-T and EfficientNet-Lite0.
BASELINES = {"resnet50": ResNetConfig, "convnext": ConvNextConfig, LITE: EfficientNetLiteConfig}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet


@dataclass(frozen=True, kw_only=True)
class SupervisedSettings:
    """How a baseline is trained.

    Attributes:
        image_size: Side in pixels that images are squeezed to.
        num_epochs: Passes over the training images.
        batch_size: Images of a step.
        learning_rate: Peak of a one-cycle schedule of AdamW.
        weight_decay: Of AdamW.
        max_steps: Steps after which training ends earlier; None for no such limit.
        seed: Seed of weights and order.
    """

    image_size: int = 64
    num_epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    max_steps: int | None = None
    seed: int = 0


def build_baseline(name: str, num_classes: int, *, weights: str | Path | None = None, **sizes: Any) -> nn.Module:
    """An untrained classifier of RGB images, or one with the weights of a folder or Hub id and a new head.

    Args:
        name: One of `BASELINES`.
        num_classes: Width of its head.
        weights: Folder or Hub id of pretrained weights.
        sizes: Fields of the configuration that differ, as for a small one in a test.

    Raises:
        ConfigurationError: The name is unknown, or weights are given for EfficientNet-Lite0, which takes none here.
    """
    if name not in BASELINES:
        raise ConfigurationError(f"Unknown baseline '{name}'.{near_matches(name, BASELINES)}")
    if name == LITE:
        if weights is not None:
            raise ConfigurationError(f"`weights` must be None for {LITE}, got {weights}.")
        return _LiteClassifier(EfficientNetLiteConfig(batch_norm_momentum=0.1, **sizes), num_classes)
    if weights is not None:
        return AutoModelForImageClassification.from_pretrained(
            weights, num_labels=num_classes, ignore_mismatched_sizes=True
        )
    return AutoModelForImageClassification.from_config(BASELINES[name](num_labels=num_classes, **sizes))


class _LiteClassifier(nn.Module):
    def __init__(self, config: EfficientNetLiteConfig, num_classes: int) -> None:
        super().__init__()
        self.tower = EfficientNetLiteModel(config)
        self.classifier = nn.Linear(config.hidden_size, num_classes)

    def forward(self, pixel_values: torch.Tensor) -> ImageClassifierOutput:
        return ImageClassifierOutput(logits=self.classifier(self.tower(pixel_values).pooler_output))


@dataclass(frozen=True)
class BaselineFit:
    """A baseline at its best epoch.

    Attributes:
        probabilities: (T, C) of the test images.
        epoch: The epoch whose weights were kept, from 1.
        validation_accuracies: After each epoch.
    """

    probabilities: NDArray
    epoch: int
    validation_accuracies: tuple[float, ...]


def fit_baseline(
    model: nn.Module,
    train: LabelledImages,
    validation: LabelledImages,
    test: LabelledImages,
    settings: SupervisedSettings,
    on_epoch: Callable[[int, float], None] = lambda epoch, accuracy: None,
) -> BaselineFit:
    """Trains and keeps the weights of the epoch with the highest validation accuracy, the first of several.

    Args:
        model: As `build_baseline` returns it.
        train: Images to train on.
        validation: Images to choose the epoch on.
        test: Images to give probabilities for.
        settings: How it is trained.
        on_epoch: Called with the epoch and its validation accuracy.
    """
    accuracies: list[float] = []
    best: dict[str, torch.Tensor] = {}

    def choose() -> None:
        accuracy = _accuracy(predict_baseline(model, validation, settings), validation)
        if not accuracies or accuracy > max(accuracies):
            best.update(copy.deepcopy(model.state_dict()))
        accuracies.append(accuracy)
        on_epoch(len(accuracies), accuracy)
        model.train()

    train_baseline(model, train, settings, after_epoch=choose)
    model.load_state_dict(best)
    kept = int(np.argmax(accuracies)) + 1
    return BaselineFit(predict_baseline(model, test, settings), kept, tuple(accuracies))


def _accuracy(probabilities: NDArray, images: LabelledImages) -> float:
    if images.exclusive:
        return float((probabilities.argmax(axis=1) == images.codes).mean())
    return float(((probabilities >= 0.5) == (images.labels == 1)).all(axis=1).mean())


def train_baseline(
    model: nn.Module,
    images: LabelledImages,
    settings: SupervisedSettings,
    after_epoch: Callable[[], None] = lambda: None,
) -> list[float]:
    """Trains all weights: cross entropy where classes exclude each other, else one binary loss a known label.

    Returns:
        The loss of each step, in nats.
    """
    torch.manual_seed(settings.seed)
    order = torch.Generator().manual_seed(settings.seed)
    steps_per_epoch = -(-len(images) // settings.batch_size)
    num_steps = min(settings.num_epochs * steps_per_epoch, settings.max_steps or settings.num_epochs * steps_per_epoch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=num_steps + 1)
    device = next(model.parameters()).device
    losses: list[float] = []
    model.train()
    while len(losses) < num_steps:
        for rows in torch.randperm(len(images), generator=order).split(settings.batch_size):
            if len(losses) == num_steps:
                break
            if len(rows) == 1 and len(images) > 1:
                continue  # batch norm has no variance of one image
            pixels = _pixels(images, rows.tolist(), settings.image_size).to(device)
            labels = torch.as_tensor(images.labels[rows.numpy()]).to(device)
            loss = _loss(model(pixels).logits, labels, images.exclusive)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        after_epoch()
    return losses


@torch.inference_mode()
def predict_baseline(model: nn.Module, images: LabelledImages, settings: SupervisedSettings) -> NDArray:
    """(N, C) probabilities of the classes, in eval mode."""
    model.eval()
    device = next(model.parameters()).device
    parts = []
    for rows in torch.arange(len(images)).split(settings.batch_size):
        logits = model(_pixels(images, rows.tolist(), settings.image_size).to(device)).logits.float()
        parts.append((logits.softmax(dim=1) if images.exclusive else logits.sigmoid()).cpu().numpy())
    return np.concatenate(parts)


def _loss(logits: torch.Tensor, labels: torch.Tensor, exclusive: bool) -> torch.Tensor:
    if exclusive:
        return nn.functional.cross_entropy(logits.float(), labels.argmax(dim=1))
    known = (labels != UNCERTAIN).float()
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits.float(), labels.clamp(min=0).float(), reduction="none"
    )
    return (losses * known).sum() / known.sum().clamp(min=1)


def _pixels(images: LabelledImages, rows: list[int], side: int) -> torch.Tensor:
    """(n, 3, side, side) float32, normalised as for ImageNet."""
    pictures = [decode_image(images.images[row]).resize((side, side), Image.Resampling.BICUBIC) for row in rows]
    values = np.stack([np.asarray(picture, np.float32) for picture in pictures]) / 255
    return torch.from_numpy((values - np.float32(_MEAN)) / np.float32(_STD)).permute(0, 3, 1, 2).contiguous()
