"""Trains the small network that reads a glyph.

`python -m phenolip.phenokg.alignment.train_glyphs --images DIR --fonts ...`

Labels and words are drawn in many fonts on pieces of real images and on plain pages, compressed, and cut into
candidates exactly as figures are; a candidate that covers a drawn character is that character, any other is none. The
weights are written as plain arrays.
"""

import argparse
import io
import string
import sys
import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tqdm.auto import tqdm

from phenolip.command_line import fold_flag
from phenolip.images import decode_image
from phenolip.phenokg.alignment.glyph_candidates import find_glyphs
from phenolip.phenokg.alignment.glyph_reader import CHARACTERS, WEIGHTS, load_weights
from phenolip.phenokg.record_files import find_images
from phenolip.whole_files import whole_file

_SIZE_PX = 150
_WORDS = ("MedPix", "T2", "10 mm", "FLAIR", "axial", "L", "R", "LV", "1 cm", "20x", "PA", "Day 7", "P<0.05", "control")
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
_MAX_NONE_PER_PICTURE = 12
_MIN_OVERLAP = 0.55
_HIDDEN = 160
_PLAIN_SHARE = 0.3  # of the pictures, that are characters on a plain page


def main(argv: Sequence[str] | None = None) -> int:
    """Trains, reports accuracy on fonts and images that were held out, and writes the weights."""
    parser = argparse.ArgumentParser(prog="python -m phenolip.phenokg.alignment.train_glyphs", description=__doc__)
    parser.add_argument("--images", nargs="+", required=True, metavar="DIR", help="backgrounds, one in five held out")
    parser.add_argument("--fonts", nargs="+", required=True, metavar="FILE", help="to draw with")
    parser.add_argument("--held_out_fonts", nargs="*", default=[], metavar="FILE", help="only to report on")
    parser.add_argument("--number", type=int, default=20_000, metavar="N", help="pictures (20000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--join", metavar="FILE", help="weights of another training, to take the mean with")
    parser.add_argument("--output", default=str(WEIGHTS), metavar="FILE", help="weights, .npz (those of the package)")
    args = parser.parse_args([fold_flag(token) for token in (sys.argv[1:] if argv is None else argv)])
    images = list(chain.from_iterable(find_images(folder) for folder in args.images))
    paths = [Path(image.root, image.path) for image in images]
    held_paths, paths = paths[::5], [path for number, path in enumerate(paths) if number % 5]
    patches, classes = draw_samples(paths, args.fonts, args.number, args.seed)
    weights = train(patches, classes, args.seed)
    if args.join:
        weights = joined(weights, load_weights(args.join))
    held = draw_samples(held_paths, args.held_out_fonts or args.fonts, args.number // 10, args.seed + 1)
    sys.stderr.write(f"{len(classes):,} samples; accuracy held out {_accuracy(weights, *held):.3f}\n")
    with whole_file(args.output) as file:
        np.savez_compressed(file, **weights)
    return 0


def draw_samples(
    paths: Sequence[Path], fonts: Sequence[str], number: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Candidates and what they are: a place in `CHARACTERS`, or one past the last for none."""
    patches, classes = [], []
    for place in tqdm(range(number), desc="Drawing", unit="picture", disable=None):
        rng = np.random.default_rng([seed, place])
        if rng.random() < _PLAIN_SHARE:
            canvas, truth = _plain_page(fonts, rng)
        else:
            canvas = _background(paths[rng.integers(len(paths))], rng)
            truth = [found for _ in range(3) for found in _draw_text(canvas, fonts, rng)]
        pixels = _worn(canvas, rng)
        glyphs = find_glyphs(pixels, np.ones(pixels.shape[:2], dtype=bool))
        scale = pixels.shape[1] / canvas.width
        found = _named(glyphs.boxes / scale, truth)
        chosen = np.flatnonzero(found >= 0)
        none = np.flatnonzero(found == -1)
        none = rng.permutation(none)[:_MAX_NONE_PER_PICTURE]
        kept = np.concatenate([chosen, none])
        patches.append((glyphs.patches[kept] * 255).astype(np.uint8))
        classes.append(np.where(found[kept] < 0, len(CHARACTERS), found[kept]))
    return np.concatenate(patches).astype(np.float32) / 255, np.concatenate(classes)


def train(patches: NDArray[np.float32], classes: NDArray[np.int64], seed: int) -> dict[str, NDArray[np.float16]]:
    """The weights of a network with one hidden layer."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(
        (_HIDDEN,),
        alpha=1e-4,
        batch_size=min(512, len(classes) // 2),
        max_iter=30,
        random_state=seed,
        early_stopping=True,
        n_iter_no_change=4,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(patches, classes)
    last = np.zeros((_HIDDEN, len(CHARACTERS) + 1))
    bias = np.full(len(CHARACTERS) + 1, -20.0)  # of a character that was never drawn
    last[:, network.classes_], bias[network.classes_] = network.coefs_[1], network.intercepts_[1]
    arrays = {"hidden": network.coefs_[0], "hidden_bias": network.intercepts_[0], "last": last, "last_bias": bias}
    return {name: array.astype(np.float16) for name, array in arrays.items()}


def joined(one: dict[str, NDArray], other: dict[str, NDArray]) -> dict[str, NDArray[np.float16]]:
    """One network whose logits are the mean of two: the hidden layers side by side."""
    arrays = {
        "hidden": np.concatenate([one["hidden"], other["hidden"]], axis=1),
        "hidden_bias": np.concatenate([one["hidden_bias"], other["hidden_bias"]]),
        "last": np.concatenate([one["last"], other["last"]]).astype(np.float32) / 2,
        "last_bias": (one["last_bias"].astype(np.float32) + other["last_bias"]) / 2,
    }
    return {name: array.astype(np.float16) for name, array in arrays.items()}


def _accuracy(weights: dict[str, NDArray], patches: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    hidden = np.maximum(patches @ weights["hidden"].astype(np.float32) + weights["hidden_bias"], 0)
    return float(
        ((hidden @ weights["last"].astype(np.float32) + weights["last_bias"]).argmax(axis=1) == classes).mean()
    )


def _background(path: Path, rng: np.random.Generator) -> Image.Image:
    """A plain page with a piece of an image on it, at times filling it."""
    level = int(rng.choice([255, 0, rng.integers(60, 240)], p=[0.5, 0.2, 0.3]))
    canvas = Image.new("RGB", (_SIZE_PX, _SIZE_PX), (level,) * 3)
    image = decode_image(path)
    side = int(rng.integers(60, 240))
    image.thumbnail((side * 2, side * 2))
    corner = rng.integers(-40, 60, size=2)
    canvas.paste(image, (int(corner[0]), int(corner[1])))
    return canvas


def _plain_page(fonts: Sequence[str], rng: np.random.Generator) -> tuple[Image.Image, list[tuple[str, tuple]]]:
    """A page of single characters with nothing else, and where they are."""
    is_light = rng.random() < 0.5
    canvas = Image.new("RGB", (_SIZE_PX, _SIZE_PX), "white" if is_light else "black")
    draw = ImageDraw.Draw(canvas)
    truth = []
    for top in range(0, _SIZE_PX - 49, 50):
        for left in range(0, _SIZE_PX - 49, 50):
            font = _load_font(fonts, round(np.exp(rng.uniform(np.log(8), np.log(40)))), rng)
            character = CHARACTERS[rng.integers(len(CHARACTERS))]
            place, stroke = (left + 6, top + 38), int(rng.random() < 0.3)
            draw.text(place, character, "black" if is_light else "white", font=font, anchor="ls", stroke_width=stroke)
            truth.append((character, draw.textbbox(place, character, font=font, anchor="ls", stroke_width=stroke)))
    return canvas, truth


def _load_font(fonts: Sequence[str], size: int, rng: np.random.Generator) -> ImageFont.FreeTypeFont:
    """One of the fonts, or Pillow's own."""
    number = int(rng.integers(len(fonts) + 1))
    return ImageFont.load_default(size) if number == len(fonts) else ImageFont.truetype(str(fonts[number]), size)


def _draw_text(canvas: Image.Image, fonts: Sequence[str], rng: np.random.Generator) -> list[tuple[str, tuple]]:
    """Draws a label or word somewhere; returns its characters and their boxes."""
    text = _text(rng)
    size = round(np.exp(rng.uniform(np.log(7), np.log(48))))
    font = _load_font(fonts, size, rng)
    stroke = int(rng.random() < 0.3)
    draw = ImageDraw.Draw(canvas)
    width = font.getlength(text)
    x = float(rng.integers(1, max(2, int(_SIZE_PX - width - 1))))
    baseline = int(rng.integers(size, _SIZE_PX - size // 3))
    box = draw.textbbox((x, baseline), text, font=font, anchor="ls", stroke_width=stroke)
    ink, paper = _colours(canvas, box, rng)
    if rng.random() < 0.3:
        pad = int(rng.integers(1, 5))
        draw.rectangle((box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad), fill=paper)
        outline = False
    else:
        outline = rng.random() < 0.15
    truth = []
    for character in text:
        draw.text(
            (x, baseline),
            character,
            fill=ink,
            font=font,
            anchor="ls",
            stroke_width=stroke,
            stroke_fill=paper if outline and stroke else ink,
        )
        if character in CHARACTERS:
            inked = 0 if outline else stroke
            truth.append(
                (character, draw.textbbox((x, baseline), character, font=font, anchor="ls", stroke_width=inked))
            )
        x += font.getlength(character)
    return truth


def _text(rng: np.random.Generator) -> str:
    if rng.random() < 0.15:
        return str(rng.choice(_WORDS))
    label = str(rng.choice(list(string.ascii_letters)))
    if rng.random() < 0.15:
        label += str(rng.integers(1, 10))
    elif rng.random() < 0.1:
        label = str(rng.choice(_ROMAN))
    elif rng.random() < 0.1:
        label = str(rng.integers(1, 21))
    template = rng.choice(["{}", "({})", "{})", "{}."], p=[0.6, 0.2, 0.12, 0.08])
    return str(template).format(label)


def _colours(canvas: Image.Image, box: Sequence[float], rng: np.random.Generator) -> tuple[tuple, tuple]:
    """Ink that shows on what is there, mostly black or white, and its opposite."""
    behind = canvas.crop(tuple(map(int, box))).convert("L")
    is_light = float(np.asarray(behind).mean()) >= 128 if min(behind.size) else True
    plain = ((0, 0, 0), (255, 255, 255)) if is_light else ((255, 255, 255), (0, 0, 0))
    if rng.random() < 0.8:
        return plain
    strong = [(255, 0, 0), (255, 255, 0), (0, 0, 255), (0, 160, 0), (255, 128, 0), (60, 60, 60), (220, 220, 220)]
    return strong[rng.integers(len(strong))], plain[1]


def _worn(canvas: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture as a file gives it back, at the scale at which it is read."""
    if rng.random() < 0.85:
        buffer = io.BytesIO()
        canvas.save(buffer, "JPEG", quality=int(rng.integers(35, 96)))
        canvas = Image.open(buffer)
    scale = float(rng.choice([1.0, 2.0, rng.uniform(0.7, 2.0)]))
    size = (round(canvas.width * scale), round(canvas.height * scale))
    return np.asarray(canvas.resize(size, Image.Resampling.BICUBIC).convert("RGB"))


def _named(boxes: NDArray[np.floating], truth: Sequence[tuple[str, tuple]]) -> NDArray[np.int64]:
    """The character that each candidate is: a place in `CHARACTERS`, -1 for none, -2 for a doubtful piece of one."""
    names = np.full(len(boxes), -1)
    for character, (x0, y0, x1, y1) in truth:
        width = np.minimum(boxes[:, 2], x1) - np.maximum(boxes[:, 0], x0)
        height = np.minimum(boxes[:, 3], y1) - np.maximum(boxes[:, 1], y0)
        inner = np.where((width > 0) & (height > 0), width * height, 0)
        union = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) + (x1 - x0) * (y1 - y0) - inner
        overlap = inner / union
        names[(overlap > 0.25) & (names < 0)] = -2
        names[overlap >= _MIN_OVERLAP] = CHARACTERS.index(character)
    return names


if __name__ == "__main__":
    sys.exit(main())
