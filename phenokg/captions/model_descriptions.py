"""Descriptions by a language model, and what remains of them when every claim needs a source."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from phenolip.ontology import PhenotypeOntology
from phenolip.phenokg.backends.chat import Conversation, Failure
from phenolip.phenokg.captions.extractive_descriptions import describe, modality_of, subcaption_of
from phenolip.phenokg.captions.grounding import Grounding
from phenolip.phenokg.captions.refined_records import (
    CaptionToRefine,
    DroppedClaim,
    GroundedPhenotype,
    RefinedCaption,
    Source,
)
from phenolip.phenokg.captions.sentences import estimated_tokens, sentences, within_budget
from phenolip.phenokg.link_phenotypes import PhenotypeLinker
from phenolip.phenokg.prompt_files import load_prompt
from phenolip.phenokg.records import Modality

PROMPT = "refine_caption"
_SOURCES: tuple[Source, ...] = ("subcaption", "caption", "context")
_MAX_PHENOTYPES = 50  # of an answer


class DescribedImage(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a model says of a subfigure.

    Attributes:
        description: Sentences.
        modality: One of the eight.
        phenotypes: Names of abnormal findings.
    """

    description: str
    modality: Modality
    phenotypes: list[str]


def question(record: CaptionToRefine, context_tokens: int) -> Conversation:
    """The prompt with a record's texts as data; of the context what fits.

    Args:
        record: What the article says.
        context_tokens: For paragraphs and abstract together, estimated.
    """
    *paragraphs, abstract = context_of(record, context_tokens)
    data = {
        "own_text": subcaption_of(record),
        "caption": record.caption,
        "paragraphs": paragraphs,
        "abstract": abstract,
    }
    return load_prompt(PROMPT).conversation(data)


def context_of(record: CaptionToRefine, context_tokens: int) -> list[str]:
    """As many sentences of the citing paragraphs as fit, then of the abstract, which is last and may be empty."""
    context, left = [], context_tokens
    for text in record.paragraphs:
        if kept := within_budget(text, left):
            context.append(kept)
            left -= estimated_tokens(kept)
    return [*context, within_budget(record.abstract, left)]


class GroundedDescriber:
    """Turns a model's answers into records of what their sources support.

    Args:
        linker: Finds phenotypes.
        ontology: The linker's release.
        context_tokens: As for `question`.
        min_support: As for `Grounding`.
    """

    def __init__(
        self, linker: PhenotypeLinker, ontology: PhenotypeOntology, context_tokens: int, min_support: float
    ) -> None:
        self._linker, self._ontology = linker, ontology
        self._context_tokens, self._min_support = context_tokens, min_support

    def describe(self, record: CaptionToRefine, answer: DescribedImage | Failure, model_id: str) -> RefinedCaption:
        """The record of an answer; the extractive one if there is no answer, or nothing is left of it."""
        if isinstance(answer, Failure):
            return self._extractive(record, model_id, answer.reason)
        context = context_of(record, self._context_tokens)
        sources = [subcaption_of(record), record.caption, "\n\n".join(context)]
        grounding = Grounding(sources, self._linker, self._min_support)
        kept, dropped = [], []
        for sentence in sentences(answer.description):
            problem = grounding.problem(sentence)
            kept += [] if problem else [sentence]
            dropped += [DroppedClaim(sentence, problem)] if problem else []
        phenotypes, unsupported = self._phenotypes([" ".join(kept), *answer.phenotypes[:_MAX_PHENOTYPES]], grounding)
        dropped += unsupported
        if not kept:
            return self._extractive(record, model_id, "nothing_grounded", dropped)
        modality, words = self._modality(record, answer.modality, grounding, dropped)
        return RefinedCaption(
            key=record.key,
            description=" ".join(kept),
            modality=modality,
            modality_words=words,
            phenotypes=phenotypes,
            dropped_claims=tuple(dropped),
            method="model",
            caption=sources[0],
            model=model_id,
            prompt=load_prompt(PROMPT).id,
        )

    def _modality(
        self, record: CaptionToRefine, guess: Modality, grounding: Grounding, dropped: list[DroppedClaim]
    ) -> tuple[str, str]:
        """The modality and the words for it: the subcaption's own, else the model's unless the sources name others."""
        words = modality_of(record)
        if words and words.place < 2:
            return words.modality, words.surface
        if grounding.modalities and guess not in grounding.modalities:
            dropped.append(DroppedClaim(guess, "new_modality"))
            return "", ""
        return guess, ""

    def _extractive(
        self, record: CaptionToRefine, model_id: str, failure: str, dropped: Sequence[DroppedClaim] = ()
    ) -> RefinedCaption:
        made = describe(record, self._linker, failure)
        asked = {"dropped_claims": tuple(dropped), "model": model_id, "prompt": load_prompt(PROMPT).id}
        return replace(made, **asked)

    def _phenotypes(
        self, texts: Sequence[str], grounding: Grounding
    ) -> tuple[tuple[GroundedPhenotype, ...], list[DroppedClaim]]:
        """What the description and the names link to and a source has; names that do neither are dropped claims."""
        found: dict[str, GroundedPhenotype] = {}
        dropped = []
        for number, text in enumerate(texts):
            links = [link for link in self._linker.link(text) if link.assertion in ("present", "uncertain")]
            supported = [support for link in links if (support := self._support(link.hpo_id, grounding))]
            for each in supported:
                found.setdefault(each.hpo_id, each)
            if number and not supported:
                dropped.append(DroppedClaim(text[:200], "new_phenotype"))
        return tuple(found.values()), dropped

    def _support(self, hpo_id: str, grounding: Grounding) -> GroundedPhenotype | None:
        """The phenotype as the nearest source has it: itself, or what is more specific."""
        found = grounding.support(hpo_id, self._ontology.descendants(hpo_id))
        if found is None:
            return None
        place, link = found
        return GroundedPhenotype(link.hpo_id, link.name, link.surface, _SOURCES[place], link.assertion, link.score)
