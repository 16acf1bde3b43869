"""Asks a model for answers of a type: from what is kept, else anew, each answer checked, bad ones asked for again."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from phenolip.phenokg.backends.answer_cache import AnswerCache, answer_key
from phenolip.phenokg.backends.chat import ChatModel, Conversation, Failure, Message
from phenolip.phenokg.backends.schemas import read_answer, schema_of

Answer = TypeVar("Answer", bound=msgspec.Struct)
Check = Callable[[int, Answer], Failure | None]

_log = logging.getLogger(__name__)
_SAID_BADLY = ("invalid_answer", "wrong_span")  # what a second try may mend
_MAX_REPEATED = 4000  # characters of a bad answer that the model is shown again


def ask(
    model: ChatModel,
    conversations: Sequence[Conversation],
    answer_type: type[Answer],
    *,
    check: Check | None = None,
    cache: AnswerCache | None = None,
    max_new_tokens: int = 1024,
    max_tries: int = 2,
) -> list[Answer | Failure]:
    """The answer to each conversation, or why there is none; nothing is raised for a bad answer.

    Args:
        model: Who is asked.
        conversations: Each ends with a question; equal ones are asked, and checked, once.
        answer_type: Struct that answers are read into.
        check: What is wrong with an answer to the conversation at a place, if anything.
        cache: Kept answers; those that pass the checks are added as they come.
        max_new_tokens: Length of an answer.
        max_tries: How often one is asked; each further time the model is shown its answer and what is wrong with it.
    """
    asking = _Asking(model, answer_type, check, cache, max_new_tokens)
    places: dict[str, list[int]] = {}
    for place, conversation in enumerate(conversations):
        key = answer_key(model.model_id, conversation, asking.schema, max_new_tokens)
        places.setdefault(key, []).append(place)
    firsts = {key: same[0] for key, same in places.items()}
    outcomes = asking.kept(firsts)
    open_ = {key: conversations[place] for key, place in firsts.items() if key not in outcomes}
    num_asked = len(open_)
    for _ in range(max_tries):
        open_ = asking.ask(open_, firsts, outcomes)
    failed = Counter(outcomes[key].reason for key in firsts if isinstance(outcomes[key], Failure))
    _log.info("%d answers kept, %d asked for, failed: %s", len(firsts) - num_asked, num_asked, dict(failed) or "none")
    by_place = {place: outcomes[key] for key, same in places.items() for place in same}
    return [by_place[place] for place in range(len(conversations))]


class _Asking:
    """What one call of `ask` needs at every step."""

    def __init__(self, model, answer_type, check, cache, max_new_tokens) -> None:
        self._model, self._answer_type, self._check, self._cache = model, answer_type, check, cache
        self._max_new_tokens = max_new_tokens
        self.schema: Mapping[str, Any] = schema_of(answer_type)

    def kept(self, firsts: Mapping[str, int]) -> dict[str, msgspec.Struct | Failure]:
        """Kept answers that pass the checks of today; others are forgotten and asked for again."""
        outcomes = {}
        for key, text in (self._cache.get(list(firsts)) if self._cache is not None else {}).items():
            outcome = self._read(firsts[key], text)
            if isinstance(outcome, Failure):
                self._cache.forget(key)
            else:
                outcomes[key] = outcome
        return outcomes

    def ask(
        self,
        open_: Mapping[str, Conversation],
        firsts: Mapping[str, int],
        outcomes: dict[str, msgspec.Struct | Failure],
    ) -> dict[str, Conversation]:
        """Asks once, fills in outcomes; returns what may be asked again, with what was wrong."""
        if not open_:
            return {}
        keys = list(open_)
        again = {}
        replies = self._model.complete(
            [open_[key] for key in keys], schema=self.schema, max_new_tokens=self._max_new_tokens
        )
        for number, reply in replies:
            key = keys[number]
            outcomes[key] = outcome = reply if isinstance(reply, Failure) else self._read(firsts[key], reply)
            if not isinstance(outcome, Failure):
                if self._cache is not None:
                    self._cache.put(key, reply, self._model.model_id)
            elif outcome.reason in _SAID_BADLY and not isinstance(reply, Failure):
                again[key] = (*open_[key], *_correction(reply, outcome))
        return again

    def _read(self, place: int, text: str) -> msgspec.Struct | Failure:
        answer = read_answer(text, self._answer_type)
        if isinstance(answer, Failure) or self._check is None:
            return answer
        return self._check(place, answer) or answer


def _correction(reply: str, failure: Failure) -> tuple[Message, Message]:
    request = f"This answer is not right: {failure.detail or failure.reason}. Give the JSON object again, corrected."
    return Message("assistant", reply[:_MAX_REPEATED]), Message("user", request)
