"""The one sentence by which training, targets and inference write a finding; MedFILIP's template, arXiv 2501.10775.

Severity, location and name, then ", where {name} is {explanation}."; what is empty is left out.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from phenolip.exceptions import ConfigurationError
from phenolip.ontology.explanations import as_predicate, shorten

#: Rises with any change that can change a text; stored beside a model.
TEMPLATE_VERSION = 1
_PLACEHOLDERS = frozenset({"", "-", "na", "n/a", "none", "null", "mask", "unknown"})
_SIDES = frozenset({"left", "right", "bilateral", "unilateral"})


class FindingSlots(NamedTuple):
    """What the template is filled with.

    Attributes:
        severity: "mild"; None or empty if it is not said.
        location: "left lower lobe"; None or empty if it is not said.
        name: The finding.
        explanation: What the finding is or looks like; None or empty if nothing is known.
    """

    severity: str | None
    location: str | None
    name: str
    explanation: str | None = None


def count_words(text: str) -> int:
    """Words between blanks: the default measure of a text's length."""
    return len(text.split())


def compose(
    severity: str | None,
    location: str | None,
    name: str,
    explanation: str | None = None,
    *,
    max_tokens: int | None = None,
    count_tokens: Callable[[str], int] = count_words,
) -> str:
    """A finding as one text.

    The explanation is shortened, at a sentence if one fits and at a word otherwise, until the whole text does fit;
    severity, location and name are never cut, even where they alone exceed the limit. A slot that the name says
    already is not said again ("mild" of "Mild myopia"; "left" of "Left atrial enlargement"). Placeholders such as
    "NA" and "none" count as empty.

    Args:
        severity: How severe it is.
        location: Where it is.
        name: What it is called; stays as it is written.
        explanation: What it is: a noun phrase, or a definition, which is made one.
        max_tokens: Longest text in the unit of `count_tokens`; None for no limit.
        count_tokens: Length of a text, such as ``lambda text: len(tokenizer(text).input_ids)``.

    Raises:
        ConfigurationError: The name is empty, or the limit is below 1.

    Example:
        >>> compose("mild", "left", "pleural effusion", "Fluid between lung and chest wall.")
        'mild left pleural effusion, where pleural effusion is fluid between lung and chest wall.'
        >>> compose(None, "", "pneumothorax")
        'pneumothorax'
    """
    name = " ".join(name.split())
    if not name:
        raise ConfigurationError("`name` must hold at least one word, got none.")
    if max_tokens is not None and max_tokens < 1:
        raise ConfigurationError(f"`max_tokens` must be at least 1, got {max_tokens}.")
    triplet = " ".join(filter(None, (_severity(severity, name), _location(location, name), name)))
    predicate = as_predicate(explanation or "", name)

    def whole(text: str) -> str:
        return f"{triplet}, where {name} is {text.rstrip(' .;:,')}."

    if predicate and max_tokens is not None:
        predicate = shorten(predicate, lambda part: bool(part) and count_tokens(whole(part)) <= max_tokens)
    return whole(predicate) if predicate else triplet


def mask_slots(slots: FindingSlots, probability: float, rng: np.random.Generator) -> FindingSlots:
    """The slots with each of severity, location and explanation left out by chance, independently; for training.

    A model that meets bare names in training knows the prompts that ask for a category alone. Three numbers are drawn
    whatever the slots hold, so that a generator gives every finding after this one the same.

    Args:
        slots: What is known.
        probability: Chance that a slot is left out, 0 to 1.
        rng: Seeded by the caller.

    Raises:
        ConfigurationError: The probability is not between 0 and 1.
    """
    if not 0 <= probability <= 1:
        raise ConfigurationError(f"`probability` must be from 0 to 1, got {probability}.")
    severity, location, explanation = rng.random(3) >= probability
    return FindingSlots(
        slots.severity if severity else None,
        slots.location if location else None,
        slots.name,
        slots.explanation if explanation else None,
    )


def _severity(text: str | None, name: str) -> str:
    text = _filled(text)
    return "" if _says(name, text) else text


def _location(text: str | None, name: str) -> str:
    """The places that the name does not hold, without sides that it holds: "left lower lobe and right apex"."""
    places = []
    for place in _filled(text).split(" and "):
        side, _, rest = place.partition(" ")
        if side.lower() in _SIDES and rest and _says(name, side):
            place = rest
        if place and not _says(name, place):
            places.append(place)
    return " and ".join(places)


def _filled(text: str | None) -> str:
    text = " ".join((text or "").split())
    return "" if text.lower() in _PLACEHOLDERS else text


def _says(name: str, text: str) -> bool:
    return not text or re.search(rf"(?<!\w){re.escape(text)}(?!\w)", name, re.IGNORECASE) is not None
