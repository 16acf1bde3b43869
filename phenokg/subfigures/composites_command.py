"""`python -m phenolip.phenokg.composites`: compound figures with ground truth for detection, splitting, alignment."""

import argparse
import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import numpy as np
from tqdm.auto import tqdm

from phenolip.command_line import fold_flag
from phenolip.exceptions import ConfigurationError, DataError, PhenoLIPError
from phenolip.phenokg.composites import CompositeConfig, CompositeFigure, SourceImage, draw_sizes_of_figures, paste
from phenolip.phenokg.subfigures.figure_labels import MAX_LABELS
from phenolip.phenokg.subfigures.layouts import read_layouts, reading_order
from phenolip.phenokg.subfigures.page_style import Fill, Page, PageConfig
from phenolip.phenokg.subfigures.source_images import list_images, open_images
from phenolip.whole_files import whole_file

_DESCRIPTION = """Paste single images into compound figures, as articles print them, and write down what is where.

  --output gets        with rows of
    000000.jpg ...     the figures; .png with --quality 0
    boxes.jsonl        {"file_name", "boxes"}: what detect_subfigures should find
    captions.jsonl     {"figure", "caption", "subcaptions": [{"label", "start", "end", "caption"}]}: of split_captions
    alignment.jsonl    {"file_name", "caption", "boxes"}: the input of align_captions, boxes in reading order
    alignment_gold.jsonl   {"file_name", "boxes": [{"box", "label"}]}: what it should give
    provenance.jsonl   layout, and for each box the row, SHA-256 and licence of its image, and the printed label's box
    composites.json    the settings, and how many figures, images and bad rows there were

Boxes are [x0, y0, x1, y1] in pixels of the file, from its top left corner, right and bottom exclusive."""
_EPILOG = """The same images, layouts and settings give the same figures. Every image is used once before one is used
again; images of one group_id, case, article or caption stay out of each other's figures.

example: python -m phenolip.phenokg.composites --images gallery medpix2/train.jsonl --layouts layouts.jsonl \\
             --output composites --number 500 --gap 0 20 --page white grey black --border 0 2 \\
             --fill fit stretch crop --single_share 0.1 --outside_share 0.2 --fonts fonts/*.ttf"""
