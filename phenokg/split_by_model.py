"""Captions split by a language model; every part is looked up in the caption, and where that fails, rules split it."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.backends.answer_cache import AnswerCache
from phenolip.phenokg.backends.ask import ask
from phenolip.phenokg.backends.chat import ChatModel, Conversation, Failure
from phenolip.phenokg.backends.chat_config import ChatConfig, make_cache, make_chat_model
from phenolip.phenokg.captions.located_parts import NamedParts, background_of, find_parts
from phenolip.phenokg.prompt_files import load_prompt
from phenolip.phenokg.records import CaptionedFigure, Drop, SplitCaption
from phenolip.phenokg.split_captions import split_caption, subcaptions_from_spans

STEP = "split_by_model"
VERSION = 1
PROMPT = "split_caption"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SplitOutcome:
    """A caption in parts and who split it.

    Attributes:
        split: The parts; a Drop, "too_many_labels", where the rules cannot split it either.
        failure: Why rules split it although a model was asked; empty otherwise.
    """

    split: SplitCaption | Drop
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelSplitConfig(ChatConfig):
    """Settings of the step; the back end "none" splits by rules.

    Attributes:
        max_characters: Longest caption that a model is shown; rules split longer ones.
    """

    max_characters: int = 12_000

    def __post_init__(self) -> None:
        ChatConfig.__post_init__(self)
        if self.max_characters < 1:
            raise ConfigurationError(f"`max_characters` must be 1 or more, got {self.max_characters}.")


def run(records: Iterable[CaptionedFigure | Drop], config: ModelSplitConfig) -> Iterator[SplitCaption | Drop]:
    """Split captions, in their order; drops among the records are handed on.

    A caption that is not split is one Drop with its reason: "no_caption" or "too_many_labels".
    """
    failed: Counter[str] = Counter()
    records = iter(records)
    while batch := list(islice(records, config.batch_size)):
        figures = [record for record in batch if isinstance(record, CaptionedFigure) and record.caption.strip()]
        outcomes = iter(split_batch(figures, config))
        for record in batch:
            if isinstance(record, Drop):
                yield record
            elif not record.caption.strip():
                yield Drop(STEP, record.figure, "no_caption")
            else:
                outcome = next(outcomes)
                failed.update(filter(None, [outcome.failure]))
                yield outcome.split
    if failed:
        _log.warning("Captions split by rules since the model failed: %s.", dict(failed))


def split_batch(figures: Sequence[CaptionedFigure], config: ModelSplitConfig) -> list[SplitOutcome]:
    """`split_figures` with the model that a configuration names; one for all shards that a process works on."""
    return split_figures(figures, *_kept_model(config), config)


def split_figures(
    figures: Sequence[CaptionedFigure], model: ChatModel | None, cache: AnswerCache | None, config: ModelSplitConfig
) -> list[SplitOutcome]:
    """The caption of each figure in parts: by the model if every part of its answer is found, else by rules."""
    if model is None:
        return [_by_rules(figure) for figure in figures]
    short = [figure for figure in figures if 0 < len(figure.caption) <= config.max_characters]
    answers = ask(
        model,
        [question(figure.caption) for figure in short],
        NamedParts,
        check=lambda place, answer: _problem(short[place].caption, answer),
        cache=cache,
        max_new_tokens=config.max_new_tokens,
    )
    outcomes = iter(map(_outcome, short, answers))
    return [
        next(outcomes) if 0 < len(figure.caption) <= config.max_characters else _by_rules(figure, "too_long")
        for figure in figures
    ]


def question(caption: str) -> Conversation:
    """The prompt with a caption as data."""
    return load_prompt(PROMPT).conversation({"caption": caption})


def _problem(caption: str, answer: NamedParts) -> Failure | None:
    found = find_parts(caption, answer)
    return found if isinstance(found, Failure) else None


def _outcome(figure: CaptionedFigure, answer: NamedParts | Failure) -> SplitOutcome:
    found = answer if isinstance(answer, Failure) else find_parts(figure.caption, answer)
    if isinstance(found, Failure):
        return _by_rules(figure, found.reason)
    background = background_of(figure.caption, found)
    try:
        return SplitOutcome(subcaptions_from_spans(figure.caption, background, found, figure.figure))
    except DataError:
        return _by_rules(figure, "wrong_span")


def _by_rules(figure: CaptionedFigure, failure: str = "") -> SplitOutcome:
    try:
        return SplitOutcome(SplitCaption(figure.figure, *split_caption(figure.caption)), failure)
    except DataError as error:
        return SplitOutcome(Drop(STEP, figure.figure, "too_many_labels", str(error)), failure)


@lru_cache(maxsize=1)
def _kept_model(config: ModelSplitConfig) -> tuple[ChatModel | None, AnswerCache | None]:
    return make_chat_model(config), make_cache(config)
