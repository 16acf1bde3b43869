"""Folders that a run starts from: a leak-free split of any pairs, and drawn phantoms."""

from pathlib import Path
from typing import Any

import datasets

from phenolip.datasets_scripts.features import LOADED_PAIRS
from phenolip.datasets_scripts.load import load_pairs_with_report
from phenolip.datasets_scripts.sources import GROUP_COLUMNS
from phenolip.datasets_scripts.split import split_by_group
from phenolip.datasets_scripts.tables import (
    data_revision,
    embedded_rows,
    replaced_folder,
    write_card,
    write_manifest,
    write_parquet,
)
from phenolip.exceptions import DataError
from phenolip.ontology.graph import PhenotypeOntology

#: Columns of a written split: those of ``load_pairs``, with images that open as pictures.
SPLIT_PAIRS = datasets.Features({**LOADED_PAIRS, "image": datasets.Image()})
_VALIDATION_SEED_STEP = 1_000_003  # far enough that no training set of a neighbouring seed shares its images


def prepare_split(
    source: str | Path,
    output: str | Path,
    *,
    validation_fraction: float = 0.15,
    seed: int = 0,
    max_phash_distance: int = 4,
    max_side: int | None = None,
    ontology: PhenotypeOntology | None = None,
    split: str | None = None,
    max_bad_fraction: float = 0.01,
    bad_rows_path: str | Path | None = None,
) -> dict[str, Any]:
    """Write ``output/train`` and ``output/validation`` as Parquet with embedded images, split by group.

    Args:
        source: What ``load_pairs`` accepts.
        output: Folder to write; also gets a card and a manifest.
        validation_fraction: See ``split_by_group``, as ``seed`` and ``max_phash_distance``.
        seed: Which of the possible splits.
        max_phash_distance: Bits of 64.
        max_side: Longer side in pixels above which images are scaled down; None keeps every file as it is.
        ontology: Release to resolve ids to; None loads the installed one.
        split: Split of the source, where it has several.
        max_bad_fraction: Share of rows that may be left out.
        bad_rows_path: Where those are listed.

    Returns:
        The manifest.
    """
    with replaced_folder(output) as folder:
        pairs, report = load_pairs_with_report(
            source, split=split, ontology=ontology, max_bad_fraction=max_bad_fraction, bad_rows_path=bad_rows_path
        )
        train, validation = split_by_group(
            pairs, validation_fraction=validation_fraction, seed=seed, max_phash_distance=max_phash_distance
        )
        parts = {"train": train, "validation": validation}
        for name, part in parts.items():
            write_parquet(embedded_rows(part, max_side=max_side), folder / name, name, SPLIT_PAIRS)
        manifest = write_manifest(
            folder,
            "split",
            source=report.source,
            num_rows={name: len(part) for name, part in parts.items()},
            num_rows_left_out=report.bad_rows,
            num_labels=report.num_labels,
            num_labels_dropped=report.num_labels_dropped,
            hpo_release=report.hpo_release,
            validation_fraction=validation_fraction,
            seed=seed,
            max_phash_distance=max_phash_distance,
            max_side=max_side,
            data_revision={name: data_revision(part) for name, part in parts.items()},
        )
        write_card(folder, _front(), _describe(manifest))
    return manifest


def prepare_phantoms(output: str | Path, *, num_train: int, num_validation: int, seed: int = 0) -> dict[str, Any]:
    """Draw ``output/train`` and ``output/validation`` as ImageFolders: other seeds, and captions phrased otherwise.

    Args:
        output: Folder to write.
        num_train: Images for training.
        num_validation: Images for validation.
        seed: Decides both.

    Returns:
        The manifest.
    """
    from phenolip.datasets_scripts import phantoms  # drawing code that no real data needs

    for name, number in (("num_train", num_train), ("num_validation", num_validation)):
        if number < 1:
            raise DataError(f"`{name}` must be at least 1, got {number}.")
    seeds = {"train": seed, "validation": seed + _VALIDATION_SEED_STEP}
    with replaced_folder(output) as folder:
        phantoms.write_imagefolder(folder / "train", num_train, seed=seeds["train"], phrasings="train")
        phantoms.write_imagefolder(
            folder / "validation", num_validation, seed=seeds["validation"], phrasings="heldout"
        )
        return write_manifest(
            folder,
            "phantoms",
            source="drawn by phenolip.datasets_scripts.phantoms",
            num_rows={"train": num_train, "validation": num_validation},
            seeds=seeds,
            phrasings={"train": "train", "validation": "heldout"},
        )


def _front() -> dict[str, Any]:
    files = [{"split": name, "path": f"{name}/*.parquet"} for name in ("train", "validation")]
    return {
        "license": "other",
        "tags": ["medical", "phenotype", "hpo"],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def _describe(manifest: dict[str, Any]) -> str:
    counts = manifest["num_rows"]
    return f"""# Image-text pairs, split by group

Written by `phenolip prepare split` from `{manifest["source"]}`: {counts["train"]} pairs for training,
{counts["validation"]} for validation. Rows that share a caption, an article, patient, case or study (the first of the
columns {", ".join(f"`{column}`" for column in GROUP_COLUMNS)} that a row fills), an image file, or an image
whose perceptual hash is within {manifest["max_phash_distance"]} of 64 bits are in the same part (seed
{manifest["seed"]}). Ids are of HPO release {manifest["hpo_release"]}. `manifest.json` holds every count.

Licence and terms of use are those of the source."""
