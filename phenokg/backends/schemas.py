"""JSON schemas of the answers that we ask for, and answers read by them."""

import json
import re
from typing import Any, TypeVar

import msgspec

from phenolip.phenokg.backends.chat import Failure

Answer = TypeVar("Answer", bound=msgspec.Struct)

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_MAX_CHARACTERS = 200_000  # of an answer


def schema_of(answer_type: type[Answer]) -> dict[str, Any]:
    """JSON schema of a struct, the struct itself outermost: endpoints refuse one that begins with a reference.

    Example:
        >>> class Words(msgspec.Struct, forbid_unknown_fields=True):
        ...     words: list[str]
        >>> schema_of(Words)["properties"]["words"]
        {'type': 'array', 'items': {'type': 'string'}}
    """
    (reference,), parts = msgspec.json.schema_components([answer_type], ref_template="#/$defs/{name}")
    whole = parts.pop(reference["$ref"].rpartition("/")[2])
    return {**whole, "$defs": parts} if parts else whole


def read_answer(text: str, answer_type: type[Answer]) -> Answer | Failure:
    """The struct in a model's answer: the JSON object alone, in a code fence, after a thought, or amid talk.

    Example:
        >>> class Words(msgspec.Struct, forbid_unknown_fields=True):
        ...     words: list[str]
        >>> read_answer('Here it is: {"words": ["a"]}', Words), read_answer('{"words": 1}', Words).reason
        (Words(words=['a']), 'invalid_answer')
    """
    if len(text) > _MAX_CHARACTERS:
        return Failure("invalid_answer", f"an answer of {len(text):,} characters")
    text = _THOUGHT.sub("", text, count=1)
    start = text.find("{")
    if start < 0:
        return Failure("invalid_answer", "no JSON object")
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
        return msgspec.json.decode(text[start:end], type=answer_type)  # which refuses lone surrogates
    except RecursionError:
        return Failure("invalid_answer", "JSON nested too deep")
    except msgspec.ValidationError as error:
        path = str(error).rpartition(" - at ")[2].strip("`") if " - at " in str(error) else "$"
        return Failure("invalid_answer", f"not of the schema at {path[:60]}")
    except (ValueError, msgspec.DecodeError):
        return Failure("invalid_answer", "broken JSON")
