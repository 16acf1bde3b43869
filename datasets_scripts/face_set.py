"""A set of faces with the phenotypes of each: a CSV or JSON Lines file beside the images."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenolip.datasets_scripts.image_tables import TableLayout, find_image, read_rows
from phenolip.exceptions import DataError, UnknownTermError
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.provenance import content_hash

TABLES = ("faces.csv", "faces.jsonl", "metadata.csv", "metadata.jsonl")
IMAGE_COLUMNS = ("image", "file_name", "path")
GROUP_COLUMNS = ("patient_id", "patient", "case_id", "group_id")
_HPO_ID = re.compile(r"HP:\d{7}")


@dataclass(frozen=True)
class FaceSet:
    """N images with labels.

    Attributes:
        images: N files.
        ids: N names as in the table.
        labels: For each image the current ids of its phenotypes, sorted, at least one.
        groups: N patients; the image's own name where the table names none.
        dropped: Reason -> rows, or ids, that were left out.
    """

    images: tuple[Path, ...]
    ids: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...]
    dropped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.ids)

    def revision(self) -> str:
        """SHA-256 over names and labels."""
        return content_hash([f"{name} {' '.join(labels)}" for name, labels in zip(self.ids, self.labels, strict=True)])


def load_faces(data: str | Path, ontology: PhenotypeOntology, *, split: str | None = None) -> FaceSet:
    """Reads a table with a column of images and one of HPO ids.

    Args:
        data: The table, or a folder with faces.csv, faces.jsonl, metadata.csv or metadata.jsonl. The column `image`,
            `file_name` or `path` is relative to the table; `hpo_ids` holds ids with anything between them, or a list;
            `patient_id`, `patient`, `case_id` or `group_id` is optional.
        ontology: Resolves the ids.
        split: Rows whose column `split` has this value; None for all.

    Raises:
        DataError: A column is missing, or no row can be used.
    """
    path = face_table(Path(data))
    rows = read_rows(path)
    if not rows:
        raise DataError(f"{path} has no rows.")
    image_column = next((name for name in IMAGE_COLUMNS if name in rows[0]), None)
    for wanted, there in (("image", image_column), ("hpo_ids", "hpo_ids" in rows[0] or None)):
        if there is None:
            raise DataError(f"{path} must have the column {wanted}, got {', '.join(map(str, rows[0]))}.")
    if split is not None:
        rows = [row for row in rows if row.get("split") == split]
    dropped: Counter[str] = Counter()
    kept: dict[str, tuple[Path, tuple[str, ...], str]] = {}
    for row in rows:
        name = str(row.get(image_column) or "").strip()
        file = find_image(path.parent, TableLayout(), name) if name else None
        labels = _labels(row.get("hpo_ids"), ontology, dropped)
        reason = "image not found" if file is None else "no known phenotype" if not labels else ""
        if reason or name in kept:
            dropped[reason or "image named twice"] += 1
            continue
        group = next((str(row[column]) for column in GROUP_COLUMNS if row.get(column)), name)
        kept[name] = (file, labels, group)
    if not kept:
        raise DataError(f"{path}: no row can be used: {dict(dropped)}.")
    images, labels, groups = zip(*kept.values(), strict=True)
    return FaceSet(images, tuple(kept), labels, groups, dict(dropped))


def face_table(data: Path) -> Path:
    """The table itself, or the first of `TABLES` in a folder.

    Raises:
        DataError: There is none.
    """
    if data.is_file():
        return data
    found = next((data / name for name in TABLES if (data / name).is_file()), None)
    if found is None:
        raise DataError(f"{data} must be a table or a folder with one of {', '.join(TABLES)}, got neither.")
    return found


def _labels(value: Any, ontology: PhenotypeOntology, dropped: Counter[str]) -> tuple[str, ...]:
    ids = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    labels = set()
    for hpo_id in _HPO_ID.findall(" ".join(map(str, ids))):
        try:
            labels.add(ontology.resolve(hpo_id))
        except UnknownTermError:
            dropped["id not in the ontology"] += 1
    return tuple(sorted(labels))
