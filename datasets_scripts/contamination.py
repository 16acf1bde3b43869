"""What two tables of image-text pairs share, or what one holds twice: ids, captions and images, equal or nearly so.

Six criteria, each counted apart; `near_caption` and `near_image` include the equal ones. The searches are those of
`near_copies` and `near_captions`: for images no pair is missed, for captions practically none.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import datasets
import numpy as np

from phenolip.datasets_scripts.near_captions import MIN_JACCARD, jaccard, near_captions, shingles
from phenolip.datasets_scripts.split import perceptual_hashes
from phenolip.datasets_scripts.telling_ids import article_of, telling_id
from phenolip.exceptions import ConfigurationError
from phenolip.near_copies import NUM_BITS, fold_caption, near_hashes

MAX_PARTNERS = 10  # of one row by one criterion that are listed; all are counted

Distances = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One way in which two rows can be the same.

    Attributes:
        name: As in the files.
        title: As people read it.
        near: Pairs of keys that are near, as the functions ``near_*`` give them; None where keys must be equal.
        rising: Whether a greater value of ``near`` is closer.
    """

    name: str
    title: str
    near: Callable[[Sequence, Sequence | None], Distances] | None = None
    rising: bool = False


@dataclass(frozen=True)
class AuditedTable:
    """The columns of a table that are compared, a value a row; None or "" is nothing to compare.

    Attributes:
        name: The data as the user named it.
        row_ids: Of the rows.
        groups: Article, patient or case.
        captions: As they are.
        file_hashes: SHA-256 of the image files.
        image_hashes: Perceptual hashes, (N,) uint64; None if images are compared as files only.
        pairs: The rows, images undecoded.
    """

    name: str
    row_ids: list[str]
    groups: list[str]
    captions: list[str]
    file_hashes: list[str]
    image_hashes: np.ndarray | None
    pairs: datasets.Dataset

    @classmethod
    def read(cls, pairs: datasets.Dataset, name: str, *, hash_images: bool = True) -> "AuditedTable":
        """The columns of rows of ``load_pairs``."""
        columns = (pairs[column][:] for column in ("row_id", "group_id", "caption", "sha256"))
        return cls(name, *columns, perceptual_hashes(pairs) if hash_images else None, pairs)

    def __len__(self) -> int:
        return len(self.row_ids)

    @cached_property
    def keys(self) -> dict[str, list[Hashable | None]]:
        """What the rows are compared by, for each criterion."""
        captions = list(map(fold_caption, self.captions))
        images = self.image_hashes.tolist() if self.image_hashes is not None else [None] * len(self)
        return {
            "same_article": [article_of(row, group) for row, group in zip(self.row_ids, self.groups, strict=True)],
            "same_row_id": [telling_id(row, group) for row, group in zip(self.row_ids, self.groups, strict=True)],
            "same_caption": captions,
            "near_caption": captions,
            "same_image": self.file_hashes,
            "near_image": images,
        }


@dataclass(frozen=True, slots=True)
class Links:
    """By one criterion, which rows of a benchmark have partners in a training table.

    Attributes:
        bench_keys: Key of each row, a number; -1 for none.
        train_rows: Rows of the training table by key.
        partner_keys: For a key of the benchmark, those of its partners, the closest first.
        is_one_table: Whether both tables are the same, so that no row is its own partner.
    """

    bench_keys: np.ndarray
    train_rows: dict[int, list[int]]
    partner_keys: dict[int, list[int]]
    is_one_table: bool

    def partners(self, bench_row: int) -> Iterator[int]:
        """Rows of the training table, the closest first."""
        for key in self.partner_keys.get(int(self.bench_keys[bench_row]), ()):
            yield from (row for row in self.train_rows[key] if not (self.is_one_table and row == bench_row))

    def num_partners(self) -> np.ndarray:
        """Of each row of the benchmark, (num_bench,)."""
        by_key = {
            key: sum(len(self.train_rows[partner]) for partner in partners) - (self.is_one_table and key in partners)
            for key, partners in self.partner_keys.items()
        }
        return np.array([by_key.get(key, 0) for key in self.bench_keys.tolist()], dtype=np.int64)

    def train_rows_touched(self, num_train: int) -> np.ndarray:
        """Whether each row of the training table is a partner, (num_train,) bool."""
        touched = np.zeros(num_train, dtype=bool)
        num_partners = self.num_partners()
        reached = {own for own, number in zip(self.bench_keys.tolist(), num_partners, strict=True) if number}
        for key in {partner for own in reached for partner in self.partner_keys[own]}:
            touched[self.train_rows[key]] = True
        return touched


@dataclass(frozen=True, slots=True)
class Match:
    """A row of the benchmark and one of the training table that some criterion joins.

    Attributes:
        bench_row: Its place.
        train_row: Its place.
        criteria: Names of all that hold of the two.
        jaccard: Of the captions.
        num_bits: In which the perceptual hashes differ; None if they were not compared.
    """

    bench_row: int
    train_row: int
    criteria: tuple[str, ...]
    jaccard: float
    num_bits: int | None


