"""`python -m phenolip.phenokg.subfigures.fit_separators`: fit the network that weighs separators, on composites.

Every composite is cut as its boxes say. In each region on the way, the places between boxes are right and all others
wrong; places beside a right one, and the ends of a right gutter, are left out. A share of the figures is rescaled
first, as journals do, which blurs seams.
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phenolip.images import decode_image
from phenolip.phenokg.subfigures.layout_cuts import (
    Cut,
    Figure,
    FigureMaps,
    Part,
    Region,
    lines_beside,
    make_cut,
    whole_figure,
)
from phenolip.phenokg.subfigures.separator_features import Places
from phenolip.phenokg.subfigures.separator_scores import WEIGHTS, SeparatorScorer

logger = logging.getLogger(__name__)

_HIDDEN = (48, 24)
_EPOCHS = 16
_BATCH = 1024
_LEARNING_RATE = 6e-3
_WEIGHT_DECAY = 1e-4
_RESCALED_SHARE = 0.3
_SCALES = (0.6, 1.4)
_NEAR_PX = 4  # places this near a right one are neither right nor wrong
_THIN_PX = 2  # a gap this narrow may show as a seam
_MARGIN_PX = 8  # a wider band at the seam of images that abut is a margin
_KEPT_LINES = 0.7  # of the lines elsewhere: when a figure is cut, not all are found

Interval = tuple[int, int]
Boxes = NDArray[np.int64]


def intervals_between(boxes: Boxes, axis: int) -> list[Interval]:
    """Where lines pass between boxes without crossing one: end of what lies before, start of what lies behind.

    Example:
        >>> intervals_between(np.array([[0, 0, 10, 9], [14, 0, 20, 9]]), axis=0)
        [(10, 14)]
    """
    ordered = boxes[np.argsort(boxes[:, axis], kind="stable")]
    reach = np.maximum.accumulate(ordered[:, axis + 2])
    return [
        (int(min(end, start)), int(max(end, start)))
        for end, start in zip(reach[:-1], ordered[1:, axis], strict=True)
        if start >= end - 1  # rounding after a change of scale
    ]


def judge(places: Places, intervals: Sequence[Interval]) -> NDArray[np.int64]:
    """1 for places that separate boxes, 0 for those that do not, -1 for those between; (N,).

    A gap is a gutter, and where one is seen its ends are wrong. Images that abut meet at a seam, and a band of one
    colour at its side is the margin of one of them.
    """
    right = np.zeros(len(places.starts), np.int64)
    is_seam = places.colours < 0
    for start, end in intervals:
        right[is_seam & (right == 0) & (places.starts >= start - _NEAR_PX) & (places.starts <= end + _NEAR_PX)] = -1
    for start, end in intervals:
        touches = ~is_seam & (places.starts <= end + 1) & (places.ends >= start - 1)
        if end - start > _THIN_PX:
            right[touches] = 1
            if touches.any():
                right[
                    is_seam & (right == -1) & (places.starts >= start - _NEAR_PX) & (places.starts <= end + _NEAR_PX)
                ] = 0
            continue
        is_margin = (places.ends - places.starts > _MARGIN_PX) & (
            (np.abs(places.starts - start) <= _THIN_PX) | (np.abs(places.ends - end) <= _THIN_PX)
        )
        right[touches] = np.where(is_margin, -1, 1)[touches]
        right[is_seam & (places.starts >= start) & (places.starts <= end)] = 1
    return right


class Oracle:
    """Cuts a figure as its boxes say, and notes what is right and wrong on the way.

    Args:
        grey: The figure, (height, width).
        boxes: (N, 4).
        rng: Decides which cut comes first.
    """

    def __init__(self, grey: NDArray[np.uint8], boxes: Boxes, rng: np.random.Generator) -> None:
        self._boxes, self._rng = boxes, rng
        self._figure = Figure(FigureMaps(grey))

    def examples(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Features (N, F) and what is right (N,), of every axis of every region."""
        regions: list[tuple[Part, list[list[Interval]]]] = []

        def choose(part: Part) -> Cut | None:
            region, places = self._figure.look_at(part)
            inside = self._boxes[self._is_inside(part)]
            intervals = [intervals_between(inside, axis) if len(inside) > 1 else [] for axis in (0, 1)]
            regions.append((part, intervals))
            return self._choose(region, places, intervals)

        self._figure.cut_all([whole_figure(*self._figure.maps.size)], choose)
        for part, intervals in regions:
            region, both = self._figure.look_at(part)
            for axis, places in enumerate(both):
                if places is None:
                    continue
                right = judge(places, intervals[axis])
                lines = lines_beside(region, axis, self._figure.cuts)
                share = _KEPT_LINES if self._rng.random() < _KEPT_LINES else 0.0  # none where a figure is cut first
                lines = [line for line in lines if self._rng.random() < share]
                yield places.with_lines(lines)[right >= 0], right[right >= 0]

    def _is_inside(self, part: Part) -> NDArray[np.bool_]:
        left, top, right, bottom = (side.edge for side in part.sides)
        x, y = (self._boxes[:, 0] + self._boxes[:, 2]) / 2, (self._boxes[:, 1] + self._boxes[:, 3]) / 2
        return (left <= x) & (x <= right) & (top <= y) & (y <= bottom)

    def _choose(
        self, region: Region, both: tuple[Places | None, Places | None], intervals: list[list[Interval]]
    ) -> Cut | None:
        options = [(axis, start, end) for axis in (0, 1) for start, end in intervals[axis]]
        if not options:
            return None
        axis, start, end = options[self._rng.integers(len(options))]
        places = both[axis]
        if places is not None:
            touching = (places.colours >= 0) & (places.starts <= end + 1) & (places.ends >= start - 1)
            if touching.any():
                return make_cut(places, int(np.flatnonzero(touching)[0]), axis, region)
        middle = (start + end) // 2
        return Cut(axis, middle, middle, middle, -1, region)


