"""Chat models of `transformers`, from the Hub or a folder, on the accelerator if there is one."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.backends.chat import Conversation, Failure

if TYPE_CHECKING:
    from torch import Tensor

_UNLIMITED = 10**9  # what a tokenizer that knows no limit gives as one exceeds this


class TransformersChat:
    """A causal language model with a chat template; greedy, in batches of conversations of like length.

    The schema is not enforced while decoding: callers check the answers. Weights are read from safetensors alone, and
    no code of a model's repository is run. The model is loaded with the first question.

    Args:
        model: Id on the Hub, or folder.
        revision: Of a model on the Hub.
        batch_size: Conversations at a time; halved where memory does not suffice.
        device: Such as "cuda:1"; empty takes an accelerator if there is one.

    Raises:
        ConfigurationError: While asking, if the model cannot be loaded or its tokenizer has no chat template.
    """

    def __init__(self, model: str, *, revision: str = "main", batch_size: int = 8, device: str = "") -> None:
        if not model:
            raise ConfigurationError("`model` must be an id on the Hub or a folder, got ''.")
        if batch_size < 1:
            raise ConfigurationError(f"`batch_size` must be 1 or more, got {batch_size}.")
        self._name, self._revision, self._batch_size, self._device = model, revision, batch_size, device
        self._loaded: tuple[Any, Any] | None = None
        self.model_id = f"transformers:{model}@{folder_state(Path(model)) or revision}"

    def complete(
        self,
        conversations: Sequence[Conversation],
        *,
        schema: Mapping[str, Any] | None = None,
        max_new_tokens: int = 1024,
    ) -> Iterator[tuple[int, str | Failure]]:
        """See `ChatModel.complete`."""
        if not conversations:
            return
        model, tokenizer = self._load()
        prompts = [self._prompt(tokenizer, conversation) for conversation in conversations]
        longest = _max_tokens(model, tokenizer) - max_new_tokens
        fitting = []
        for place, prompt in enumerate(prompts):
            if len(prompt) > longest:
                yield place, Failure("too_long", f"{len(prompt):,} tokens, {max(longest, 0):,} fit")
            else:
                fitting.append(place)
        fitting.sort(key=lambda place: len(prompts[place]))
        first = 0
        while first < len(fitting):
            places = fitting[first : first + self._batch_size]
            answers = self._generate(model, tokenizer, [prompts[place] for place in places], max_new_tokens)
            if answers is None and self._batch_size > 1:
                self._batch_size //= 2
                continue
            yield from zip(places, answers or [Failure("out_of_memory")] * len(places), strict=True)
            first += len(places)

    def _load(self) -> tuple[Any, Any]:
        """Model and tokenizer."""
        if self._loaded is None:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer

            source = {"revision": self._revision, "trust_remote_code": False}
            device = self._device or _accelerator(torch)
            try:
                tokenizer = AutoTokenizer.from_pretrained(self._name, **source)
                model = AutoModelForCausalLM.from_pretrained(self._name, dtype="auto", use_safetensors=True, **source)
            except (OSError, ValueError, KeyError, ImportError) as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise ConfigurationError(f"`model` '{self._name}' cannot be loaded: {reason}") from None
            if not tokenizer.chat_template:
                raise ConfigurationError(f"`model` '{self._name}' must have a chat template; its tokenizer has none.")
            tokenizer.padding_side = "left"  # the answer follows the last token
            if tokenizer.pad_token_id is None:
                tokenizer.pad_token = tokenizer.eos_token
            self._loaded = model.to(device).eval(), tokenizer
        return self._loaded

    def _prompt(self, tokenizer: Any, conversation: Conversation) -> list[int]:
        """Token ids; templates that know no system turn get it in front of the first question."""
        from jinja2 import TemplateError

        turns = [{"role": message.role, "content": message.text} for message in _encodable(conversation)]
        with contextlib.suppress(TemplateError):
            return _tokens(tokenizer, turns)
        if turns[0]["role"] == "system" and len(turns) > 1:
            turns[1]["content"] = f"{turns[0]['content']}\n\n{turns[1]['content']}"
            turns = turns[1:]
        try:
            return _tokens(tokenizer, turns)
        except TemplateError as error:
            raise ConfigurationError(f"The chat template of '{self._name}' fails: {error}") from None

    def _generate(
        self, model: Any, tokenizer: Any, prompts: Sequence[list[int]], max_new_tokens: int
    ) -> list[str | Failure] | None:
        """The answers; None if memory does not suffice."""
        import torch

        batch = tokenizer.pad({"input_ids": list(prompts)}, return_tensors="pt").to(model.device)  # (N, L)
        try:
            with torch.inference_mode():
                made = model.generate(
                    **batch,
                    do_sample=False,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    max_new_tokens=max_new_tokens,
                    pad_token_id=tokenizer.pad_token_id,
                )
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return None
        ends = _end_tokens(model, tokenizer)
        return [_answer(tokenizer, row, ends) for row in made[:, batch["input_ids"].shape[1] :].cpu()]


def _tokens(tokenizer: Any, turns: Sequence[Mapping[str, str]]) -> list[int]:
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]  # the template has them


def _answer(tokenizer: Any, row: "Tensor", ends: set[int]) -> str | Failure:
    """Text of new tokens (L,) up to the first that ends an answer; without one the answer is not whole."""
    tokens = row.tolist()
    end = next((place for place, token in enumerate(tokens) if token in ends), None)
    if end is None:
        return Failure("cut_off", "the answer is longer than `max_new_tokens`")
    return tokenizer.decode(tokens[:end], skip_special_tokens=True)


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    given = model.generation_config.eos_token_id
    ends = {*given} if isinstance(given, (list, tuple)) else {given}
    return (ends | {tokenizer.eos_token_id}) - {None}


def _max_tokens(model: Any, tokenizer: Any) -> int:
    """Longest text and answer that the model has places for."""
    limits = (getattr(model.config, "max_position_embeddings", None), tokenizer.model_max_length)
    return min((limit for limit in limits if limit and limit < _UNLIMITED), default=_UNLIMITED)


def _accelerator(torch: Any) -> str:
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return str(found) if found is not None else "cpu"


def _encodable(conversation: Conversation) -> Conversation:
    """The conversation without lone surrogates, which no tokenizer takes."""
    return tuple(
        type(message)(message.role, message.text.encode("utf-8", "replace").decode("utf-8"))
        for message in conversation
    )


def folder_state(folder: Path) -> str:
    """Changes with a folder's files: kept answers are not those of a model trained further; "" for no folder."""
    if not folder.is_dir():
        return ""
    states = ((file.name, file.stat()) for file in folder.iterdir() if file.is_file())  # not a link to nothing
    files = sorted((name, state.st_size, state.st_mtime_ns) for name, state in states)
    return hashlib.sha256(repr(files).encode()).hexdigest()[:12]
