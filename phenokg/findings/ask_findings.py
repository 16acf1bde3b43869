"""Findings of texts by a language model: a versioned prompt, answers of a schema, slots brought to our words."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import yaml

from phenolip.phenokg.backends.answer_cache import AnswerCache
from phenolip.phenokg.backends.ask import ask
from phenolip.phenokg.backends.chat import ChatModel, Conversation, Failure, Message
from phenolip.phenokg.findings.brace_findings import Slots
from phenolip.phenokg.findings.finding_records import Finding
from phenolip.phenokg.findings.rule_extractor import RuleExtractor, without_duplicates
from phenolip.phenokg.findings.slot_findings import UnknownPolicy, read_slots
from phenolip.phenokg.linking.words import WORD, stem
from phenolip.phenokg.records import Assertion

_MAX_FIELD = 200  # characters


class _Answered(msgspec.Struct, forbid_unknown_fields=True):
    category: str
    severity: str | None = None
    location: str | None = None
    assertion: Assertion = "present"
    quote: str | None = None


class AnsweredFindings(msgspec.Struct, forbid_unknown_fields=True):
    """What a model is to answer; `prompts/extract_findings.yaml` says what the fields mean."""

    findings: list[_Answered]


@cache
def load_prompt() -> dict[str, Any]:
    """The prompt and its version."""
    path = files("phenolip.phenokg").joinpath("prompts", "extract_findings.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def conversation_of(text: str) -> Conversation:
    """What a model is asked about a text."""
    prompt = load_prompt()
    data = json.dumps({"text": text}, ensure_ascii=False).replace("<", "\\u003c")  # it cannot close the data
    asked = f"{prompt['user']}\n<report_data>{data}</report_data>"
    return Message("system", prompt["system"]), Message("user", asked)


def ask_findings(
    texts: Sequence[str],
    model: ChatModel,
    extractor: RuleExtractor,
    policy: UnknownPolicy,
    *,
    answers: AnswerCache | None = None,
    max_new_tokens: int = 1024,
) -> list[tuple[list[Finding], Counter[str]] | Failure]:
    """The findings of each text and what was left out, or why there are none."""
    conversations = [conversation_of(text) for text in texts]
    outcomes = ask(model, conversations, AnsweredFindings, cache=answers, max_new_tokens=max_new_tokens)
    return [
        outcome if isinstance(outcome, Failure) else _findings(outcome, text, extractor, policy)
        for outcome, text in zip(outcomes, texts, strict=True)
    ]


def _findings(
    answer: AnsweredFindings, text: str, extractor: RuleExtractor, policy: UnknownPolicy
) -> tuple[list[Finding], Counter[str]]:
    findings: list[Finding] = []
    dropped: Counter[str] = Counter()
    for answered in answer.findings:
        slots = Slots(answered.severity, answered.location, answered.category)
        if any(len(slot or "") > _MAX_FIELD for slot in slots):
            dropped["slot_too_long"] += 1
            continue
        start = text.find(answered.quote) if answered.quote and answered.quote.strip() else -1
        if start < 0 and not _names(text, answered.category):
            dropped["not_in_text"] += 1  # neither quoted nor named: invented, or somebody's instruction
            continue
        found, counts = read_slots(slots, extractor, policy, answered.assertion)
        if start < 0:
            counts["no_place"] += len(found)
        else:
            found = [replace(finding, start=start, end=start + len(answered.quote)) for finding in found]
        findings += found
        dropped += counts
    kept, duplicates = without_duplicates(findings)
    return kept, dropped + duplicates


def _names(text: str, category: str) -> bool:
    """Whether the text has a word of a category, in any ending."""
    stems = {stem(word) for word in WORD.findall(text.casefold())}
    return any(stem(word) in stems for word in WORD.findall(category.casefold()) if len(word) > 2)
