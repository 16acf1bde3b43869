"""Chat models behind an endpoint that speaks the protocol of OpenAI's chat completions: vLLM, llama.cpp, a service."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
from anyio.from_thread import start_blocking_portal

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.backends.chat import Conversation, Failure
from phenolip.phenokg.backends.completions import named_parameter, read_completion
from phenolip.phenokg.backends.endpoints import Endpoint
from phenolip.phenokg.backends.requests_in_time import CallPace, wait_before_retry

_MAX_BYTES = 8_000_000  # of a server's answer
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}  # nothing to blow up
_LONGEST_WAIT_S = 60.0
_DEAD_AFTER = 8  # requests in a row that got no answer at all, every try of them


@dataclass(frozen=True, slots=True)
class _Retry:
    """A try that failed in a way that another may not.

    Attributes:
        failure: What remains if there is no other.
        wait_s: What the server asked for, if it did.
    """

    failure: Failure
    wait_s: float | None = None


@dataclass(slots=True)
class _Call:
    """What the requests of one `complete` share."""

    client: httpx2.AsyncClient
    slots: anyio.CapacityLimiter
    pace: CallPace
    schema: Mapping[str, Any] | None
    max_new_tokens: int
    silent_in_a_row: int = 0


@dataclass(slots=True)
class _Dialect:
    """What the server has shown to take, found out by the first requests.

    Attributes:
        formats: Ways to ask for JSON that it has not refused, the strictest first.
        length: Its name for the length of an answer.
        has_temperature: Whether it lets us set one.
        is_known: Whether it has answered: then it is not the address or the key that is wrong.
    """

    formats: list[str] = field(default_factory=lambda: ["json_schema", "json_object", "none"])
    length: str = "max_tokens"
    has_temperature: bool = True
    is_known: bool = False


class OpenAICompatibleChat:
    """A model behind an endpoint; greedy, with the schema enforced by the server where it can.

    A try that times out, is told to wait (429), or meets a server's error is made again after a growing wait. After
    eight requests in a row without any answer the rest of a call fail at once. No conversation is ever logged.

    Args:
        model: Its name at the endpoint.
        base_url: Up to and including "/v1".
        key_variable: Environment variable that holds the key; sent as a bearer token if it is set.
        timeout_s: For one try, from connection to last byte.
        max_tries: Of one request.
        concurrency: Requests at the same time.
        requests_per_minute: Tries that are made; 0 means no limit.
        extra_body: Further fields of the request, such as `{"chat_template_kwargs": {"enable_thinking": False}}`.
        first_wait_s: Longest wait before the second try; it doubles with each.

    Raises:
        ConfigurationError: If a setting is out of range; while asking, if the endpoint refuses the key or has no
            such model.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "http://127.0.0.1:8000/v1",
        key_variable: str = "OPENAI_API_KEY",
        timeout_s: float = 120.0,
        max_tries: int = 4,
        concurrency: int = 8,
        requests_per_minute: float = 0.0,
        extra_body: Mapping[str, Any] | None = None,
        first_wait_s: float = 1.0,
    ) -> None:
        for name, value in (("timeout_s", timeout_s), ("max_tries", max_tries), ("concurrency", concurrency)):
            if value <= 0:
                raise ConfigurationError(f"`{name}` must be above 0, got {value}.")
        if not model:
            raise ConfigurationError("`model` must name the endpoint's model, got ''.")
        self._endpoint = Endpoint(base_url, key_variable)
        self._model, self._timeout_s, self._max_tries, self._concurrency = model, timeout_s, max_tries, concurrency
        self._first_wait_s, self._extra_body = first_wait_s, dict(extra_body or {})
        self._pace, self._dialect = CallPace(requests_per_minute), _Dialect()
        extra = json.dumps(self._extra_body, sort_keys=True) if extra_body else ""
        self.model_id = model + (f"+{hashlib.sha256(extra.encode()).hexdigest()[:12]}" if extra else "")

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
        self._endpoint.warn_once()
        client = httpx2.AsyncClient(
            headers=self._endpoint.headers(),
            timeout=None,  # each try has a deadline of its own, for all of it
            limits=httpx2.Limits(max_connections=self._concurrency),
            trust_env=not self._endpoint.is_loopback,  # no proxy between this machine and itself
        )
        slots = anyio.CapacityLimiter(self._concurrency)
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):
            call = _Call(client, slots, self._pace, schema, max_new_tokens)
            asked = {portal.start_task_soon(self._answer, call, each): n for n, each in enumerate(conversations)}
            try:
                for future in as_completed(asked):
                    yield asked[future], future.result()
            finally:
                for future in asked:
                    future.cancel()

    async def _answer(self, call: _Call, conversation: Conversation) -> str | Failure:
        async with call.slots:
            for number in range(self._max_tries):
                if call.silent_in_a_row >= _DEAD_AFTER:
                    return Failure("unreachable", "given up: no request has been answered for a while")
                outcome = await self._try(call, conversation)
                if not isinstance(outcome, _Retry):
                    call.silent_in_a_row = 0
                    return outcome
                if number + 1 < self._max_tries:
                    waits = {"first_s": self._first_wait_s, "longest_s": _LONGEST_WAIT_S, "asked_s": outcome.wait_s}
                    await anyio.sleep(wait_before_retry(number, **waits))
            is_silent = outcome.failure.reason in ("unreachable", "timeout")
            call.silent_in_a_row = call.silent_in_a_row + 1 if is_silent else 0
            return outcome.failure

    async def _try(self, call: _Call, conversation: Conversation) -> str | Failure | _Retry:
        """One try; more where the server must first be asked in another way."""
        formats = list(self._dialect.formats) if call.schema else ["none"]
        while True:
            body = self._body(conversation, formats[0], call)
            await call.pace.wait()
            try:
                with anyio.fail_after(self._timeout_s):
                    status, headers, content = await _post(call.client, self._endpoint.chat_url, body)
            except (TimeoutError, httpx2.TimeoutException):
                return _Retry(Failure("timeout", f"no answer within {self._timeout_s:g} s"))
            except httpx2.TransportError as error:
                return _Retry(Failure("unreachable", type(error).__name__))
            except httpx2.HTTPError as error:
                return _Retry(Failure("server_error", type(error).__name__))
            if status in (400, 422) and self._adapts(named_parameter(content), body, formats):
                continue
            if status == 200:
                self._dialect.is_known = True
                self._dialect.formats = formats if call.schema else self._dialect.formats
            return self._outcome(status, headers, content)

    def _body(self, conversation: Conversation, response_format: str, call: _Call) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.text} for message in conversation],
            self._dialect.length: call.max_new_tokens,
        }
        if self._dialect.has_temperature:
            body["temperature"] = 0
        if response_format == "json_schema":
            schema = {"name": "answer", "strict": True, "schema": call.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif response_format == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body | self._extra_body

    def _adapts(self, parameter: str, body: Mapping[str, Any], formats: list[str]) -> bool:
        """Whether a refused request can be put in another way; `parameter` is what the server named."""
        if parameter == "max_tokens" and "max_tokens" in body:
            self._dialect.length = "max_completion_tokens"
            return True
        if parameter == "temperature" and "temperature" in body:
            self._dialect.has_temperature = False
            return True
        if len(formats) > 1 and parameter != "messages":
            formats.pop(0)
            return True
        return False

    def _outcome(self, status: int, headers: Mapping[str, str], content: bytes) -> str | Failure | _Retry:
        if status == 200:
            outcome = read_completion(content)
            is_broken = isinstance(outcome, Failure) and outcome.reason == "server_error"
            return _Retry(outcome) if is_broken else outcome
        if status == 401 and not self._dialect.is_known:
            raise ConfigurationError(f"The endpoint {self._endpoint} refuses the key: HTTP 401.")
        if status == 404 and not self._dialect.is_known:
            raise ConfigurationError(f"The endpoint {self._endpoint} has no model '{self._model}': HTTP 404.")
        detail = f"HTTP {status}"
        if status in (408, 425, 429):
            return _Retry(Failure("rate_limited" if status == 429 else "timeout", detail), _asked_wait(headers))
        if status >= 500:
            return _Retry(Failure("server_error", detail), _asked_wait(headers))
        parameter = named_parameter(content)
        return Failure("too_long" if parameter == "messages" else "bad_request", detail)


async def _post(client: httpx2.AsyncClient, url: str, body: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and content of the answer; one without end is cut, which makes it no JSON."""
    content = bytearray()
    data = json.dumps(body).encode("ascii")  # escapes: a lone surrogate has no UTF-8
    async with client.stream("POST", url, content=data, headers=_HEADERS) as response:
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > _MAX_BYTES:
                break
        return response.status_code, response.headers, bytes(content[:_MAX_BYTES])


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds of a `Retry-After` header; None for a date, which few servers send."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None