class Contamination:
    """What ``bench`` shares with ``train``, or ``train`` with itself.

    Within one table, rows of one article are no finding, and each pair of rows counts for both of them.

    Args:
        train: Rows to train on.
        bench: Rows to measure on; None looks for duplicates within ``train``.
        max_phash_distance: Bits of 64 in which the hashes of near images may differ; -1 compares files only.
        min_jaccard: Least Jaccard index of near captions, above 0 and at most 1.
    """

    def __init__(
        self,
        train: AuditedTable,
        bench: AuditedTable | None = None,
        *,
        max_phash_distance: int = 4,
        min_jaccard: float = MIN_JACCARD,
    ) -> None:
        check_settings(max_phash_distance, min_jaccard)
        self.train, self.bench, self.is_one_table = train, bench or train, bench is None
        self.max_phash_distance, self.min_jaccard = max_phash_distance, min_jaccard
        self.criteria = {criterion.name: criterion for criterion in self._criteria()}
        self.links = {name: self._link(criterion) for name, criterion in self.criteria.items()}
        self.num_partners = {name: links.num_partners() for name, links in self.links.items()}

    def bench_rows(self) -> np.ndarray:
        """Whether each row of the benchmark is touched by any criterion, (num_bench,) bool."""
        return np.any([number > 0 for number in self.num_partners.values()], axis=0)

    def train_rows(self) -> dict[str, np.ndarray]:
        """Whether each row of the training table is touched, (num_train,) bool, for each criterion."""
        return {name: links.train_rows_touched(len(self.train)) for name, links in self.links.items()}

    def matches(self) -> Iterator[Match]:
        """Of each row of the benchmark, in order, the pairs with the closest few rows by each criterion.

        Within one table a pair comes under both of its rows.
        """
        for bench_row in np.flatnonzero(self.bench_rows()).tolist():
            partners: dict[int, None] = {}
            for links in self.links.values():
                partners.update(dict.fromkeys(islice(links.partners(bench_row), MAX_PARTNERS)))
            for train_row in sorted(partners):
                yield self._match(bench_row, train_row)

    def _criteria(self) -> Iterator[Criterion]:
        if not self.is_one_table:
            yield Criterion("same_article", "same article, patient or case")
        yield Criterion("same_row_id", "same row id")
        yield Criterion("same_caption", "same caption")
        yield Criterion("near_caption", f"caption, Jaccard ≥ {self.min_jaccard:g}", self._near_captions, rising=True)
        yield Criterion("same_image", "same image file")
        if self.max_phash_distance >= 0:
            yield Criterion("near_image", f"image, ≤ {self.max_phash_distance} of 64 bits", self._near_images)

    def _near_captions(self, bench: Sequence[str], train: Sequence[str] | None) -> Distances:
        return near_captions(bench, train, min_jaccard=self.min_jaccard)

    def _near_images(self, bench: Sequence[int], train: Sequence[int] | None) -> Distances:
        hashes = [np.array(keys, dtype=np.uint64) if keys is not None else None for keys in (bench, train)]
        return near_hashes(*hashes, max_distance=self.max_phash_distance)

    def _link(self, criterion: Criterion) -> Links:
        bench_rows, train_rows = (_rows_by_key(table.keys[criterion.name]) for table in (self.bench, self.train))
        numbers = {key: number for number, key in enumerate(dict.fromkeys([*bench_rows, *train_rows]))}
        closeness: dict[int, dict[int, float]] = defaultdict(dict)
        for key in bench_rows.keys() & train_rows.keys():
            if not self.is_one_table or len(train_rows[key]) > 1:
                closeness[numbers[key]][numbers[key]] = -np.inf  # nothing is closer
        if criterion.near is not None:
            bench, train = list(bench_rows), list(train_rows)
            found = criterion.near(bench, None if self.is_one_table else train)
            for one, other, value in zip(*map(np.ndarray.tolist, found), strict=True):
                ends = numbers[bench[one]], numbers[train[other]]
                if ends[0] != ends[1]:
                    distance = -value if criterion.rising else value
                    closeness[ends[0]][ends[1]] = distance
                    if self.is_one_table:
                        closeness[ends[1]][ends[0]] = distance
        return Links(
            np.array([numbers.get(key, -1) for key in self.bench.keys[criterion.name]], dtype=np.int64),
            {numbers[key]: rows for key, rows in train_rows.items()},
            {key: sorted(near, key=lambda other, near=near: (near[other], other)) for key, near in closeness.items()},
            self.is_one_table,
        )

    def _match(self, bench_row: int, train_row: int) -> Match:
        own, other = (
            {name: keys[row] for name, keys in table.keys.items()}
            for table, row in ((self.bench, bench_row), (self.train, train_row))
        )
        index = jaccard(shingles(own["near_caption"]), shingles(other["near_caption"]))
        num_bits = (own["near_image"] ^ other["near_image"]).bit_count() if own["near_image"] is not None else None
        holds = {name: own[name] == other[name] and own[name] not in (None, "") for name in self.criteria}
        holds["near_caption"] = holds["same_caption"] or index >= self.min_jaccard
        if num_bits is not None and "near_image" in holds:
            holds["near_image"] = num_bits <= self.max_phash_distance
        return Match(bench_row, train_row, tuple(name for name, true in holds.items() if true), index, num_bits)


def check_settings(max_phash_distance: int, min_jaccard: float) -> None:
    """Raises ``ConfigurationError`` unless both are in range."""
    if not -1 <= max_phash_distance <= NUM_BITS:
        raise ConfigurationError(f"`max_phash_distance` must be between -1 and 64 bits, got {max_phash_distance}.")
    if not 0 < min_jaccard <= 1:
        raise ConfigurationError(f"`min_jaccard` must be above 0 and at most 1, got {min_jaccard}.")


def _rows_by_key(keys: Iterable[Hashable | None]) -> dict[Hashable, list[int]]:
    rows: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        if key not in (None, ""):
            rows[key].append(row)
    return dict(rows)
