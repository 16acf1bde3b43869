"""Captions without the names of their labels: what is left for retrieval when words alone cannot match."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs
from phenolip.ontology.graph import PhenotypeOntology

EMPTY = "image"  # stands for a caption that held nothing else
_ABBREVIATION = 3  # wordings up to so many letters count in their own case alone, since "ALL" is no "all"


@dataclass(frozen=True, slots=True)
class MaskedCaptions:
    """Captions with the wordings of their own labels taken out.

    Attributes:
        captions: N captions.
        named: (N,) bool, whether a name or synonym of one of the row's labels stood there, as whole words.
        spelled: (N,) bool, whether the name of a label stood there letter by letter, inside other words too.
    """

    captions: tuple[str, ...]
    named: NDArray
    spelled: NDArray


def mask_captions(pairs: EvaluationPairs, ontology: PhenotypeOntology) -> MaskedCaptions:
    """Takes the name and every synonym of a row's labels out of its caption.

    Whole words in any case, a plural s and other separators between the words included. Names of other phenotypes
    stay, and so does a name inside another word ("canal stenosis" does not name Anal stenosis).

    Args:
        pairs: The pairs.
        ontology: Wordings of the labels.
    """
    texts = [_texts(ontology, hpo_id, name) for hpo_id, name in _named(pairs)]
    captions, named, spelled = [], [], []
    for caption, labels in zip(pairs.captions, pairs.labels, strict=True):
        wordings = tuple(text for label in labels for text in texts[label])
        masked = mask_wordings(caption, wordings)
        captions.append(masked)
        named.append(masked != caption)
        spelled.append(any(pairs.candidate_names[label].casefold() in caption.casefold() for label in labels))
    return MaskedCaptions(tuple(captions), np.array(named, bool), np.array(spelled, bool))


def mask_wordings(text: str, wordings: Sequence[str]) -> str:
    """The text without the wordings; as it was where it holds none.

    Example:
        >>> mask_wordings("Bilateral  cataracts, and ALL.", ["Cataract", "ALL"])
        'Bilateral , and .'
        >>> mask_wordings("For all canals.", ["Canal stenosis", "ALL"])
        'For all canals.'
    """
    masked = text
    for pattern in _patterns(tuple(wordings)):
        masked = pattern.sub(" ", masked)
    if masked == text:
        return text
    masked = " ".join(masked.split())
    return masked if re.search(r"\w", masked) else EMPTY


@lru_cache(maxsize=1024)
def _patterns(wordings: tuple[str, ...]) -> tuple[re.Pattern, ...]:
    short = {text for text in wordings if len(text) <= _ABBREVIATION}
    kinds = ((set(wordings) - short, re.IGNORECASE), (short, re.NOFLAG))
    return tuple(re.compile(_alternatives(texts), flags) for texts, flags in kinds if _alternatives(texts))


def _alternatives(texts: set[str]) -> str:
    # Longest first, so that no name leaves the rest of a longer one behind; gaps are bounded, so matching is linear.
    worded = sorted((re.findall(r"\w+", text) for text in texts), key=lambda words: (-len(words), words))
    forms = ["[\\W_]{1,3}".join(map(re.escape, words)) for words in worded if words]
    return rf"(?<!\w)(?:{'|'.join(forms)})(?:e?s)?(?!\w)" if forms else ""


def _named(pairs: EvaluationPairs) -> list[tuple[str, str]]:
    return list(zip(pairs.candidate_ids, pairs.candidate_names, strict=True))


def _texts(ontology: PhenotypeOntology, hpo_id: str, name: str) -> tuple[str, ...]:
    synonyms = (synonym.text for synonym in ontology[hpo_id].synonyms) if hpo_id in ontology else ()
    return (name, *synonyms)
