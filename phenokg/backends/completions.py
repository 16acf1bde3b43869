"""What an OpenAI-compatible server sends back, read without trust in it."""

import re

import msgspec

from phenolip.phenokg.backends.chat import Failure

_NAMED = re.compile(r"response_format|json_schema|guided|structured|grammar|max_tokens|temperature", re.IGNORECASE)
_FORMAT_WORDS = ("json_schema", "guided", "structured", "grammar")
_TOO_LONG = re.compile(r"context[ _]length|context window|context size|too long|too many tokens|maximum.{0,30}length")


class _Reply(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Reply
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Problem(msgspec.Struct):
    message: str = ""
    param: str | None = None
    code: str | int | None = None


def read_completion(content: bytes) -> str | Failure:
    """The text of a chat completion, or why there is none.

    Example:
        >>> read_completion(b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}')
        'yes'
    """
    try:
        (choice,) = msgspec.json.decode(content, type=_Completion).choices[:1]
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return Failure("server_error", "no chat completion")
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return Failure("refusal")
    if choice.finish_reason == "length":
        return Failure("cut_off", "the answer is longer than `max_new_tokens`")
    return choice.message.content or ""


def named_parameter(content: bytes) -> str:
    """Which field of the request a server's error names; "messages" for a text too long, "" for none that we know.

    Example:
        >>> named_parameter(b'{"error": {"message": "response_format is not supported"}}')
        'response_format'
    """
    problem = _problem(content)
    if problem.code == "context_length_exceeded" or _TOO_LONG.search(problem.message[:2000].lower()):
        return "messages"
    if problem.param in ("max_tokens", "temperature", "response_format", "messages"):
        return problem.param
    found = _NAMED.search(problem.message[:2000])
    name = found.group().lower() if found else ""
    return "response_format" if name in _FORMAT_WORDS else name


def _problem(content: bytes) -> _Problem:
    """The error: `{"error": {...}}`, or bare as older servers send it."""
    try:
        given = msgspec.json.decode(content)
        inner = given.get("error", given) if isinstance(given, dict) else {}
        return msgspec.convert(inner if isinstance(inner, dict) else {"message": str(inner)}, _Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Problem(message=content[:2000].decode("utf-8", "replace"))
