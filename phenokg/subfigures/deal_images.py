"""Which images share a compound figure: at random, those of one group apart wherever that is possible."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np


def assign_to_figures(groups: Sequence[object], sizes: Sequence[int], rng: np.random.Generator) -> list[list[int]]:
    """Rows of each figure, at random, without two of one group in a figure wherever that is possible.

    Groups of several rows are dealt first, over figures drawn in proportion to their free places. Should that end in
    a clash, each group goes to the figures with most room, which finds an assignment without clashes if there is one
    (the construction of Ryser, 1957).
    """
    members: dict[object, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[group].append(row)
    several = sorted((rows for rows in members.values() if len(rows) > 1), key=len, reverse=True)
    single = [rows[0] for rows in members.values() if len(rows) == 1]
    for by_room in (False, True):
        figures, is_clean = _deal(several, sizes, rng, by_room)
        if is_clean:
            break
    rest = iter(rng.permutation(single).tolist())
    return [[*rows, *(next(rest) for _ in range(size - len(rows)))] for rows, size in zip(figures, sizes, strict=True)]


def _deal(
    several: list[list[int]], sizes: Sequence[int], rng: np.random.Generator, by_room: bool
) -> tuple[list[list[int]], bool]:
    free = np.array(sizes)
    figures: list[list[int]] = [[] for _ in sizes]
    is_clean = True
    for rows in several:
        waiting = rng.permutation(rows).tolist()
        while waiting:
            with_room = np.flatnonzero(free)
            chance = rng.random(len(with_room))
            # smallest of -log(u) / weight: sampling without replacement of Efraimidis and Spirakis, 2006
            rank = np.lexsort((chance, -free[with_room])) if by_room else np.argsort(-np.log(chance) / free[with_room])
            for figure in with_room[rank[: len(waiting)]]:
                figures[figure].append(waiting.pop())
                free[figure] -= 1
            is_clean = is_clean and not waiting
    return figures, is_clean
