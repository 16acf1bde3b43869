"""Duplicates out, and the rest into train, validation and test: by article, never by figure.

The one step that looks at all pairs together; `plan` holds their hashes and ids in memory, nothing else.

- The same image file, and the same perceptual hash under the same caption, are kept once: the pair with the lowest
  article and figure id.
- Articles that share an image (file or perceptual hash), a caption, a PMC id or a DOI, directly or through others, go
  into one split. Perceptual hashes must be equal here, which near copies mostly are; `phenolip audit` looks wider.
- Which split a group gets depends on the lowest id of its articles alone: more articles leave the others where they
  are, unless they join groups.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.records import Drop, FigurePair

STEP = "split_pairs"
VERSION = 1
SPLITS = ("train", "validation", "test")
#: Columns that `plan` reads.
KEYS = ("article_id", "figure_id", "subfigure_id", "pmcid", "doi", "sha256", "phash", "caption_sha256")
_SHARED = ("sha256", "phash", "caption_sha256", "pmcid", "doi")  # what puts articles into one split
_DETAILS = {
    "duplicate_id": "{} comes more than once.",
    "duplicate_image": "Its image file is that of {}.",
    "near_duplicate": "Its image looks like that of {}, and the captions are the same.",
}


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How pairs are split.

    Attributes:
        validation_fraction: Share of the groups of articles for validation, 0 to 1.
        test_fraction: Share for the test, 0 to 1.
        seed: Which of the possible splits.
        drop_duplicates: Keep one of pairs with the same image.
    """

    validation_fraction: float = 0.05
    test_fraction: float = 0.05
    seed: int = 0
    drop_duplicates: bool = True

    def __post_init__(self) -> None:
        for name in ("validation_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"`{name}` must be from 0 to 1, got {getattr(self, name)}.")
        if self.validation_fraction + self.test_fraction > 1:
            total = self.validation_fraction + self.test_fraction
            raise ConfigurationError(f"`validation_fraction` and `test_fraction` must be 1 at most, got {total:g}.")


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """What becomes of each pair.

    Attributes:
        splits: Place in `SPLITS`; -1 for a pair that is dropped. Shape (N,), int8.
        drops: In the order of the pairs.
    """

    splits: NDArray[np.int8]
    drops: tuple[Drop, ...]


def run(records: Iterable[FigurePair], config: SplitConfig) -> Iterator[FigurePair | Drop]:
    """The pairs that are kept, with their split, and the Drops behind them; all pairs are in memory meanwhile."""
    pairs = list(records)
    columns = {name: pa.array([getattr(pair, name) for pair in pairs], pa.string()) for name in KEYS}
    planned = plan(pa.table(columns), config)
    for pair, split in zip(pairs, planned.splits, strict=True):
        if split >= 0:
            yield replace(pair, split=SPLITS[split])
    yield from planned.drops


def plan(keys: pa.Table, config: SplitConfig) -> SplitPlan:
    """Decides over all pairs.

    Args:
        keys: A row a pair, with the columns `KEYS`.
        config: Settings.
    """
    if len(keys) == 0:
        return SplitPlan(np.zeros(0, np.int8), ())
    articles = _codes(keys["article_id"])
    splits = _split_of_articles(keys, articles, config)[articles]
    drops = _find_duplicates(keys, config.drop_duplicates)
    splits[list(drops)] = -1
    return SplitPlan(splits, tuple(drops[row] for row in sorted(drops)))


def _find_duplicates(keys: pa.Table, of_images: bool) -> dict[int, Drop]:
    """Drops by row; a pair counts as the duplicate of the first one that is kept."""
    ids = [_codes(keys[name]) for name in ("article_id", "figure_id", "subfigure_id")]
    same = {"duplicate_id": ids}
    if of_images:
        same["duplicate_image"] = [_codes(keys["sha256"]), ids[2]]  # subfigures of one file are no duplicates
        same["near_duplicate"] = [_codes(keys["phash"]), _codes(keys["caption_sha256"]), ids[2]]
    order = pc.sort_indices(keys, [(name, "ascending") for name in ("article_id", "figure_id", "subfigure_id")])
    alive = order.to_numpy()
    drops: dict[int, Drop] = {}
    for reason, columns in same.items():
        _, first, inverse = np.unique(_joined(columns)[alive], return_index=True, return_inverse=True)
        twins = first[inverse]  # (alive,): place of the first of each row's kind
        is_first = twins == np.arange(len(alive))
        for place in np.flatnonzero(~is_first):
            detail = _DETAILS[reason].format(_key(keys, alive[twins[place]]))
            drops[int(alive[place])] = Drop(STEP, _key(keys, alive[place]), reason, detail)
        alive = alive[is_first]
    return drops


def _split_of_articles(keys: pa.Table, articles: NDArray[np.int64], config: SplitConfig) -> NDArray[np.int8]:
    """Place in `SPLITS` of each article, by its code; articles that share something are one component."""
    num_articles = int(articles.max()) + 1
    ends, num_nodes = [], num_articles
    for name in _SHARED:
        codes = _codes(keys[name])
        known = codes >= 0
        ends.append((articles[known], codes[known] + num_nodes))
        num_nodes += int(codes.max()) + 1
    rows, columns = (np.concatenate(side) for side in zip(*ends, strict=True))
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(num_nodes, num_nodes))
    components = connected_components(graph, directed=False)[1][:num_articles]
    names = _values(keys["article_id"])
    lowest: dict[int, str] = {}
    for component, name in zip(components.tolist(), names, strict=True):
        lowest[component] = min(name, lowest.get(component, name))
    drawn = {component: _draw(name, config) for component, name in lowest.items()}
    return np.array([drawn[component] for component in components.tolist()], np.int8)


def _draw(name: str, config: SplitConfig) -> int:
    """Place in `SPLITS`, by a number from 0 to 1 that the name decides."""
    digest = hashlib.sha256(f"{config.seed}\t{name}".encode()).digest()
    number = int.from_bytes(digest[:8], "big") / 2**64
    if number < config.test_fraction:
        return SPLITS.index("test")
    return SPLITS.index("validation" if number < config.test_fraction + config.validation_fraction else "train")


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number for each value, from 0 by first appearance; -1 for null."""
    indices = pc.dictionary_encode(column.combine_chunks()).indices
    return pc.fill_null(indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def _joined(columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """One number for each combination of codes; those of ten million pairs fit."""
    joined = np.zeros(len(columns[0]), np.int64)
    for codes in columns:
        joined = joined * (int(codes.max()) + 2) + codes + 1
    return joined


def _values(column: pa.ChunkedArray) -> list[str]:
    return pc.dictionary_encode(column.combine_chunks()).dictionary.to_pylist()


def _key(keys: pa.Table, row: int) -> str:
    names = [keys[name][int(row)].as_py() for name in ("article_id", "figure_id", "subfigure_id")]
    return "/".join(name for name in names if name is not None)
