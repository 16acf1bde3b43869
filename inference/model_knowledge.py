"""The knowledge book that a model was trained with, and the texts for which it stands."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from phenolip.inference.candidates import model_file
from phenolip.ontology.finding_template import compose
from phenolip.ontology.knowledge_book import KnowledgeBook
from phenolip.ontology.knowledge_file import KNOWLEDGE_FILE, read_knowledge

if TYPE_CHECKING:
    from phenolip.inference.encoder import Encoder


def model_knowledge(model: str | Path) -> KnowledgeBook | None:
    """The book in a model's folder or Hub repository; None where the model was trained without one.

    Raises:
        DataError: The file is damaged, was changed, or is of another version of the template.
    """
    path = model_file(model, KNOWLEDGE_FILE)
    return None if path is None else read_knowledge(path)


def candidate_texts(encoder: "Encoder", candidates: Mapping[str, str]) -> list[str]:
    """The texts of phenotypes as the model met them in training, in the prompt of its processor.

    With a knowledge book beside the model that is the name and what it is, "Pleural effusion, where ... is ...", cut
    to the tokens that the model reads; else, and for phenotypes that the book does not have, the name.

    Args:
        encoder: The model.
        candidates: Phenotype id -> name.
    """
    texts = list(candidates.values())
    if encoder.knowledge is not None:
        texts = [finding_text(encoder, name, hpo_id=hpo_id) for hpo_id, name in candidates.items()]
    return [encoder.prompt_template.replace("{}", text) for text in texts]


def finding_text(
    encoder: "Encoder",
    category: str,
    *,
    hpo_id: str | None = None,
    severity: str | None = None,
    location: str | None = None,
) -> str:
    """The text of a finding as the model met it in training, without its processor's prompt.

    Args:
        encoder: The model.
        category: Name of the finding.
        hpo_id: Its term, if it is known.
        severity: How severe it is.
        location: Where it is.
    """
    if encoder.knowledge is None:
        return compose(severity, location, category)

    def count_tokens(text: str) -> int:
        return len(encoder.tokenizer(encoder.prompt_template.replace("{}", text))["input_ids"])

    return encoder.knowledge.prompt(
        category,
        hpo_id=hpo_id,
        severity=severity,
        location=location,
        max_tokens=encoder.max_length,
        count_tokens=count_tokens,
    )
