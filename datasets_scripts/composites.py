"""Compound figures as a training set: pasted from pairs, cut again by ground truth, and the pairs themselves."""

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import datasets
from PIL import Image
from tqdm.auto import tqdm

from phenolip.datasets_scripts.load import load_pairs_with_report
from phenolip.datasets_scripts.split import group_rows
from phenolip.datasets_scripts.tables import data_revision, replaced_folder, write_card, write_manifest
from phenolip.images import SUFFIXES, decode_image, drop_patient_data, read_image
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.phenokg.composites import CompositeConfig, CompositeFigure, SourceImage, run
from phenolip.phenokg.subfigures.layouts import read_layouts

COMPOUNDS, CROPS, ORIGINALS = "compounds", "crops_ground_truth", "originals"
FIGURE_QUALITY = 92  # JPEG
CROP_QUALITY = 95  # a crop is compressed for the second time


def prepare_composites(
    source: str | Path,
    output: str | Path,
    *,
    layouts: str | Path | None = None,
    seed: int = 0,
    images_per_figure: tuple[int, int] = (2, 6),
    long_side_px: int = 520,
    crops: bool = False,
    ontology: PhenotypeOntology | None = None,
    split: str | None = None,
    max_bad_fraction: float = 0.01,
    bad_rows_path: str | Path | None = None,
) -> dict[str, Any]:
    """Write ``output/compounds`` as an ImageFolder whose rows carry their ground truth.

    Images that share a caption, a case or article (``group_id``), a file or a near copy are kept out of each other's
    figures where that is possible.

    Args:
        source: What ``load_pairs`` accepts.
        output: Folder to write; also gets a card and a manifest.
        layouts: What ``read_layouts`` accepts; None draws rows of images.
        seed: Fixes every figure.
        images_per_figure: Fewest and most.
        long_side_px: Longer side of a figure.
        crops: Also write ``crops_ground_truth`` (cut from the compound files by the true boxes, each with its own
            caption: what a faultless construction chain would give back) and ``originals`` (the files as they came),
            row by row the same pairs.
        ontology: Release to resolve ids to; None loads the installed one.
        split: Split of the source, where it has several.
        max_bad_fraction: Share of rows of the source that may be left out.
        bad_rows_path: Where those are listed.

    Returns:
        The manifest.
    """
    read, bad_layouts = read_layouts(layouts) if layouts is not None else ([], {})
    config = CompositeConfig(seed, tuple(images_per_figure), long_side_px, tuple(read))
    with replaced_folder(output) as folder:
        pairs, report = load_pairs_with_report(
            source, split=split, ontology=ontology, max_bad_fraction=max_bad_fraction, bad_rows_path=bad_rows_path
        )
        sizes = _write(folder, pairs, config, crops)
        manifest = write_manifest(
            folder,
            "composites",
            source=report.source,
            num_images=len(pairs),
            num_figures=sum(sizes.values()),
            figures_by_num_images={str(size): sizes[size] for size in sorted(sizes)},
            num_rows_left_out=report.bad_rows,
            hpo_release=report.hpo_release,
            layouts=str(layouts) if layouts is not None else None,
            num_layouts_left_out=bad_layouts,
            seed=seed,
            images_per_figure=list(images_per_figure),
            long_side_px=long_side_px,
            data_revision=data_revision(pairs),
        )
        write_card(folder, _front(crops), _describe(manifest))
    return manifest


class _ImageFolder:
    """A `datasets` ImageFolder that grows row by row: images/ and metadata.jsonl."""

    def __init__(self, path: Path) -> None:
        self.path, self.num_rows = path, 0
        (path / "images").mkdir(parents=True)
        self._metadata = (path / "metadata.jsonl").open("w", encoding="utf-8")

    def __enter__(self) -> "_ImageFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self._metadata.close()

    def add_picture(self, picture: Image.Image, row: Mapping[str, Any], *, quality: int) -> Path:
        """Write a picture as JPEG, and its row; returns the path of the file."""
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        return self.add_file(buffer.getvalue(), ".jpg", row)

    def add_file(self, data: bytes, suffix: str, row: Mapping[str, Any]) -> Path:
        """Write an image file as it is, and its row; returns the path of the file."""
        file_name = f"images/{self.num_rows:06d}{suffix}"
        (self.path / file_name).write_bytes(data)
        self._metadata.write(json.dumps({"file_name": file_name, **row}, ensure_ascii=False) + "\n")
        self.num_rows += 1
        return self.path / file_name


