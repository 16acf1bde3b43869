"""The best candidates of a few queries drawn at random, in each direction, for pages that a person looks at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, SupportsEncoding
from phenolip.eval.evaluators.retrieval import matching_pairs, transpose

NUM_QUERIES, NUM_HITS = 8, 6


@dataclass(frozen=True, slots=True)
class QueryHits:
    """One query.

    Attributes:
        query: Row of the pair, or of the phenotype among the candidates.
        candidates: Rows of the best candidates, best first; of equal images or captions the first alone.
        cosines: Their cosines.
        right: Whether each is a right answer.
        rank: Rank of the first right answer among the candidates shown once each, from 1.
    """

    query: int
    candidates: tuple[int, ...]
    cosines: tuple[float, ...]
    right: tuple[bool, ...]
    rank: int


@dataclass(frozen=True, slots=True)
class DirectionHits:
    """One direction: "i2t", "t2i", "i2p" or "p2i", and its queries."""

    direction: str
    queries: tuple[QueryHits, ...]


def best_hits(pairs: EvaluationPairs, encoder: SupportsEncoding, *, seed: int = 0) -> list[DirectionHits]:
    """Best hits of queries drawn at random, none picked by hand; phenotypes only where there are labels."""
    images, captions = pairs.embed_images(encoder), encoder.encode_texts(pairs.captions)
    matches = matching_pairs(pairs.caption_codes, pairs.image_codes)
    sides = [
        ("i2t", images, captions, matches, pairs.caption_codes),
        ("t2i", captions, images, matches, pairs.image_codes),
    ]
    if any(len(row) for row in pairs.labels):
        names = encoder.encode_texts(pairs.candidate_names)
        sides.append(("i2p", images, names, pairs.labels, np.arange(len(names))))
        sides.append(("p2i", names, images, transpose(pairs.labels, len(names)), pairs.image_codes))
    found = []
    for direction, queries, candidates, relevant, codes in sides:
        rows = _drawn(relevant, seed)
        hits = (_hits(row, candidates @ queries[row], relevant[row], codes) for row in rows)
        found.append(DirectionHits(direction, tuple(hits)))
    return found


def _drawn(relevant: Sequence[NDArray], seed: int) -> list[int]:
    asked = [row for row, answers in enumerate(relevant) if len(answers)]
    return np.random.default_rng(seed).permutation(asked)[:NUM_QUERIES].tolist()


def _hits(query: int, cosines: NDArray, answers: NDArray, codes: NDArray) -> QueryHits:
    order = np.argsort(-cosines, kind="stable")
    _, firsts = np.unique(codes[order], return_index=True)
    order = order[np.sort(firsts)]  # each image or caption once
    right_codes = set(codes[answers].tolist())
    right = np.array([int(codes[row]) in right_codes for row in order])
    best = order[:NUM_HITS]
    return QueryHits(
        query,
        tuple(best.tolist()),
        tuple(cosines[best].tolist()),
        tuple(right[:NUM_HITS].tolist()),
        int(right.argmax()) + 1,
    )
