"""knowledge.json: what is read makes the texts of what was written; a file that was changed is refused."""

import json

import pytest

from phenolip.exceptions import DataError
from phenolip.ontology.build_knowledge import build_knowledge_book
from phenolip.ontology.knowledge_file import KNOWLEDGE_FILE, fingerprint, read_knowledge, write_knowledge
from phenolip.provenance import content_hash


@pytest.fixture
def book(small):
    return build_knowledge_book(
        small, {"HP:9900003": "a circle. It has no corner.", "Apical cap": "a rim"}, max_words=9
    )


@pytest.fixture
def path(book, tmp_path):
    return write_knowledge(book, tmp_path / "model")


def test_texts_are_those_of_the_training(book, path):
    assert path.name == KNOWLEDGE_FILE and not list(path.parent.glob("*.partial"))
    read = read_knowledge(path)
    for key in [*book.entries, *book.aliases, "Apical CAP", "square form", "unheard of"]:
        assert read.prompt(key, severity="mild", max_tokens=8) == book.prompt(key, severity="mild", max_tokens=8)
    assert read.max_words == 9 and read.release == "2001-02-03" and read.hpo_sha256 == book.hpo_sha256
    assert read.coverage() == book.coverage() and fingerprint(read) == fingerprint(book)


def test_the_same_book_gives_the_same_file(book, path, small, tmp_path):
    again = build_knowledge_book(
        small, {"Apical cap": "a rim", "HP:9900003": "a circle. It has no corner."}, max_words=9
    )
    assert write_knowledge(again, tmp_path / "other").read_bytes() == path.read_bytes()
    assert fingerprint(build_knowledge_book(small)) != fingerprint(book)
    assert json.loads(path.read_text())["sha256"] == fingerprint(book)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda stored: stored["findings"]["HP:9900003"].__setitem__(1, "a square"),
            "was changed after it was written",
        ),
        (lambda stored: stored.__setitem__("hpo_release", "2099-01-01"), "was changed after it was written"),
        (lambda stored: stored.pop("aliases"), "was changed after it was written"),
        (lambda stored: stored.pop("sha256"), "was changed after it was written"),
        (lambda stored: stored.__setitem__("format", 2), "must be a knowledge book of format 1"),
        (lambda stored: stored.__setitem__("template_version", 99), "version 99 of the template, this package has"),
    ],
)
def test_a_changed_file_is_refused(path, change, message):
    stored = json.loads(path.read_text())
    change(stored)
    path.write_text(json.dumps(stored))
    with pytest.raises(DataError, match=message):
        read_knowledge(path)


@pytest.mark.parametrize("content", ["", "[1]", "{", "[" * 100_000, "null", "\udcff"])
def test_what_is_no_book_is_refused(path, content):
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match="knowledge.json must be"):
        read_knowledge(path)


@pytest.mark.parametrize(
    "findings",
    [
        {"HP:9900003": ["Round shape"]},
        {"HP:9900003": ["Round shape", None, "rumour", [], []]},
        {"HP:9900003": ["Round shape", 7, "user", [], []]},
        {"HP:9900003": ["Round shape", None, "user", [], [None]]},
        {"HP:9900003": None},
        [],
    ],
)
def test_a_rightly_hashed_file_with_wrong_findings_is_refused(path, findings):
    body = json.loads(path.read_text()) | {"findings": findings}
    hashed = {name: value for name, value in body.items() if name not in ("format", "sha256")}
    text = json.dumps(hashed, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps(body | {"sha256": content_hash([text])}))
    with pytest.raises(DataError, match="must hold whole findings"):
        read_knowledge(path)


def test_an_absent_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_knowledge(tmp_path / KNOWLEDGE_FILE)
