"""Folders that a run starts from: a leak-free split of any pairs, and drawn phantoms."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from phenolip.datasets_scripts.caption_reader import READS_NOTHING, CaptionReader, NamePhenotypes
from phenolip.datasets_scripts.features import LOADED_PAIRS
from phenolip.datasets_scripts.hold_out import HELD_OUT_FILE, Apart, set_apart
from phenolip.datasets_scripts.load import LoadReport, load_pairs_with_report
from phenolip.datasets_scripts.sources import GROUP_COLUMNS
from phenolip.datasets_scripts.split import split_rows_by_group
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
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import write_json

#: Columns of a written split: those of ``load_pairs``, with images that open as pictures.
SPLIT_PAIRS = datasets.Features({**LOADED_PAIRS, "image": datasets.Image()})
_VALIDATION_SEED_STEP = 1_000_003  # far enough that no training set of a neighbouring seed shares its images


def prepare_split(
    source: str | Path,
    output: str | Path,
    *,
    also: Sequence[str | Path] = (),
    validation_fraction: float = 0.15,
    seed: int = 0,
    max_phash_distance: int = 4,
    max_side: int | None = None,
    ontology: PhenotypeOntology | None = None,
    split: str | None = None,
    max_bad_fraction: float = 0.01,
    bad_rows_path: str | Path | None = None,
    captions: CaptionReader = READS_NOTHING,
    also_captions: CaptionReader | None = None,
    hold_out: int | Sequence[str] | None = None,
    link: NamePhenotypes | None = None,
) -> dict[str, Any]:
    """Write ``output/train`` and ``output/validation`` as Parquet with embedded images, split by group.

    Where terms are held out, ``output/unseen`` gets the rows that show them and held_out.json names them: see
    `phenolip.datasets_scripts.hold_out`.

    Args:
        source: What ``load_pairs`` accepts.
        output: Folder to write; also gets a card and a manifest.
        also: More sources, only trained on: their rows are added to train but for those in the group of a validation
            row, which are left out and listed in the manifest.
        validation_fraction: Share of the rows of ``source``. See ``split_by_group``, as for ``seed`` and
            ``max_phash_distance``.
        seed: Which of the possible splits.
        max_phash_distance: Bits of 64.
        max_side: Longer side in pixels above which images are scaled down; None keeps every file as it is.
        ontology: Release to resolve ids to; None loads the installed one.
        split: Split of the source, where it has several.
        max_bad_fraction: Share of the rows of each source that may be left out.
        bad_rows_path: Where those are listed; a number before its suffix stands for each of ``also``, from 1.
        captions: Completes rows of ``source`` from their captions; by default none.
        also_captions: Those of ``also``, by default likewise. Another reader keeps what is measured, which is in
            ``source``, free of labels that were read off captions.
        hold_out: Terms that are not trained on, or how many to draw.
        link: Caption -> every id that it names, by which rows of held-out terms are found beside their names.

    Returns:
        The manifest.
    """
    if hold_out is not None:
        ontology = ontology or load_ontology()
    read = partial(load_pairs_with_report, ontology=ontology, max_bad_fraction=max_bad_fraction)
    also_captions = also_captions or captions
    grouping = {"seed": seed, "max_phash_distance": max_phash_distance}
    with replaced_folder(output) as folder:
        pairs, report = read(source, split=split, bad_rows_path=bad_rows_path, captions=captions)
        others = [
            read(other, bad_rows_path=_numbered(bad_rows_path, number), captions=also_captions)
            for number, other in enumerate(also, 1)
        ]
        extra = datasets.concatenate_datasets([rows for rows, _ in others]) if others else None
        apart = None
        if hold_out is not None:
            apart = set_apart(pairs, extra, hold_out, ontology, link=link, **grouping)
            write_json(folder / HELD_OUT_FILE, apart.rows())
        parts, added = _split(pairs, extra, apart, validation_fraction=validation_fraction, **grouping)
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
            labelled_by_caption=captions.phenotypes is not None,
            findings_by_caption=captions.findings is not None,
            also_labelled_by_caption=bool(also) and also_captions.phenotypes is not None,
            also_findings_by_caption=bool(also) and also_captions.findings is not None,
            also=_describe_others(others, added, apart),
            held_out=apart.describe() if apart is not None else None,
            hpo_release=next(filter(None, (part.hpo_release for part in (report, *(r for _, r in others)))), None),
            validation_fraction=validation_fraction,
            **grouping,
            max_side=max_side,
            data_revision={name: data_revision(part) for name, part in parts.items()},
        )
        write_card(folder, _front(tuple(parts)), _describe(manifest))
    return manifest


def _split(
    pairs: datasets.Dataset, extra: datasets.Dataset | None, apart: Apart | None, **how: Any
) -> tuple[dict[str, datasets.Dataset], np.ndarray]:
    """Rows of each part, and the places in ``extra`` of those that are trained on."""
    train, validation, added = split_rows_by_group(
        pairs if apart is None else pairs.select(apart.kept),
        extra if apart is None or extra is None else extra.select(apart.kept_extra),
        **how,
    )
    if apart is not None:
        train, validation, added = apart.kept[train], apart.kept[validation], apart.kept_extra[added]
    parts = {"train": pairs.select(train), "validation": pairs.select(validation)}
    if extra is not None:
        parts["train"] = datasets.concatenate_datasets([parts["train"], extra.select(added)])
    if apart is not None:
        parts["unseen"] = pairs.select(apart.unseen)
    return parts, added


def _numbered(path: str | Path | None, number: int) -> Path | None:
    return Path(path).with_suffix(f".{number}{Path(path).suffix}") if path is not None else None


def _describe_others(
    others: Sequence[tuple[datasets.Dataset, LoadReport]], added: np.ndarray, apart: Apart | None
) -> list[dict[str, Any]]:
    """What became of the rows of each further source; ``added`` counts through all of them."""
    described, start = [], 0
    for rows, report in others:
        own = np.arange(len(rows))
        kept = own if apart is None else np.intersect1d(own, apart.kept_extra - start)
        linked = np.setdiff1d(kept, added - start)
        start += len(rows)
        described.append(
            {
                "source": report.source,
                "num_rows_added": len(kept) - len(linked),
                "num_rows_held_out": len(rows) - len(kept),
                "num_rows_linked_to_validation": len(linked),
                "row_ids_linked_to_validation": [rows["row_id"][int(row)] for row in linked],
                "num_rows_left_out": report.bad_rows,
                "num_labels": report.num_labels,
                "num_labels_dropped": report.num_labels_dropped,
            }
        )
    return described


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


def _front(parts: Sequence[str]) -> dict[str, Any]:
    files = [{"split": name, "path": f"{name}/*.parquet"} for name in parts]
    return {
        "license": "other",
        "tags": ["medical", "phenotype", "hpo"],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def _describe(manifest: dict[str, Any]) -> str:
    counts = manifest["num_rows"]
    others = "".join(
        f"\n\n{other['num_rows_added']} of the training pairs come from `{other['source']}`; "
        f"{other['num_rows_linked_to_validation']} more of it are left out, being linked in one of these ways to a "
        "validation pair."
        for other in manifest["also"]
    )
    labelled = ""
    for name, added in (
        ("labelled", "phenotypes have those that their captions name"),
        ("findings", "findings have those that rules found in their captions"),
    ):
        if manifest[f"{name}_by_caption"]:
            labelled += f" Rows without {added}."
        elif manifest[f"also_{name}_by_caption"]:
            labelled += f" Of the further sources, rows without {added}."
    if (held_out := manifest["held_out"]) is not None:
        labelled += (
            f" The {len(held_out['terms'])} terms of `{HELD_OUT_FILE}`, their descendants and every mention of either "
            f"are in neither part; the {counts['unseen']} pairs that show one are in `unseen/`."
        )
    return f"""# Image-text pairs, split by group

Written by `phenolip prepare split` from `{manifest["source"]}`: {counts["train"]} pairs for training,
{counts["validation"]} for validation. Rows that share a caption, an article, patient, case or study (the first of the
columns {", ".join(f"`{column}`" for column in GROUP_COLUMNS)} that a row fills), an image file, or an image
whose perceptual hash is within {manifest["max_phash_distance"]} of 64 bits are in the same part (seed
{manifest["seed"]}). Ids are of HPO release {manifest["hpo_release"]}.{labelled} `manifest.json` holds every
count.{others}

Licence and terms of use are those of the source."""
