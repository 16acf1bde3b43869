"""Clients of a chat endpoint against a real server process that misbehaves in every way that we know of."""

import logging
import time

import pytest

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.backends.chat import Failure, Message
from phenolip.phenokg.backends.endpoints import Endpoint
from phenolip.phenokg.backends.openai_compatible import OpenAICompatibleChat
from phenolip.phenokg.backends.requests_in_time import wait_before_retry

SCHEMA = {"type": "object", "properties": {"words": {"type": "array", "items": {"type": "string"}}}}


def conversation(text):
    return (Message("system", "Be good."), Message("user", text))


def outcomes(model, texts, schema=SCHEMA):
    found = dict(model.complete([conversation(text) for text in texts], schema=schema, max_new_tokens=50))
    assert sorted(found) == list(range(len(texts)))
    return [found[place] for place in range(len(texts))]


def test_every_conversation_ends_in_an_answer_or_a_failure_with_its_reason(chat_server):
    texts = {
        "plain": None, "BEHAVE late": "timeout", "BEHAVE drip": "timeout", "BEHAVE limit": "rate_limited",
        "BEHAVE error": "server_error", "BEHAVE html": "server_error", "BEHAVE endless": "server_error",
        "BEHAVE cut": "cut_off", "BEHAVE long": "too_long", "BEHAVE refuse": "refusal", "BEHAVE filter": "refusal",
        "BEHAVE reset": "unreachable", "BEHAVE forbidden": "bad_request", "BEHAVE error-once": None,
        "BEHAVE limit-once": None, "BEHAVE reset-once": None, "lone \ud800 surrogate": None,
    }  # fmt: skip
    began = time.monotonic()
    found = outcomes(chat_server.model(timeout_s=0.5, max_tries=2, concurrency=20), list(texts))
    assert time.monotonic() - began < 4
    assert [each.reason if isinstance(each, Failure) else None for each in found] == list(texts.values())
    assert found[0] == '{"words": ["plain"]}'
    assert all("BEHAVE" not in each.detail for each in found if isinstance(each, Failure))


def test_the_request_is_greedy_asks_for_the_schema_and_carries_the_key(chat_server, monkeypatch):
    monkeypatch.setenv("A_KEY", "secret")
    model = chat_server.model(key_variable="A_KEY", extra_body={"seed": 3})
    outcomes(model, ["one"])
    (request,) = chat_server.requests
    body = request["body"]
    assert request["authorization"] == "Bearer secret" and "secret" not in repr(vars(model))
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0, 50, 3)
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert model.model_id != chat_server.model().model_id


@pytest.mark.parametrize(("name", "refused", "kind"), [("noformat", 1, "json_object"), ("noformat-at-all", 2, None)])
def test_a_server_without_schemas_is_asked_without_and_found_out_once(chat_server, name, refused, kind):
    model = chat_server.model(name)
    for text in ("one", "two"):
        assert isinstance(outcomes(model, [text])[0], str)
    formats = [request["body"].get("response_format", {}).get("type") for request in chat_server.requests]
    assert len(formats) == 2 + refused and formats[-2:] == [kind, kind]


def test_newer_names_of_fields(chat_server):
    model = chat_server.model("newnames")
    assert isinstance(outcomes(model, ["one"])[0], str) and isinstance(outcomes(model, ["two"])[0], str)
    last = chat_server.requests[-1]["body"]
    assert last["max_completion_tokens"] == 50 and "temperature" not in last and len(chat_server.requests) == 4


def test_a_server_that_dies_fails_the_rest_soon(chat_server):
    texts = ["BEHAVE die", *(f"text {number}" for number in range(300))]
    began = time.monotonic()
    found = outcomes(chat_server.model(max_tries=2, concurrency=1), texts)
    assert time.monotonic() - began < 3
    assert {each.reason for each in found} == {"unreachable"}
    assert sum("given up" in each.detail for each in found) == len(texts) - 8


def test_as_many_requests_at_a_time_as_allowed(chat_server):
    outcomes(chat_server.model(concurrency=3), [f"BEHAVE slow {number}" for number in range(12)])
    assert max(request["num_working"] for request in chat_server.requests) == 3


def test_requests_are_spaced(chat_server):
    began = time.monotonic()
    outcomes(chat_server.model(requests_per_minute=1200), [f"text {number}" for number in range(9)])
    assert time.monotonic() - began >= 8 * 60 / 1200


def test_a_wrong_address_or_model_is_said_at_once(chat_server):
    with pytest.raises(ConfigurationError, match="has no model 'model': HTTP 404"):
        outcomes(chat_server.model(), ["BEHAVE missing"])
    model = chat_server.model()
    found = outcomes(model, ["fine"]) + outcomes(model, ["BEHAVE missing"])
    assert isinstance(found[0], str) and found[1].reason == "bad_request"


def test_leaving_early_stops_the_rest(chat_server):
    model = chat_server.model(concurrency=1)
    answers = model.complete([conversation(f"text {number}") for number in range(50)])
    next(answers)
    answers.close()
    assert len(chat_server.requests) < 50


@pytest.mark.parametrize(
    "url", ["", "ftp://a/v1", "http://", "http://user:word@a/v1", "http://a/v1?key=b", "http://a:99999/v1"]
)
def test_addresses_that_are_none(url):
    with pytest.raises(ConfigurationError, match="`base_url` must") as caught:
        Endpoint(url)
    assert "word" not in str(caught.value).replace("password", "")


def test_the_warning_before_text_leaves_the_machine_comes_once(caplog, monkeypatch):
    monkeypatch.setattr("phenolip.phenokg.backends.endpoints._warned", set())
    for url in ("http://example.org/v1", "http://example.org/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"):
        Endpoint(url).warn_once()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "example.org" in record.message and "unencrypted" in record.message


def test_settings_out_of_range():
    for name in ("timeout_s", "max_tries", "concurrency"):
        with pytest.raises(ConfigurationError, match=f"`{name}` must be above 0, got 0"):
            OpenAICompatibleChat("model", **{name: 0})
    with pytest.raises(ConfigurationError, match="`model` must name"):
        OpenAICompatibleChat("")
    with pytest.raises(ConfigurationError, match="`key_variable` must name"):
        Endpoint("http://a/v1", "NO_SUCH_VARIABLE_IS_SET")


def test_waits_grow_are_scattered_and_bounded():
    for number in range(40):
        longest = min(60.0, 2.0**number)
        waits = [wait_before_retry(number, first_s=1.0, longest_s=60.0) for _ in range(50)]
        assert all(longest / 2 <= wait <= longest for wait in waits) and len(set(waits)) > 1
    assert wait_before_retry(0, first_s=1.0, longest_s=60.0, asked_s=3600.0) == 60.0
