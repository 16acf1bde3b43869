"""Embeddings of phenotypes from what the ontology says of them: name, synonyms, definition, in prompts."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.text import knowledge_texts

# The name counts as much as all other texts together, however many synonyms there are. Ours: a term's synonyms are a
# few wordings of one thing, and a definition speaks of more than what an image shows. docs/inference.md: the choice.
TEXT_WEIGHTS = {"name": 1.0, "synonyms": 0.5, "definition": 0.5}
NAME_ONLY = ("name",)
_KINDS = {"name": "name", "synonym": "synonyms", "definition": "definition"}


def term_texts(
    ontology: PhenotypeOntology, hpo_id: str, texts: Collection[str] = tuple(TEXT_WEIGHTS)
) -> dict[str, tuple[str, ...]]:
    """The texts of a term by kind, kinds that it lacks left out; a wording that repeats another but for case is once.

    Synonyms are those of scope EXACT, the held-out tenth of the knowledge task included: that tenth is kept from
    training so that a test is fair, and here nothing is trained or tested on synonyms.

    Args:
        ontology: The release.
        hpo_id: The term.
        texts: Kinds to use, of ``name``, ``synonyms`` and ``definition``.

    Raises:
        ConfigurationError: A kind is unknown, or ``name`` is not among them.
        UnknownTermError: The id is in no term.

    Example:
        >>> from phenolip.ontology import PhenotypeTerm, Synonym
        >>> eye = PhenotypeTerm("HP:0000118", "Abnormality", synonyms=(Synonym("Anomaly", "EXACT"),))
        >>> term_texts(PhenotypeOntology([eye], release="2000-01-01"), eye.id)
        {'name': ('Abnormality',), 'synonyms': ('Anomaly',)}
    """
    wanted = check_texts(texts)
    found: dict[str, list[str]] = {kind: [] for kind in wanted}
    for knowledge in knowledge_texts(ontology, hpo_id):
        kind = _KINDS.get(knowledge.kind)
        if kind in found:
            found[kind].append(knowledge.text)
    return {kind: tuple(wordings) for kind, wordings in found.items() if wordings}


def embed_terms(
    encode_texts: Callable[[Sequence[str]], NDArray],
    ontology: PhenotypeOntology,
    hpo_ids: Sequence[str],
    *,
    texts: Collection[str] = NAME_ONLY,
    prompts: Sequence[str] = ("{}",),
    weights: Mapping[str, float] = TEXT_WEIGHTS,
) -> NDArray:
    """Unit-norm embeddings of terms from their texts in prompts.

    A name or synonym is embedded as the mean over the prompts, the synonyms of a term as the mean of theirs, and the
    term as the unit-norm weighted sum of the kinds it has. A definition is a sentence of its own
    and is encoded bare. With the name alone this is the usual prompt ensemble (Radford et al. 2021, 3.1.4); synonyms,
    definitions and the weights are ours.

    Args:
        encode_texts: Texts to unit-norm rows.
        ontology: The release that the texts come from.
        hpo_ids: P terms.
        texts: Kinds to use, of ``name``, ``synonyms`` and ``definition``; ``name`` must be among them.
        prompts: Templates, each with one ``{}``.
        weights: What each kind counts, above 0.

    Shapes (P terms, D width): returns (P, D), float32.

    Raises:
        ConfigurationError: A kind is unknown, or ``name`` is not among them.
        DataError: There is no term.
        UnknownTermError: An id is in no term.
    """
    if not len(hpo_ids):
        raise DataError("`hpo_ids` must name at least one phenotype, got none.")
    per_term = [term_texts(ontology, hpo_id, texts) for hpo_id in hpo_ids]
    written: list[str] = []  # every text to encode, in order; a row of `entries` each
    entries: list[tuple[int, float]] = []  # the term that it speaks for, and how much it counts
    for row, kinds in enumerate(per_term):
        for kind, wordings in kinds.items():
            templates = ("{}",) if kind == "definition" else prompts
            weight = weights[kind] / (len(wordings) * len(templates))
            written += [template.replace("{}", wording) for wording in wordings for template in templates]
            entries += [(row, weight)] * (len(wordings) * len(templates))
    embeds = np.asarray(encode_texts(written))
    owners, weights = zip(*entries, strict=True)
    starts = np.searchsorted(owners, np.arange(len(per_term)))  # owners ascend, and every term has its name
    sums = np.add.reduceat(embeds * np.array(weights, np.float32)[:, None], starts, axis=0)
    return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


def check_texts(texts: Collection[str]) -> tuple[str, ...]:
    """The kinds in the order of `TEXT_WEIGHTS`, once each is known and ``name`` is among them.

    Raises:
        ConfigurationError: A kind is unknown, or ``name`` is missing.
    """
    kinds = tuple(TEXT_WEIGHTS)
    if isinstance(texts, str) or not isinstance(texts, Collection) or any(kind not in kinds for kind in texts):
        raise ConfigurationError(f"`texts` must be a list of {', '.join(kinds)}, got {texts!r}.")
    if "name" not in texts:  # synonyms and definitions exist for some terms only
        raise ConfigurationError(f"`texts` must hold 'name', the one text that every term has, got {list(texts)}.")
    return tuple(kind for kind in kinds if kind in texts)
