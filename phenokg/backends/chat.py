"""The one seam to language models: conversations in, answers or failures out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

FailureReason = Literal[
    "timeout",  # no whole answer in time
    "unreachable",  # no connection, or one that broke off
    "rate_limited",  # told to wait, longer than we do
    "server_error",  # an error of the server, or an answer that is none of a chat
    "bad_request",  # the server does not take this conversation
    "refusal",  # the model, or a filter, declines to answer
    "too_long",  # conversation and answer do not fit into the model
    "cut_off",  # the answer was not at its end when its tokens were
    "out_of_memory",
    "invalid_answer",  # not of the schema
    "wrong_span",  # not text of the caption
]

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: Who speaks.
        text: What is said.
    """

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer.

    Attributes:
        reason: What failures are counted by.
        detail: A few words for a person; none of the conversation.
    """

    reason: FailureReason
    detail: str = ""


Conversation = tuple[Message, ...]


class ChatModel(Protocol):
    """What every back end can do.

    Attributes:
        model_id: Names the model, and all of its settings that can change an answer; part of the key of kept answers.
    """

    model_id: str

    def complete(
        self,
        conversations: Sequence[Conversation],
        *,
        schema: Mapping[str, Any] | None = None,
        max_new_tokens: int = 1024,
    ) -> Iterator[tuple[int, str | Failure]]:
        """The next message of each conversation as it is made: its place from 0, and the text or why there is none.

        Args:
            conversations: Independent of each other.
            schema: JSON schema that answers should follow; back ends that can, constrain the model to it. Callers
                check the answers all the same.
            max_new_tokens: Length of an answer.
        """
        ...
