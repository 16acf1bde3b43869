"""Rows of PhenoKG's tables: terms and relations of an ontology release, pairs of a build of `phenolip kg build`."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq

from phenolip.exceptions import DataError
from phenolip.images import decode_image, read_image, shrink_image
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.phenokg.records import FigurePair, PhenotypeLink, from_row, to_row
from phenolip.phenokg.table_files import MANIFEST, TABLES, read_manifest

_BATCH = 256  # records in memory at once


def term_rows(ontology: PhenotypeOntology) -> Iterator[dict[str, Any]]:
    """Rows of the table `terms`: every current term, sorted by id, its content as in the release."""
    for term_id in ontology:
        term = ontology[term_id]
        is_phenotype = ontology.is_phenotype(term_id)
        yield {
            "hpo_id": term.id,
            "name": term.name,
            "definition": term.definition,
            "comment": term.comment,
            "synonyms": [{"text": one.text, "scope": one.scope, "type": one.type} for one in term.synonyms],
            "parents": list(term.parents),
            "alt_ids": list(term.alt_ids),
            "xrefs": list(term.xrefs),
            "depth": ontology.depth(term_id) if is_phenotype else None,
            "information_content": ontology.information_content(term_id) if is_phenotype else None,
            "system_ids": list(ontology.systems(term_id)),
            "release": ontology.release,
        }


def relation_rows(ontology: PhenotypeOntology) -> Iterator[dict[str, str]]:
    """Rows of the table `relations`: every is_a edge between current terms."""
    for term_id in ontology:
        for parent_id in ontology.parents(term_id):
            yield {"child_id": term_id, "parent_id": parent_id, "predicate": "is_a"}


class KgBuild:
    """The finished output folder of a build.

    Attributes:
        manifest: What the build says of itself.
        media: Folder below which the image files lie.

    Raises:
        DataError: If the folder holds no build, or one that has not ended.
    """

    def __init__(self, folder: str | Path, *, media: str | Path | None = None) -> None:
        self._folder = Path(folder)
        manifest = read_manifest(self._folder)
        if manifest is None:
            raise DataError(
                f"{folder} must be the output folder of a finished `phenolip kg build`, with {TABLES}/ and the "
                f"{MANIFEST} that names its files; got a folder without, or with other files."
            )
        self.manifest: dict[str, Any] = manifest
        self.media = Path(media if media is not None else manifest["config"]["steps"]["assemble"]["media"])

    @property
    def hpo_release(self) -> str | None:
        """The release that captions were linked against."""
        return (self.manifest.get("hpo") or {}).get("release")

    def check_release(self, ontology: PhenotypeOntology) -> None:
        """Raises ``DataError`` if the captions were linked against another release."""
        if self.hpo_release not in (None, ontology.release):
            raise DataError(
                f"The pairs of {self._folder} are linked to HPO release {self.hpo_release}, and the ontology given is "
                f"release {ontology.release}: they must be the same."
            )

    def pairs(self) -> Iterator[FigurePair]:
        """The records, checked one by one, in their order."""
        for name in sorted(self.manifest["tables"]):
            if name.startswith("pairs-"):
                place = 0
                for batch in pq.ParquetFile(self._folder / TABLES / name).iter_batches(_BATCH):
                    for row in batch.to_pylist():
                        yield from_row(row, FigurePair, f"{name} row {place}")
                        place += 1


def pair_row(pair: FigurePair, media: Path, *, max_side: int | None = None) -> dict[str, Any]:
    """One row of the table `pairs`, with the bytes of its image: the file of a whole figure, the crop of a subfigure.

    Args:
        pair: The record.
        media: Folder below which its image lies.
        max_side: Longer side in pixels above which the image is scaled down; None keeps its size.

    Raises:
        DataError: If the file is missing, lies elsewhere, or is no longer the one that the record was made from.
    """
    data = _image_bytes(pair, media)
    if pair.bbox_xyxy is not None:
        data = _crop(data, pair.bbox_xyxy)
    if max_side is not None:
        data, _ = shrink_image(data, max_side)
    row = to_row(pair)
    license = row.pop("license")
    return {
        **row,
        "row_id": row_id(pair),
        "image": {"bytes": data, "path": None},  # a path would send `datasets` to a file of that name, if there is one
        "sha256": hashlib.sha256(data).hexdigest(),
        "figure_sha256": pair.sha256,
        "findings": [],
        "version": str(pair.version) if pair.version is not None else None,
        "license": license["spdx"],
        "license_category": license["category"],
        "license_text": license["text"],
        "license_url": license["url"],
    }


def row_id(pair: FigurePair) -> str:
    """Article, figure and, where it is a part of one, subfigure."""
    return "/".join(part for part in (pair.article_id, pair.figure_id, pair.subfigure_id) if part is not None)


def present_ids(phenotypes: Iterable[PhenotypeLink]) -> list[str]:
    """Ids that a text names as present, each once, in reading order."""
    return list(dict.fromkeys(link.hpo_id for link in phenotypes if link.assertion == "present"))


def _crop(data: bytes, box: tuple[int, ...]) -> bytes:
    """A part of an image file, as a JPEG."""
    encoded = io.BytesIO()
    decode_image(data).crop(box).save(encoded, "JPEG", quality=95)
    return encoded.getvalue()


def _image_bytes(pair: FigurePair, media: Path) -> bytes:
    path = PurePosixPath(pair.image_path)
    inside = not path.is_absolute() and ".." not in path.parts and "\0" not in pair.image_path
    if not inside or not (media / path).resolve().is_relative_to(media.resolve()):
        raise DataError(f"Image {pair.image_path[:200]!r} must lie below {media}, and its path leads elsewhere.")
    data, _ = read_image(media / path)
    if hashlib.sha256(data).hexdigest() != pair.sha256:
        raise DataError(f"Image {media / path} is not the file that the pair was made from: its SHA-256 differs.")
    return data