_MIN_QUALITY = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Writes composites and returns the exit code: 0 done, 1 the work failed, 2 the call was wrong."""
    argv = [fold_flag(token) for token in (sys.argv[1:] if argv is None else argv)]
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    args = _parser().parse_args(argv)
    try:
        manifest = write_composites(args)
    except PhenoLIPError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2 if isinstance(error, ConfigurationError) else 1
    sys.stderr.write(f"{manifest['num_figures']:,} figures of {manifest['num_images']:,} images: {args.output}\n")
    return 0


def write_composites(args: argparse.Namespace) -> dict[str, Any]:
    """Figures and their ground truth as the arguments say; returns the manifest."""
    if args.number < 1:
        raise ConfigurationError(f"`number` must be at least 1, got {args.number}.")
    low, high = args.quality if len(args.quality) == 2 else args.quality * 2
    if not (low == high == 0 or _MIN_QUALITY <= low <= high <= 100):
        raise ConfigurationError(f"`quality` must be 0, or from {_MIN_QUALITY} to 100, got {low} to {high}.")
    output = Path(args.output)
    if output.is_dir() and any(output.iterdir()):
        raise ConfigurationError(f"`output` must be a new or empty folder, got {output}.")
    layouts, bad_layouts = read_layouts(args.layouts, max_bad_fraction=1.0) if args.layouts else ([], {})
    config = _config(args, layouts)
    listed, bad_rows = list_images(args.images)
    rng = np.random.default_rng([config.seed, 0])
    sizes = draw_sizes_of_figures(args.number, config, rng)
    shuffled = [listed[place] for place in rng.permutation(len(listed))]
    records, licenses, bad_images = open_images(shuffled, sum(sizes))
    figures = paste(records, sizes, config, rng)
    try:
        by_size = _write(output, figures, records, licenses, (low, high), args)
        manifest = {
            "num_figures": args.number,
            "num_images": sum(sizes),
            "figures_by_num_images": {str(size): by_size[size] for size in sorted(by_size)},
            "left_out": {"layouts": bad_layouts, "rows": bad_rows, "images": bad_images},
            "settings": {name: value for name, value in vars(args).items() if name != "output"},
            "page": asdict(config.page) if config.page else None,
        }
        with whole_file(output / "composites.json", "w") as file:
            json.dump(manifest, file, indent=2, default=str)
    except OSError as error:
        raise DataError(f"Cannot write {output}: {error.strerror or error}.") from None
    return manifest


def _write(
    output: Path,
    figures: Iterator[CompositeFigure],
    records: Sequence[SourceImage],
    licenses: Sequence[str | None],
    quality: tuple[int, int],
    args: argparse.Namespace,
) -> Counter[int]:
    """Files and rows of every figure; returns the number of figures by number of images."""
    names = ("boxes", "captions", "alignment", "alignment_gold", "provenance")
    sizes: Counter[int] = Counter()
    output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = {name: stack.enter_context(whole_file(output / f"{name}.jsonl", "w")) for name in names}
        shown = stack.enter_context(tqdm(figures, total=args.number, unit="figure", disable=None))
        for number, figure in enumerate(shown):
            rng = np.random.default_rng([args.seed, 3, number])
            data, suffix = _encoded(figure, int(rng.integers(quality[0], quality[1] + 1)))
            file_name = f"{number:06d}{suffix}"
            (output / file_name).write_bytes(data)
            for name, row in _rows(file_name, figure, records, licenses).items():
                files[name].write(json.dumps(row, ensure_ascii=False) + "\n")
            sizes[len(figure.subfigures)] += 1
    return sizes


def _rows(
    file_name: str, figure: CompositeFigure, records: Sequence[SourceImage], licenses: Sequence[str | None]
) -> dict[str, dict[str, Any]]:
    """A row for each of the files."""
    order = reading_order([part.box_xyxy for part in figure.subfigures])
    parts = [figure.subfigures[place] for place in order]
    boxes = [part.box_xyxy for part in parts]
    named = {"file_name": file_name}
    subcaptions = [
        {
            "label": part.label,
            "start": part.caption_start,
            "end": part.caption_end,
            "caption": figure.caption[part.caption_start : part.caption_end],
        }
        for part in figure.subfigures
        if part.label
    ]
    sources = [
        {
            "box": part.box_xyxy,
            "label": part.label,
            "label_text": part.label_text,
            "label_box": part.label_xyxy,
            "source": records[part.source].row_id,
            "sha256": records[part.source].sha256,
            "license": licenses[part.source],
        }
        for part in parts
    ]
    return {
        "boxes": {**named, "boxes": boxes},
        "captions": {"figure": file_name, "caption": figure.caption, "subcaptions": subcaptions},
        "alignment": {**named, "caption": figure.caption, "boxes": boxes},
        "alignment_gold": {**named, "boxes": [{"box": part.box_xyxy, "label": part.label} for part in parts]},
        "provenance": {**named, "layout": figure.layout, "subfigures": sources},
    }


def _encoded(figure: CompositeFigure, quality: int) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    if quality:
        figure.image.save(buffer, "JPEG", quality=quality)
        return buffer.getvalue(), ".jpg"
    figure.image.save(buffer, "PNG")
    return buffer.getvalue(), ".png"


def _config(args: argparse.Namespace, layouts: Sequence[Any]) -> CompositeConfig:
    fewest, most = args.images_per_figure or ((2, MAX_LABELS - 1) if layouts else (2, 6))
    page = PageConfig(
        gap_px=args.gap and tuple(args.gap),
        pages=tuple(args.page),
        border_px=tuple(args.border),
        fills=tuple(args.fill),
        fonts=tuple(chain.from_iterable(args.fonts or ())),
        outside_share=args.outside_share,
        shuffled_share=args.shuffled_share,
    )
    return CompositeConfig(args.seed, (fewest, most), args.long_side, tuple(layouts), args.single_share, page)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m phenolip.phenokg.composites",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--images", nargs="+", required=True, metavar="DIR|FILE", help="folders, or .jsonl of file_name and caption")
    add("--output", required=True, metavar="DIR", help="a new folder")
    add("--number", type=int, default=100, metavar="N", help="figures (100)")
    add("--seed", type=int, default=0, help="decides every figure (0)")
    add("--layouts", metavar="FILE", help="boxes of real figures, .jsonl (drawn rows of images)")
    bounds = {"type": int, "nargs": 2, "metavar": ("LOW", "HIGH")}
    add("--images_per_figure", **bounds, help="from 2 to 25 (2 25 with layouts, else 2 6)")
    add("--long_side", type=int, default=700, metavar="N", help="pixels of a figure (700)")
    add("--gap", **bounds, help="pixels between neighbours, from 0 (those of the layouts)")
    add("--page", nargs="+", default=["white"], choices=get_args(Page), help="grounds to choose from (white)")
    add("--border", **bounds, default=(0, 0), help="width of a black or white line around the images (0 0)")
    add("--fill", nargs="+", default=["fit"], choices=get_args(Fill), help="how images fill their cells (fit)")
    add("--quality", type=int, nargs="+", default=[60, 95], metavar="Q", help="of JPEG, Q or LOW HIGH; 0 PNG (60 95)")
    add("--single_share", type=float, default=0.0, metavar="X", help="share of figures that are one image (0)")
    add("--fonts", nargs="+", action="append", metavar="FILE", help="fonts of the labels (Pillow's own)")
    add("--outside_share", type=float, default=0.0, metavar="X", help="share of figures with labels beside images (0)")
    add("--shuffled_share", type=float, default=0.0, metavar="X", help="share of figures labelled in random order (0)")
    return parser