def read_examples(folders: Sequence[Path], seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All examples of folders that `python -m phenolip.phenokg.composites` wrote."""
    features, right = [], []
    for number, folder in enumerate(folders):
        for row_number, line in enumerate((folder / "boxes.jsonl").open(encoding="utf-8")):
            row, rng = json.loads(line), np.random.default_rng([seed, number, row_number])
            image, boxes = decode_image(folder / row["file_name"]).convert("L"), np.array(row["boxes"])
            if rng.random() < _RESCALED_SHARE:
                image, boxes = _rescaled(image, boxes, float(rng.uniform(*_SCALES)))
            for found in Oracle(np.asarray(image), boxes, rng).examples():
                features.append(found[0])
                right.append(found[1])
        logger.info("%s: %d regions so far.", folder, len(right))
    return np.concatenate(features), np.concatenate(right)


def fit(features: NDArray[np.float32], right: NDArray[np.int64], seed: int) -> SeparatorScorer:
    """The network that gives the likeliest answers; a few minutes on one core."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # sums in one order: the same examples and seed give the same weights
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    inputs = torch.from_numpy(np.clip((features - mean) / scale, -8, 8).astype(np.float32))
    targets = torch.from_numpy(right.astype(np.float32))
    widths = (features.shape[1], *_HIDDEN)
    layers = [
        layer
        for start, end in zip(widths[:-1], widths[1:], strict=True)
        for layer in (torch.nn.Linear(start, end), torch.nn.ReLU())
    ]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], 1))
    num_batches = -(-len(inputs) // _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=_EPOCHS * num_batches)
    for epoch in range(_EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(inputs)).split(_BATCH):
            logits = model(inputs[rows])[:, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        logger.info("epoch %d: %.5f nats a place", epoch + 1, total / len(inputs))
    linear = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    weights = [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in linear]
    return SeparatorScorer(mean.astype(np.float32), scale.astype(np.float32), weights)


def main(argv: Sequence[str] | None = None) -> int:
    """Fits and writes the weights."""
    parser = argparse.ArgumentParser(
        prog="python -m phenolip.phenokg.subfigures.fit_separators", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--composites", nargs="+", type=Path, required=True, metavar="DIR", help="with boxes.jsonl")
    parser.add_argument("--output", type=Path, default=WEIGHTS, metavar="FILE", help="weights (those of the package)")
    parser.add_argument("--seed", type=int, default=0, help="of the fit (0)")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    features, right = read_examples(sorted(args.composites, key=lambda folder: folder.name), args.seed)
    logger.info("%d places, %.3f of them right", len(right), right.mean())
    fit(features, right, args.seed).save(args.output)
    return 0


def _rescaled(image: Image.Image, boxes: Boxes, scale: float) -> tuple[Image.Image, Boxes]:
    size = max(32, round(image.width * scale)), max(32, round(image.height * scale))
    by = np.array([size[0] / image.width, size[1] / image.height] * 2)
    return image.resize(size, Image.Resampling.BICUBIC), np.rint(boxes * by).astype(np.int64)


if __name__ == "__main__":
    sys.exit(main())
