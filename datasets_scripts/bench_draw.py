"""Which rows a benchmark is made of: held out, no two alike, few of each phenotype, the rare ones first.

Rounds: in the first, every phenotype gives one row, the rarest first; in the second another one, and so on until each
has its share or the number is reached. A row counts for every phenotype that it is labelled with. So the first rows of
a draw are themselves a draw of fewer rows.
"""

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from phenolip.datasets_scripts.bench_source import BenchSource
from phenolip.datasets_scripts.contamination import AuditedTable, Contamination, check_settings
from phenolip.datasets_scripts.near_captions import MIN_JACCARD
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology.graph import PhenotypeOntology


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    """How rows are drawn.

    Attributes:
        per_phenotype: Most rows of one phenotype.
        number: Most rows; None takes all that the other settings allow.
        split: Of the pairs; for a build, its other splits count as trained on.
        seed: Which of the possible draws.
        max_phash_distance: Bits of 64 in which the hashes of near images differ; -1 compares files only.
        min_jaccard: Least Jaccard index of near captions, above 0 and at most 1.
    """

    per_phenotype: int = 5
    number: int | None = None
    split: str = "test"
    seed: int = 0
    max_phash_distance: int = 4
    min_jaccard: float = MIN_JACCARD

    def __post_init__(self) -> None:
        for name in ("per_phenotype", "number"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        check_settings(self.max_phash_distance, self.min_jaccard)


@dataclass(frozen=True, slots=True)
class Draw:
    """What was drawn.

    Attributes:
        places: Rows of the source, in the order in which they were drawn.
        labels: Of every row of the source, the phenotypes that it counts for.
        left_out: Why the other rows were not drawn, counted; a row by the first reason that holds.
        num_available: Phenotypes that some row may be drawn for.
    """

    places: list[int]
    labels: list[tuple[str, ...]]
    left_out: dict[str, int]
    num_available: int


def draw(
    source: BenchSource, training: Sequence[AuditedTable], config: DrawConfig, ontology: PhenotypeOntology
) -> Draw:
    """Choose the rows.

    Args:
        source: Rows to draw from.
        training: Tables whose articles, captions and images are left out, beside the source's own other splits.
        config: Settings.
        ontology: Tells phenotypes from other terms.

    Raises:
        DataError: No row can be drawn.
    """
    labels = [
        tuple(hpo_id for hpo_id in candidate.hpo_ids if ontology.is_phenotype(hpo_id))
        for candidate in source.candidates
    ]
    reasons = ["" if ids else "no_phenotype" for ids in labels]
    for row, reason in _trained_on(source, training, config).items():
        reasons[row] = reasons[row] or reason
    thresholds = {"max_phash_distance": config.max_phash_distance, "min_jaccard": config.min_jaccard}
    alike = Contamination(source.table, **thresholds)
    chooser = _Chooser(source, labels, reasons, alike, config)
    places = chooser.choose()
    others = set(range(len(labels))).difference(places)
    counts = Counter(chooser.reasons[row] or "not_needed" for row in others)
    if not places:
        listed = ", ".join(f"{number:,} {reason}" for reason, number in counts.most_common())
        raise DataError(f"No row of {source.name} can be drawn: {listed}.")
    return Draw(places, labels, dict(counts.most_common()), chooser.num_phenotypes)


def _trained_on(source: BenchSource, training: Sequence[AuditedTable], config: DrawConfig) -> dict[int, str]:
    """Rows that share an article, a caption or an image with a training table, and the first way in which they do."""
    thresholds = {"max_phash_distance": config.max_phash_distance, "min_jaccard": config.min_jaccard}
    found: dict[int, str] = {}
    tables = [*([source.elsewhere] if source.elsewhere is not None else []), *training]
    for table in tables:
        shared = Contamination(table, source.table, **thresholds)
        for name, numbers in shared.num_partners.items():
            for row in np.flatnonzero(numbers).tolist():
                found.setdefault(row, f"training_{name}")
    return found


class _Chooser:
    """Takes rows in rounds; `reasons` says of each row why it is no longer to be had."""

    def __init__(
        self,
        source: BenchSource,
        labels: Sequence[tuple[str, ...]],
        reasons: list[str],
        alike: Contamination,
        config: DrawConfig,
    ) -> None:
        self.reasons = reasons
        self._source, self._labels, self._alike, self._config = source, labels, alike, config
        self._num_taken: Counter[str] = Counter()
        self._taken: dict[int, None] = {}
        rows_of: dict[str, list[int]] = defaultdict(list)
        for row in sorted((row for row in range(len(labels)) if not reasons[row]), key=self._rank_of_row):
            for hpo_id in labels[row]:
                rows_of[hpo_id].append(row)
        rarest_first = sorted(rows_of, key=lambda hpo_id: (len(rows_of[hpo_id]), rank(config.seed, hpo_id)))
        self._queues = {hpo_id: deque(rows_of[hpo_id]) for hpo_id in rarest_first}
        self.num_phenotypes = len(rarest_first)

    def choose(self) -> list[int]:
        """Places of the rows taken, in their order."""
        for turn in range(self._config.per_phenotype):
            for hpo_id in self._queues:
                if len(self._taken) == self._config.number:
                    return [*self._taken]
                if self._num_taken[hpo_id] <= turn:  # else a row of another phenotype was its row of this round
                    self._take_next(hpo_id)
        return [*self._taken]

    def _take_next(self, hpo_id: str) -> None:
        queue = self._queues[hpo_id]
        while queue:
            if self._take(queue.popleft()):
                return

    def _take(self, row: int) -> bool:
        if self.reasons[row] or row in self._taken:
            return False
        if any(self._num_taken[hpo_id] >= self._config.per_phenotype for hpo_id in self._labels[row]):
            self.reasons[row] = "phenotype_has_enough"
            return False
        try:
            self._source.image_bytes(row)
        except DataError:
            self.reasons[row] = "image_cannot_be_used"
            return False
        self._taken[row] = None
        self._num_taken.update(self._labels[row])
        for partner in self._near_copies(row):
            self.reasons[partner] = self.reasons[partner] or "near_copy"
        return True

    def _near_copies(self, row: int) -> Iterator[int]:
        for links in self._alike.links.values():
            yield from links.partners(row)

    def _rank_of_row(self, row: int) -> str:
        """By what the row holds: neither the order of the source nor the rows beside it matter."""
        candidate = self._source.candidates[row]
        return rank(self._config.seed, f"{candidate.image_key}\t{candidate.caption}")


def rank(seed: int, key: str) -> str:
    """Sorts keys in an order that the seed decides."""
    return hashlib.sha256(f"{seed}\t{key}".encode()).hexdigest()
