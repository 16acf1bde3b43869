"""In which order an epoch of Stage 2 takes the rows; consecutive rows form a batch.

Each order is a pure function of (seed, epoch), see `phenolip.train.data`.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from phenolip.ontology.graph import PhenotypeOntology

MEGABATCH = 16  # batches whose rows are sorted by length together


class RowOrder(Protocol):
    """Rows of one epoch; `num_rows` of them in every epoch."""

    num_rows: int

    def __call__(self, epoch: int) -> np.ndarray:
        """(num_rows,) row numbers."""


class ShuffledOrder:
    """Every row once, uniformly shuffled."""

    def __init__(self, num_rows: int, *, seed: int) -> None:
        self.num_rows, self.seed = num_rows, seed

    def __call__(self, epoch: int) -> np.ndarray:
        """(num_rows,) row numbers."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.num_rows)


class BalancedOrder:
    """At most `cap` rows of any phenotype in an epoch, drawn anew each time.

    A row counts for the rarest of its labels; rows without a label are all kept. Without a cap a few frequent
    phenotypes would fill the batches of a large corpus.

    Args:
        hpo_ids: Labels of each row.
        cap: Most rows of one phenotype in an epoch.
        seed: With the epoch, fixes the draw.
    """

    def __init__(self, hpo_ids: Sequence[Sequence[str]], *, cap: int, seed: int) -> None:
        self.cap, self.seed = cap, seed
        owners = rarest_labels(hpo_ids)
        self.unlabelled = np.array([row for row, owner in enumerate(owners) if owner is None], dtype=np.int64)
        self.rows_of = _rows_by_owner(owners)
        self.num_rows = len(self.unlabelled) + sum(min(cap, len(rows)) for rows in self.rows_of)

    def __call__(self, epoch: int) -> np.ndarray:
        """(num_rows,) row numbers."""
        rng = np.random.default_rng([self.seed, epoch])
        drawn = [rng.choice(rows, min(self.cap, len(rows)), replace=False) for rows in self.rows_of]
        return rng.permutation(np.concatenate([self.unlabelled, *drawn]))


class LengthGroupedOrder:
    """Every row once; captions of a batch are about equally long, so that little padding is computed.

    Rows are shuffled, sorted within runs of 16 batches, and the batches shuffled; the rows that do not fill a batch
    come last, of any length. It changes which negatives meet: where texts are encoded in chunks (`chunk_size`) little
    is left to gain.

    Args:
        lengths: Length of each row's caption, in any unit.
        batch_size: Rows of one batch.
        seed: With the epoch, fixes the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, *, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = np.asarray(lengths), batch_size, seed
        self.num_rows = len(self.lengths)

    def __call__(self, epoch: int) -> np.ndarray:
        """(num_rows,) row numbers."""
        rng = np.random.default_rng([self.seed, epoch])
        num_full = self.num_rows // self.batch_size
        # The rest is dropped by the epoch: taken after sorting, it would always be the longest captions.
        rows, rest = np.split(rng.permutation(self.num_rows), [num_full * self.batch_size])
        width = MEGABATCH * self.batch_size
        for start in range(0, len(rows), width):
            run = rows[start : start + width]
            rows[start : start + width] = run[np.argsort(self.lengths[run], kind="stable")]
        batches = rows.reshape(num_full, self.batch_size)
        return np.concatenate([batches[rng.permutation(num_full)].ravel(), rest])


class SiblingOrder:
    """Every row once; a row is followed by rows of sibling phenotypes, so that each batch holds hard negatives.

    Siblings share a parent in the ontology; a group holds one row of each. A row counts for the rarest of its labels.
    Groups stand in random order, so that those that found no sibling are spread over all batches.

    Args:
        hpo_ids: Labels of each row.
        ontology: Source of is_a.
        group_size: Rows that stand together, the first included.
        seed: With the epoch, fixes the order.
    """

    def __init__(
        self, hpo_ids: Sequence[Sequence[str]], ontology: PhenotypeOntology, *, group_size: int, seed: int
    ) -> None:
        self.group_size, self.seed, self.num_rows = group_size, seed, len(hpo_ids)
        self.owners = rarest_labels(hpo_ids)
        self.parents = {owner: ontology.parents(owner) for owner in sorted(set(self.owners) - {None})}
        self.siblings: dict[str, list[str]] = defaultdict(list)  # parent -> its children among the phenotypes
        for owner, parents in self.parents.items():
            for parent in parents:
                self.siblings[parent].append(owner)

    def __call__(self, epoch: int) -> np.ndarray:
        """(num_rows,) row numbers."""
        rng = np.random.default_rng([self.seed, epoch])
        queue = rng.permutation(self.num_rows).tolist()
        waiting: dict[str | None, list[int]] = defaultdict(list)
        for row in queue:
            waiting[self.owners[row]].append(row)
        turns = {parent: deque(rng.permutation(owners).tolist()) for parent, owners in self.siblings.items()}
        used = np.zeros(self.num_rows, dtype=bool)
        groups = []
        for row in queue:
            if not used[row]:
                used[row] = True
                groups.append([row, *self._siblings(self.owners[row], waiting, turns, used)])
        return np.array([row for place in rng.permutation(len(groups)) for row in groups[place]])

    def _siblings(
        self, owner: str | None, waiting: dict[str | None, list[int]], turns: dict[str, deque[str]], used: np.ndarray
    ) -> list[int]:
        """Up to `group_size` - 1 free rows, one of each phenotype whose turn it is; marks them as used."""
        found: dict[str | None, int] = {}
        for parent in self.parents.get(owner, ()):
            turn = turns[parent]
            for _ in range(len(turn)):
                if len(found) == self.group_size - 1:
                    return list(found.values())
                sibling = turn.popleft()
                rows = waiting[sibling]
                while rows and used[rows[-1]]:
                    rows.pop()
                if not rows:
                    continue  # all used: it has no further turn
                turn.append(sibling)
                if sibling != owner and sibling not in found:
                    found[sibling] = rows.pop()
                    used[found[sibling]] = True
        return list(found.values())


def rarest_labels(hpo_ids: Sequence[Sequence[str]]) -> list[str | None]:
    """For each row its label with the fewest rows, of equally rare ones the first by id; None without a label."""
    count = Counter(hpo_id for row in hpo_ids for hpo_id in set(row))
    return [min(row, key=lambda hpo_id: (count[hpo_id], hpo_id)) if row else None for row in hpo_ids]


def _rows_by_owner(owners: Sequence[str | None]) -> list[np.ndarray]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, owner in enumerate(owners):
        if owner is not None:
            rows[owner].append(row)
    return [np.array(rows[owner]) for owner in sorted(rows)]