def _write(folder: Path, pairs: datasets.Dataset, config: CompositeConfig, crops: bool) -> Counter[int]:
    """Write the figures, and what else is asked for; returns the number of figures by number of images."""
    records = _records(pairs)
    sizes: Counter[int] = Counter()
    names = (COMPOUNDS, CROPS, ORIGINALS) if crops else (COMPOUNDS,)
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(records), desc="Pasting images", unit="image", disable=None))
        compounds, *parts = (stack.enter_context(_ImageFolder(folder / name)) for name in names)
        for figure in run(records, config):
            row = _figure_row(figure, records)
            path = compounds.add_picture(figure.image, row, quality=FIGURE_QUALITY)
            if parts:
                _add_crops(parts[0], path, row, [pairs[part.source]["group_id"] for part in figure.subfigures])
                _add_originals(parts[1], figure, pairs)
            sizes[len(figure.subfigures)] += 1
            bar.update(len(figure.subfigures))
    return sizes


def _records(pairs: datasets.Dataset) -> list[SourceImage]:
    def decode(row: int) -> Image.Image:
        return decode_image(pairs[row]["image"])

    columns = (pairs["row_id"], pairs["sha256"], pairs["caption"], pairs["hpo_ids"], group_rows(pairs))
    return [
        SourceImage(row_id, sha256, caption, tuple(hpo_ids), partial(decode, row), str(group))
        for row, (row_id, sha256, caption, hpo_ids, group) in enumerate(zip(*columns, strict=True))
    ]


def _figure_row(figure: CompositeFigure, records: Sequence[SourceImage]) -> dict[str, Any]:
    subfigures = [
        {
            "box_xyxy": part.box_xyxy,
            "label": part.label,
            "label_text": part.label_text,
            "label_xyxy": part.label_xyxy,
            "start": part.caption_start,
            "end": part.caption_end,
            "hpo_ids": records[part.source].hpo_ids,
            "source_row_id": records[part.source].row_id,
            "source_sha256": records[part.source].sha256,
        }
        for part in figure.subfigures
    ]
    return {"caption": figure.caption, "hpo_ids": figure.hpo_ids, "layout": figure.layout, "subfigures": subfigures}


def _add_crops(
    folder: _ImageFolder, figure_path: Path, figure_row: Mapping[str, Any], group_ids: Sequence[str]
) -> None:
    with Image.open(figure_path) as figure:
        for part, group_id in zip(figure_row["subfigures"], group_ids, strict=True):
            row = {
                "caption": figure_row["caption"][part["start"] : part["end"]],
                "hpo_ids": part["hpo_ids"],
                "group_id": group_id,
                "figure": f"{COMPOUNDS}/images/{figure_path.name}",
                "box_xyxy": part["box_xyxy"],
                "label": part["label"],
                "source_row_id": part["source_row_id"],
            }
            folder.add_picture(figure.crop(part["box_xyxy"]), row, quality=CROP_QUALITY)


def _add_originals(folder: _ImageFolder, figure: CompositeFigure, pairs: datasets.Dataset) -> None:
    for part in figure.subfigures:
        pair = pairs[part.source]
        data, name = read_image(pair["image"])
        data = drop_patient_data(data)
        suffix = PurePath(name).suffix.lower()
        row = {name: pair[name] for name in ("caption", "hpo_ids", "group_id")}
        folder.add_file(data, suffix if suffix in SUFFIXES else "", {**row, "source_row_id": pair["row_id"]})


def _front(crops: bool) -> dict[str, Any]:
    names = (COMPOUNDS, CROPS, ORIGINALS) if crops else (COMPOUNDS,)
    return {
        "license": "other",
        "tags": ["medical", "phenotype", "hpo", "compound-figures"],
        "configs": [{"config_name": name, "data_dir": name} for name in names],
    }


def _describe(manifest: dict[str, Any]) -> str:
    layouts = f"those of `{manifest['layouts']}`" if manifest["layouts"] else "drawn rows of images"
    return f"""# Compound figures pasted from single images

Written by `phenolip prepare composites` from `{manifest["source"]}`: {manifest["num_images"]} images in
{manifest["num_figures"]} figures, each image once (seed {manifest["seed"]}). No article printed these figures. Layouts
are {layouts}. `{COMPOUNDS}` holds the figures; `subfigures` of a row is the ground truth: boxes in pixels of the file
from its top left corner, right and bottom exclusive, and `start` and `end` of each image's own caption in Unicode code
points. `{CROPS}`, where it was asked for, holds the images cut out again by the true boxes, and `{ORIGINALS}` the
files they were pasted from, in the same order.

Licence and terms of use are those of the source, row by row: `source_row_id` names the row of each image."""
