"""Questions to a model: kept answers, second tries, checks; against a server process and against plain functions."""

import multiprocessing
import sqlite3

import msgspec
import pytest

from phenolip.exceptions import DataError
from phenolip.phenokg.backends.answer_cache import AnswerCache, answer_key
from phenolip.phenokg.backends.ask import ask
from phenolip.phenokg.backends.chat import Failure, Message
from phenolip.phenokg.backends.schemas import read_answer, schema_of


class Words(msgspec.Struct, forbid_unknown_fields=True):
    words: list[str]


class Says:
    """A model that says what a function of the last message and the number of turns says."""

    model_id = "says"

    def __init__(self, say):
        self.say, self.asked = say, []

    def complete(self, conversations, *, schema=None, max_new_tokens=1024):
        for place, turns in reversed(list(enumerate(conversations))):
            self.asked.append(turns[1].text)
            yield place, self.say(turns)


def conversation(text):
    return (Message("system", "Be good."), Message("user", text))


def good(turns):
    return f'{{"words": ["{turns[1].text}"]}}'


def asked(model, texts, **settings):
    return ask(model, [conversation(text) for text in texts], Words, **settings)


def test_a_second_run_asks_only_for_what_is_missing(chat_server, tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    bad = {"BEHAVE broken": "invalid_answer", "BEHAVE refuse": "refusal", "BEHAVE error": "server_error",
           "BEHAVE empty": "invalid_answer"}  # fmt: skip
    texts = ["one", "BEHAVE error-once", "BEHAVE broken-once", "two", *bad, "one"]
    model = chat_server.model(max_tries=2)
    found = asked(model, texts, cache=cache)
    assert [each.reason for each in found if isinstance(each, Failure)] == list(bad.values())
    assert found[0] == found[-1] == Words(["one"]) and len(cache) == 4
    assert chat_server.texts["one"] == 1
    before = chat_server.texts
    assert asked(chat_server.model(max_tries=2), texts, cache=cache) == found
    again = chat_server.texts - before
    assert set(again) == set(bad)


def test_answers_made_before_a_server_died_are_kept(chat_server, tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    texts = [*(f"text {number}" for number in range(5)), "BEHAVE die", *(f"text {number}" for number in range(5, 30))]
    model = chat_server.model(concurrency=1, max_tries=1)
    found = asked(model, texts, cache=cache)
    assert [isinstance(each, Words) for each in found] == [True] * 5 + [False] * 26
    assert {each.reason for each in found[5:]} == {"unreachable"} and len(cache) == 5
    says = Says(good)
    says.model_id = model.model_id
    assert all(isinstance(each, Words) for each in asked(says, texts, cache=cache))
    assert sorted(says.asked) == sorted(texts[5:])


def test_a_second_try_is_told_what_was_wrong():
    def say(turns):
        return good(turns) if len(turns) == 4 and "broken JSON" in turns[3].text else '{"words": ['

    model = Says(say)
    assert asked(model, ["a", "b"]) == [Words(["a"]), Words(["b"])] and len(model.asked) == 4
    failed = asked(Says(lambda turns: "no"), ["a"], max_tries=3)
    assert failed == [Failure("invalid_answer", "no JSON object")]


def test_checks_see_the_place_of_the_question_and_kept_answers_too(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    seen = []

    def check(place, answer):
        seen.append((place, answer.words))
        return Failure("wrong_span") if answer.words == ["b"] else None

    assert [isinstance(each, Failure) for each in asked(Says(good), "abc", check=check, cache=cache)] == [0, 1, 0]
    assert sorted({*map(str, seen)}) == ["(0, ['a'])", "(1, ['b'])", "(2, ['c'])"]
    model = Says(good)
    stricter = asked(model, "ac", check=lambda place, answer: Failure("wrong_span") if place else None, cache=cache)
    assert stricter[0] == Words(["a"]) and stricter[1].reason == "wrong_span" and set(model.asked) == {"c"}
    assert len(cache) == 1


def test_keys_depend_on_all_that_an_answer_depends_on():
    turns, schema = conversation("a"), schema_of(Words)
    keys = {
        answer_key("m", turns, schema, 10), answer_key("n", turns, schema, 10), answer_key("m", turns, None, 10),
        answer_key("m", turns, schema, 11), answer_key("m", conversation("b"), schema, 10),
        answer_key("m", conversation("a \ud800"), schema, 10),
    }  # fmt: skip
    assert len(keys) == 6 and answer_key("m", turns, dict(reversed(schema.items())), 10) in keys


def _fill(path, first):
    cache = AnswerCache(path)
    for number in range(first, first + 20):
        cache.put(f"key {number}", f"answer of {first}", "model")


def test_two_processes_share_a_cache(tmp_path):
    path = tmp_path / "new" / "answers.sqlite"
    workers = [multiprocessing.get_context("fork").Process(target=_fill, args=(path, first)) for first in (0, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    cache = AnswerCache(path)
    assert [worker.exitcode for worker in workers] == [0, 0] and len(cache) == 30
    found = cache.get([f"key {number}" for number in range(1200)])
    assert len(found) == 30 and found["key 0"] == "answer of 0" and found["key 29"] == "answer of 10"
    cache.put("key 0", "later", "model")
    assert cache.get(["key 0"]) == {"key 0": "answer of 0"}


def test_a_file_that_is_no_cache(tmp_path):
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(DataError, match="`cache` .* cannot be used: file is not a database"):
        AnswerCache(tmp_path / "text")
    with pytest.raises(DataError, match="`cache` .* cannot be made"):
        AnswerCache(tmp_path / "text" / "below")
    with sqlite3.connect(tmp_path / "other") as database:
        database.execute("CREATE TABLE answers (name TEXT)")
    with pytest.raises(DataError, match="`cache` .* cannot be used: no such column"):
        AnswerCache(tmp_path / "other").get(["key"])


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ('{"words": ["a"]}', ["a"]), ('```json\n{"words": ["a"]}\n```', ["a"]), ('Sure! {"words": []} Done.', []),
        ('<think>{"words": 1}</think>{"words": ["a"]}', ["a"]), ('{"words": ["a"], "more": 1}', "$"),
        ('{"words": [1]}', "$.words[0]"), ("[]", "no JSON object"), ('{"words": ["\\ud800"]}', "broken JSON"),
        ('{"a":' * 30_000, "nested"), ('{"words": ["a"]' + " " * 300_000, "characters"),
    ],
)  # fmt: skip
def test_answers_as_models_write_them(text, outcome):
    found = read_answer(text, Words)
    if isinstance(outcome, list):
        assert found == Words(outcome)
    else:
        assert found.reason == "invalid_answer" and outcome in found.detail


def test_schemas_begin_with_the_struct_and_hold_the_parts():
    class Whole(msgspec.Struct, forbid_unknown_fields=True):
        parts: list[Words]

    schema = schema_of(Whole)
    assert schema["type"] == "object" and schema["additionalProperties"] is False and schema["required"] == ["parts"]
    assert schema["$defs"]["Words"]["additionalProperties"] is False
