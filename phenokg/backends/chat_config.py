"""Settings of a language model, shared by the steps that may ask one."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.backends.answer_cache import AnswerCache
from phenolip.phenokg.backends.chat import ChatModel

ModelKind = Literal["none", "openai_compatible", "transformers"]


@dataclass(frozen=True, kw_only=True)
class ChatConfig:
    """Which model is asked, and how.

    Attributes:
        back_end: "none" asks no model and works offline by rules; "openai_compatible" asks an endpoint such as vLLM;
            "transformers" loads a causal model with a chat template.
        model: Its name at the endpoint, or its id on the Hub or folder.
        base_url: Of the endpoint, up to and including "/v1".
        key_variable: Environment variable that holds the endpoint's key; `OPENAI_API_KEY` may be unset.
        cache: SQLite file that keeps every answer, so that a run that was stopped asks only for what is missing; empty
            keeps none.
        timeout_s: For one try at the endpoint.
        max_tries: Of one request at the endpoint.
        concurrency: Requests at the same time, or conversations in a batch of a `transformers` model.
        requests_per_minute: At most, at the endpoint; 0 means no limit.
        max_new_tokens: Length of an answer.
        batch_size: Records that are worked on together; what a run that was stopped repeats without a cache.
        extra_body: JSON object of further fields of requests to the endpoint.
        revision: Of a model on the Hub, a branch, tag or commit.
    """

    back_end: ModelKind = "none"
    model: str = ""
    base_url: str = "http://127.0.0.1:8000/v1"
    key_variable: str = "OPENAI_API_KEY"
    cache: str = ""
    timeout_s: float = 120.0
    max_tries: int = 4
    concurrency: int = 8
    requests_per_minute: float = 0.0
    max_new_tokens: int = 1024
    batch_size: int = 256
    extra_body: str = ""
    revision: str = "main"

    def __post_init__(self) -> None:
        if self.back_end not in ("none", "openai_compatible", "transformers"):
            raise ConfigurationError(
                f"`back_end` must be 'none', 'openai_compatible' or 'transformers', got {self.back_end!r}."
            )
        if self.back_end != "none" and not self.model:
            raise ConfigurationError(f"`model` must be given for the back end '{self.back_end}', got ''.")
        for name in ("timeout_s", "max_tries", "concurrency", "max_new_tokens", "batch_size"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"`{name}` must be above 0, got {getattr(self, name)}.")
        if self.requests_per_minute < 0:
            raise ConfigurationError(f"`requests_per_minute` must be 0 or more, got {self.requests_per_minute}.")
        _read_object(self.extra_body)


def make_chat_model(config: ChatConfig) -> ChatModel | None:
    """The model that a configuration names; None for the back end "none"."""
    if config.back_end == "openai_compatible":
        from phenolip.phenokg.backends.openai_compatible import OpenAICompatibleChat

        return OpenAICompatibleChat(
            config.model,
            base_url=config.base_url,
            key_variable=config.key_variable,
            timeout_s=config.timeout_s,
            max_tries=config.max_tries,
            concurrency=config.concurrency,
            requests_per_minute=config.requests_per_minute,
            extra_body=_read_object(config.extra_body),
        )
    if config.back_end == "transformers":
        from phenolip.phenokg.backends.transformers_chat import TransformersChat

        return TransformersChat(config.model, revision=config.revision, batch_size=config.concurrency)
    return None


def make_cache(config: ChatConfig) -> AnswerCache | None:
    """Where answers are kept; None if a configuration keeps none."""
    return AnswerCache(config.cache) if config.cache else None


def _read_object(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text or "{}")
    except json.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise ConfigurationError("`extra_body` must be a JSON object, such as '{\"seed\": 1}'.")
    return given
