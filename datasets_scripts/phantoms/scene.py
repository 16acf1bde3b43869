"""What a scene is: the signs that it can show and the function that draws them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image


@dataclass(frozen=True, slots=True)
class Sign:
    """One HPO term as a scene shows it.

    Args:
        id: "HP:" plus seven digits.
        name: the name of the term in the ontology.
        synonyms: some of its EXACT synonyms, those that a report would use.
    """

    id: str
    name: str
    synonyms: tuple[str, ...] = ()


class Drawing(NamedTuple):
    """A drawn image, a noun phrase for what it is, such as "photograph of a left hand", and where its signs are.

    `regions` has the boxes (x0, y0, x1, y1) of each shown sign in pixels of the image, origin top left.
    """

    image: Image.Image
    view: str
    regions: dict[str, list[tuple[float, float, float, float]]] = {}


@dataclass(frozen=True, slots=True)
class Scene:
    """A body part or specimen in one modality.

    Args:
        name: the module's name.
        signs: the terms that can be drawn.
        draw: `draw(rng, shown, size)` draws the signs whose ids are in `shown`, and no other sign.
        exclusive: groups of ids of which one image shows at most one.
    """

    name: str
    signs: tuple[Sign, ...]
    draw: Callable[[np.random.Generator, frozenset[str], int], Drawing]
    exclusive: tuple[frozenset[str], ...] = ()

    def compatible(self, hpo_id: str, shown: frozenset[str]) -> bool:
        """Whether a sign can join those already shown."""
        return hpo_id not in shown and not any(hpo_id in group and group & shown for group in self.exclusive)
