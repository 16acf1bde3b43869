"""The working folder of a benchmark: drawn rows, the sheet for reviewers, their files, and what was agreed.

`draw.json` is written last and says that the rows and the sheet are whole. The sheet's hash is over every question of
it; reviewers' files carry it, so that answers never meet questions that they were not given to.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import Features, Image, List, Value

from phenolip.datasets_scripts.bench_facts import ATTRIBUTION
from phenolip.exceptions import DataError
from phenolip.provenance import content_hash

_TEXT = Value("string")
#: A drawn row. `starts[i]` and `ends[i]` are where the caption names `hpo_ids[i]`, null where no place is known.
DRAWN_ROWS = Features(
    {
        "number": Value("int32"),
        "row_id": _TEXT,
        "group_id": _TEXT,
        "image": Image(),
        "sha256": _TEXT,
        "caption": _TEXT,
        "hpo_ids": List(_TEXT),
        "phenotypes": List(_TEXT),
        "starts": List(Value("int32")),
        "ends": List(Value("int32")),
        **{name: _TEXT for name in ATTRIBUTION},
    }
)
DRAWN, ROWS, SHEET, REVIEWS = "draw.json", "rows", "sheet", "reviews"
AGREEMENT, VERDICTS, VERDICTS_CSV, FROZEN = "agreement.json", "verdicts.jsonl", "verdicts.csv", "frozen.json"
SPLIT = "test"
_IMAGES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Question:
    """What a reviewer is asked: does this image show this phenotype?

    Attributes:
        item: Names the question within the sheet: number of the row and id of the phenotype.
        row: Place of the row in the draw.
        place: Place of the phenotype in the row.
        hpo_id: Of the phenotype.
        name: Its name.
        group: What answers are resampled by: the article, or the row where no article is known.
    """

    item: str
    row: int
    place: int
    hpo_id: str
    name: str
    group: str


@dataclass(frozen=True)
class BenchFolder:
    """Where the files of a benchmark in the making lie; nothing is read before it is asked for."""

    path: Path

    def draw_facts(self) -> dict[str, Any] | None:
        """The content of `draw.json`; None where nothing is drawn."""
        return read_facts(self.path / DRAWN)

    def drawn(self) -> dict[str, Any]:
        """The content of `draw.json`.

        Raises:
            DataError: Nothing is drawn.
        """
        facts = self.draw_facts()
        if facts is None:
            raise DataError(
                f"Folder {self.path} holds no draw; make one with `phenolip bench draw PAIRS --output DIR`."
            )
        return facts

    def rows(self) -> list[dict[str, Any]]:
        """The drawn rows, in their order, without their images."""
        columns = [name for name in DRAWN_ROWS if name != "image"]
        return [row for file in self._row_files() for row in pq.read_table(file, columns=columns).to_pylist()]

    def images(self) -> Iterator[bytes]:
        """The image files of the rows, in their order, a few in memory at a time."""
        for file in self._row_files():
            for batch in pq.ParquetFile(file).iter_batches(_IMAGES_AT_ONCE, columns=["image"]):
                yield from (row["image"]["bytes"] for row in batch.to_pylist())

    def questions(self) -> list[Question]:
        """Every question of the sheet, checked against the hash that it was given out under."""
        rows = self.rows()
        if sheet_hash(rows) != self.drawn()["sheet"]:
            raise DataError(f"The rows in {self.path / ROWS} are not those that the sheet was made from.")
        return questions(rows)

    def _row_files(self) -> list[Path]:
        return sorted((self.path / ROWS).glob(f"{SPLIT}-*.parquet"))

    def review_files(self) -> list[Path]:
        """Files of reviewers that lie in `reviews/`."""
        folder = self.path / REVIEWS
        return sorted(path for path in folder.glob("*") if path.suffix.lower() in (".jsonl", ".csv"))


def questions(rows: Sequence[Mapping[str, Any]]) -> list[Question]:
    """The questions of rows, row by row, a row's phenotypes in its own order."""
    return [
        Question(
            f"{row['number']:05d}/{hpo_id}", place, order, hpo_id, name, row["group_id"] or f"row {row['number']}"
        )
        for place, row in enumerate(rows)
        for order, (hpo_id, name) in enumerate(zip(row["hpo_ids"], row["phenotypes"], strict=True))
    ]


def sheet_hash(rows: Iterable[Mapping[str, Any]]) -> str:
    """Over all that a reviewer judges by: images, captions, phenotypes, in their order.

    The letter in front keeps a spreadsheet from reading digits as a number.
    """
    parts = [
        json.dumps([row["number"], row["sha256"], row["caption"], row["hpo_ids"], row["phenotypes"]]) for row in rows
    ]
    return f"s{content_hash(parts)}"


def read_facts(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file; None where there is no file.

    Raises:
        DataError: The file holds something else.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"File {path} cannot be read: {error}.") from error
    if not isinstance(facts, dict):
        raise DataError(f"File {path} must hold a JSON object, got {type(facts).__name__}.")
    return facts
