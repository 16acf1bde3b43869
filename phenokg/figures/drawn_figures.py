"""Figures that show nothing medical, drawn from made-up numbers, to train and test the medical filter with.

`python -m phenolip.phenokg.figures.drawn_figures --output DIR --per_kind 100` writes DIR/KIND/000.jpg and so on. They
are easier to tell from medical images than the figures of real articles are: no photograph, no scan, no odd layout.
"""

import argparse
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from phenolip.phenokg.figures.drawn_diagrams import DIAGRAMS, draw_diagram
from phenolip.phenokg.figures.drawn_plots import PLOTS, draw_plot
from phenolip.whole_files import whole_file

#: Every kind, plots first.
KINDS = (*PLOTS, *DIAGRAMS)
_SMALL_PX = 260  # longer side of thumbnails such as those of the gallery of PhenoBench


def draw_figure(kind: str, number: int, *, seed: int = 0) -> Image.Image:
    """One figure, RGB; the same for the same kind, number and seed.

    Example:
        >>> draw_figure("gel", 3) == draw_figure("gel", 3)
        True
    """
    draw = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
    return draw_plot(kind, draw) if kind in PLOTS else draw_diagram(kind, draw)


def as_published(image: Image.Image, draw: np.random.Generator) -> tuple[bytes, str]:
    """The file of a figure and its suffix: a PNG, or a JPEG of any quality, every other one scaled to a thumbnail.

    Without it a classifier could tell drawn figures by their size, or by a compression that they lack.
    """
    if draw.random() < 0.5:
        image = image.copy()
        image.thumbnail((_SMALL_PX, _SMALL_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if draw.random() < 0.3:
        image.save(buffer, "PNG")
        return buffer.getvalue(), ".png"
    image.save(buffer, "JPEG", quality=int(draw.integers(50, 96)))
    return buffer.getvalue(), ".jpg"


def write_figures(folder: str | Path, *, per_kind: int, seed: int = 0) -> None:
    """Figures of every kind, a folder a kind."""
    for kind in tqdm(KINDS, desc="drawn figures", unit="kind", disable=None):
        for number in range(per_kind):
            draw = np.random.default_rng([seed, number])
            data, suffix = as_published(draw_figure(kind, number, seed=seed), draw)
            with whole_file(Path(folder, kind, f"{number:03d}{suffix}")) as file:
                file.write(data)


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the figures that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m phenolip.phenokg.figures.drawn_figures", description=__doc__)
    parser.add_argument("--output", required=True, metavar="DIR", help="a folder a kind is made there")
    parser.add_argument("--per_kind", type=int, default=100, help="figures of each kind (100)")
    parser.add_argument("--seed", type=int, default=0, help="other seeds give other figures (0)")
    args = parser.parse_args(argv)
    write_figures(args.output, per_kind=args.per_kind, seed=args.seed)


if __name__ == "__main__":
    main()
